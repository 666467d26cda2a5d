"""Anthropic's messages: to a chat, and back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.simulate.engine.api.chat_answer import ToolCall
from penstock.simulate.engine.api.envelope import Envelope, Usage
from penstock.simulate.engine.api.errors import engine_dead
from penstock.simulate.engine.api.messages import (
    AnthropicMessagesRequest,
    MessageStream,
    as_chat,
    message_body,
    token_count_body,
)
from penstock.simulate.engine.api.sampling import Sampling
from penstock.simulate.engine.api.sequence import OutputSequence, Piece
from penstock.simulate.engine.core import TokenOutput
from penstock.simulate.engine.text import tokenizer

ENVELOPE = Envelope(id="chatcmpl-1", created=7, model="tiny", fingerprint="f")
CALL = ToolCall(id="toolu", name="look", finish_reason="tool_calls")


def chat_of(**fields: Any) -> dict[str, Any]:
    given = {"model": "tiny", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
    return as_chat(AnthropicMessagesRequest.model_validate(given | fields))


def sequence_of(text: str, reason: Any) -> OutputSequence:
    sequence = OutputSequence(0, [1], Sampling(), 0)
    ids = tokenizer().encode(text)
    sequence.push(TokenOutput("r", (*ids, tokenizer().eos_id) if reason == "stop" else tuple(ids), reason))
    return sequence


def parsed(events: list[bytes]) -> list[Any]:
    return [json.loads(event.split(b"\ndata: ")[1]) for event in events]


def test_system_text_and_limits_are_carried_over() -> None:
    chat = chat_of(system="be brief", stop_sequences=["x"], temperature=0.5, top_k=3)

    assert chat["messages"][0] == {"role": "system", "content": "be brief"}
    assert (chat["max_completion_tokens"], chat["stop"], chat["temperature"], chat["top_k"]) == (5, ["x"], 0.5, 3)


def test_blocks_become_parts_calls_and_tool_messages() -> None:
    chat = chat_of(
        messages=[
            {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "look", "input": {"a": 1}}]},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "1", "content": "seen"},
                    {"type": "text", "text": "and?"},
                ],
            },
        ]
    )

    called, result, asked = chat["messages"]
    assert called["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"a":1}'}
    assert result == {"role": "tool", "tool_call_id": "1", "content": "seen"}
    assert asked["content"] == [{"type": "text", "text": "and?"}]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "look"}, {"type": "function", "function": {"name": "look"}}),
    ],
)
def test_the_tool_choice_is_translated(choice: Any, expected: Any) -> None:
    chat = chat_of(tools=[{"name": "look", "input_schema": {"type": "object"}}], tool_choice=choice)

    assert chat["tool_choice"] == expected
    assert chat["tools"][0]["function"]["parameters"] == {"type": "object"}


@pytest.mark.parametrize(("reason", "expected"), [("stop", "end_turn"), ("length", "max_tokens")])
def test_the_stop_reason_is_anthropics(reason: str, expected: str) -> None:
    body = json.loads(message_body(ENVELOPE, sequence_of("hello", reason), Usage(1, 2), None))

    assert body["stop_reason"] == expected
    assert body["content"] == [{"type": "text", "text": "hello"}]
    assert body["usage"] == {"input_tokens": 1, "output_tokens": 2}


def test_a_tool_call_is_a_block_with_its_input() -> None:
    body = json.loads(message_body(ENVELOPE, sequence_of('{"a": 1}', "stop"), Usage(1, 2), CALL))

    assert body["content"] == [{"type": "tool_use", "id": "toolu", "name": "look", "input": {"a": 1}}]
    assert body["stop_reason"] == "tool_use"


def test_events_open_and_close_one_block_and_skip_empty_text() -> None:
    writer = MessageStream(ENVELOPE, Usage(1), None)

    events = writer.push(Piece(0, "", (1,))) + writer.push(Piece(0, "a", (2,), "length")) + writer.close()

    assert [event["type"] for event in parsed(events)] == [
        *("message_start", "content_block_start", "content_block_delta", "content_block_stop"),
        *("message_delta", "message_stop"),
    ]
    assert parsed(events)[-2]["usage"] == {"input_tokens": 1, "output_tokens": 2}


def test_a_streamed_tool_call_sends_its_input_as_json_pieces() -> None:
    writer = MessageStream(ENVELOPE, Usage(1), CALL)

    events = parsed(writer.push(Piece(0, "{}", (1,), "stop")) + writer.close())

    assert events[1]["content_block"] == {"type": "tool_use", "id": "toolu", "name": "look", "input": {}}
    assert events[2]["delta"] == {"type": "input_json_delta", "partial_json": "{}"}
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


def test_a_stream_that_fails_ends_with_an_error_event() -> None:
    (event,) = MessageStream(ENVELOPE, Usage(1), None).fail(engine_dead())

    assert event.startswith(b"event: error\n")


def test_the_token_count_stands_twice() -> None:
    assert json.loads(token_count_body(3)) == {"input_tokens": 3, "context_management": {"original_input_tokens": 3}}
