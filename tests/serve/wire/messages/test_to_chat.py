"""A request of the Messages API means the same as the chat completion that it becomes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.wire.messages import count_answer, count_request, from_chat, to_chat

IMAGE = {"type": "base64", "media_type": "image/jpeg", "data": "QUJD"}


def ask(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 9, "messages": list(messages), **more}


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def test_every_field_goes_under_its_name() -> None:
    chat = to_chat(
        ask(
            {"role": "user", "content": "hi"},
            system="Be brief.",
            temperature=0.5,
            top_p=0.9,
            top_k=4,
            stop_sequences=["END"],
            stream=True,
            tools=[{"name": "f", "description": "d", "input_schema": {"properties": {}}}],
            tool_choice={"type": "tool", "name": "f", "disable_parallel_tool_use": True},
            output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}, "effort": "max"},
        )
    )
    assert chat == {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 4,
        "stop": ["END"],
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": [
            {
                "type": "function",
                "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}},
            }
        ],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "parallel_tool_calls": False,
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}},
        "reasoning_effort": "high",
    }


@pytest.mark.parametrize(("theirs", "ours"), [("auto", "auto"), ("any", "required"), ("none", "none")])
def test_the_choice_among_tools_has_its_name(theirs: str, ours: str) -> None:
    tools = [{"name": "f", "input_schema": {}}]
    assert to_chat(ask(user("x"), tools=tools, tool_choice={"type": theirs}))["tool_choice"] == ours


def test_what_tools_returned_comes_first_and_their_images_with_the_turn() -> None:
    turn = user(
        {"type": "text", "text": "look"},
        {
            "type": "tool_result",
            "tool_use_id": "t1",
            "content": [
                {"type": "text", "text": "a"},
                {"type": "image", "source": IMAGE},
                {"type": "text", "text": "b"},
            ],
        },
        {"type": "tool_result", "tool_use_id": "t2", "content": "c"},
        {"type": "tool_result", "tool_use_id": "t3"},
    )
    assert to_chat(ask(turn))["messages"] == [
        {"role": "tool", "tool_call_id": "t1", "content": "a\nb"},
        {"role": "tool", "tool_call_id": "t2", "content": "c"},
        {"role": "tool", "tool_call_id": "t3", "content": ""},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,QUJD"}},
            ],
        },
    ]


def test_only_what_a_tool_returned_makes_no_empty_turn() -> None:
    turn = user({"type": "tool_result", "tool_use_id": "t", "content": "c"})
    assert [m["role"] for m in to_chat(ask(turn))["messages"]] == ["tool"]


def test_claude_codes_billing_line_does_not_spoil_the_cache() -> None:
    system = [{"type": "text", "text": "x-anthropic-billing-header: cch=1"}, {"type": "text", "text": "Be kind."}]
    assert to_chat(ask(user(), system=system))["messages"][0] == {"role": "system", "content": "Be kind."}


def test_an_answer_that_the_client_began_goes_on() -> None:
    turns = ({"role": "user", "content": "hi"}, {"role": "assistant", "content": "{"})
    assert to_chat(ask(*turns))["continue_final_message"] is True
    assert to_chat(ask(*turns))["add_generation_prompt"] is False
    assert "continue_final_message" not in to_chat(ask(*turns), is_vllm=False)


def test_another_provider_is_told_nothing_that_only_vllm_knows() -> None:
    thought = {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "a"}]}
    chat = to_chat(ask(thought, user({"type": "text", "text": "b"}), top_k=3), is_vllm=False)
    assert "top_k" not in chat
    assert chat["messages"][0] == {"role": "assistant", "content": "a"}
    assert to_chat(ask(thought, user({"type": "text", "text": "b"})))["messages"][0]["reasoning"] == "hm"


def test_tokens_are_counted_over_the_same_prompt() -> None:
    tools = [{"name": "f", "input_schema": {"type": "object"}}]
    counted = count_request(ask({"role": "user", "content": "hi"}, tools=tools, stream=True))
    assert counted.keys() == {"model", "messages", "tools"}
    assert count_answer({"count": 7, "tokens": [1]}) == {"input_tokens": 7}
    assert count_answer({"tokens": [1, 2]}) == {"input_tokens": 2}


NAMES = st.text(st.characters(codec="ascii", categories=("L",)), min_size=1, max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
CALLS = st.builds(
    lambda number, name, given_: {"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": given_},
    st.integers(0, 10**6),
    NAMES,
    st.dictionaries(st.text(max_size=6), VALUES, max_size=4),
)
TEXTS = st.builds(lambda text: {"type": "text", "text": text}, st.text(min_size=1, max_size=20))


@given(st.lists(TEXTS, max_size=1), st.lists(CALLS, max_size=4))
def test_text_and_calls_are_the_same_after_both_ways(texts: list[Any], calls: list[Any]) -> None:
    content = [*texts, *calls]
    (message,) = to_chat(ask({"role": "assistant", "content": content}), is_vllm=False)["messages"]
    finish = "tool_calls" if calls else "stop"
    answer = {"id": "chatcmpl-1", "model": "m", "choices": [{"message": message, "finish_reason": finish}]}
    back = from_chat(answer)
    assert back["content"] == content
    assert back["stop_reason"] == ("tool_use" if calls else "end_turn")


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "text", "content", "source", "name", "input"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant", "system"]), ODD), min_size=1, max_size=3), ODD, ODD)
def test_whatever_a_client_sends_becomes_a_request(turns: list[tuple[str, Any]], system: Any, choice: Any) -> None:
    messages = [{"role": role, "content": content} for role, content in turns]
    chat = to_chat(ask(*messages, system=system, tools=[{"name": "f"}], tool_choice=choice, output_config=choice))
    assert json.loads(json.dumps(chat)) == chat
