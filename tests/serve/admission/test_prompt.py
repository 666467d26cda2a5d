"""One look at a body gives its text in order and counts the rest, whatever API it came by."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.admission.prompt import read_prompt
from penstock.serve.wire.fields import SCHEMAS

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
_WORDS = """
    messages prompt input tools content role type text documents query text_1 text_2 system instructions functions
    suffix name tool_calls function arguments data queries items
"""
NAMES = st.sampled_from(_WORDS.split())
ODD = st.recursive(
    JSON,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=25,
)


def test_a_chat_is_its_roles_and_contents_in_order() -> None:
    body = {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]}
    prompt = read_prompt("chat", body)
    assert prompt.pieces == ["system", "Be brief.", "user", "Hi"]
    assert (prompt.chars, prompt.messages, prompt.batch) == (21, 2, 1)


def test_tools_come_first_and_count() -> None:
    tool = {"type": "function", "function": {"name": "f", "description": "Does f"}}
    prompt = read_prompt("chat", {"messages": [{"role": "user", "content": "Go"}], "tools": [tool, tool]})
    assert prompt.tools == 2
    assert prompt.pieces[0].count("Does f") == 2
    assert prompt.pieces[1:] == ["user", "Go"]


def test_parts_are_read_and_what_is_not_text_is_counted_and_not_kept() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10_000}}
    sound = {"type": "input_audio", "input_audio": {"data": "B" * 10_000, "format": "wav"}}
    content = [{"type": "text", "text": "What is"}, picture, picture, {"type": "text", "text": "this?"}, sound]
    prompt = read_prompt("chat", {"messages": [{"role": "user", "content": content}]})
    assert prompt.pieces == ["user", "What is", "this?"]
    assert (prompt.images, prompt.audios) == (2, 1)


def test_calls_of_tools_and_their_results_are_read() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "sum", "arguments": '{"a":1}'}}
    messages = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "3"},
    ]
    assert read_prompt("chat", {"messages": messages}).pieces == ["assistant", "sum", '{"a":1}', "tool", "3", "1"]


@pytest.mark.parametrize(
    ("prompt", "pieces", "tokens", "batch", "longest"),
    [
        ("abc", ["abc"], -1, 1, -1),
        (["abc", "de"], ["abc", "de"], -1, 2, 3),
        ([1, 2, 3], [], 3, 1, -1),
        ([[1, 2, 3], [4]], [], 4, 2, 3),
        (["abc"], ["abc"], -1, 1, -1),
        ([], [], -1, 1, -1),
    ],
)
def test_a_completion_is_a_text_or_ids_or_several(
    prompt: Any, pieces: list[str], tokens: int, batch: int, longest: int
) -> None:
    read = read_prompt("completion", {"prompt": prompt})
    assert (read.pieces, read.tokens, read.batch, read.longest) == (pieces, tokens, batch, longest)


def test_an_anthropic_body_has_its_system_first_and_results_inside_blocks() -> None:
    body = {
        "system": [{"type": "text", "text": "Be kind."}],
        "messages": [
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "look", "input": {"x": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "content": [{"type": "text", "text": "seen"}]}]},
        ],
    }
    prompt = read_prompt("messages", body)
    assert prompt.pieces == ["Be kind.", "assistant", "look", '{"x":1}', "user", "seen"]
    assert prompt.messages == 3


def test_a_responses_body_has_instructions_messages_and_outputs_of_calls() -> None:
    body = {
        "instructions": "Short.",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Hi"}, {"type": "input_image"}]},
            {"type": "function_call_output", "call_id": "c", "output": "42"},
        ],
    }
    prompt = read_prompt("responses", body)
    assert prompt.pieces == ["Short.", "user", "Hi", "42"]
    assert (prompt.messages, prompt.images) == (3, 1)


def test_a_query_is_read_with_each_document() -> None:
    prompt = read_prompt("rerank", {"query": "cat", "documents": ["a cat", {"text": "dogs"}]})
    assert prompt.pieces == ["cat", "a cat", "cat", "dogs"]
    assert (prompt.batch, prompt.longest) == (2, 8)
    assert read_prompt("score", {"text_1": ["a", "b"], "text_2": ["c", "d"]}).pieces == ["a", "c", "b", "d"]


def test_what_coheres_api_embeds_is_read() -> None:
    texts = read_prompt("embed", {"texts": ["one", "three"]})
    assert (texts.pieces, texts.batch, texts.longest) == (["one", "three"], 2, 5)
    images = read_prompt("embed", {"images": ["data:image/png;base64,AA", "data:image/png;base64,BB"]})
    assert (images.pieces, images.images, images.batch) == ([], 2, 2)
    parts = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    mixed = read_prompt("embed", {"inputs": [{"content": parts}, {"content": parts[:1]}, "no input", {"content": 1}]})
    assert (mixed.pieces, mixed.images, mixed.batch) == (["a", "a"], 1, 4)
    for nothing in ({}, {"texts": []}, {"texts": 1}, {"images": []}, {"inputs": []}):
        assert (read_prompt("embed", nothing).pieces, read_prompt("embed", nothing).batch) == ([], 1)


def test_several_conversations_are_several_prompts() -> None:
    one = [{"role": "user", "content": "Hello"}]
    two = [{"role": "user", "content": "Hi"}]
    prompt = read_prompt("embeddings", {"messages": [one, two]})
    assert (prompt.batch, prompt.longest, prompt.messages) == (2, 9, 2)


def test_a_batch_of_chats_is_as_many_prompts() -> None:
    chats = [[{"role": "user", "content": "Hello"}], [{"role": "user", "content": "Hi"}]]
    prompt = read_prompt("chats", {"messages": chats})
    assert (prompt.batch, prompt.longest, prompt.messages) == (2, 9, 2)
    for wrong in ([], [[]], [1], ["a"], [None, []]):
        read_prompt("chats", {"messages": wrong})


def test_what_is_scored_by_writing_is_read_with_each_item() -> None:
    prompt = read_prompt("score", {"query": "Is it?", "items": ["yes", "no"]})
    assert (prompt.pieces, prompt.batch) == (["Is it?", "yes", "Is it?", "no"], 2)


def test_text_is_not_copied() -> None:
    text = "x" * 100_000
    prompt = read_prompt("chat", {"messages": [{"role": "user", "content": text}]})
    assert prompt.pieces[1] is text


@given(st.sampled_from(sorted(SCHEMAS)), st.dictionaries(NAMES, ODD, max_size=6))
def test_odd_shapes_are_read_without_a_murmur(schema: str, fields: dict[str, Any]) -> None:
    prompt = read_prompt(schema, fields)
    assert all(type(piece) is str for piece in prompt.pieces)
    assert prompt.batch >= 1
    if prompt.tokens < 0:
        assert prompt.chars == sum(map(len, prompt.pieces))


def test_tools_too_deep_for_the_writer_are_counted_by_their_texts() -> None:
    deep: Any = "leaf"
    for _ in range(600):
        deep = {"k": deep}
    prompt = read_prompt("chat", {"messages": [{"role": "user", "content": "x"}], "tools": [deep]})
    assert prompt.tools == 1
    assert "leaf" in prompt.pieces
    deep = {"content": "end"}
    for _ in range(600):
        deep = {"content": [deep]}
    read_prompt("chat", {"messages": [{"role": "user", "content": [deep]}]})
