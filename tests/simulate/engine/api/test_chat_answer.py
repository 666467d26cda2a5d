"""The answer to a chat, whole and in chunks."""

from __future__ import annotations

import json
from typing import Any

from penstock.simulate.engine.api.chat_answer import ChatShape, ChatStream, ToolCall, chat_completion
from penstock.simulate.engine.api.encoding import DONE
from penstock.simulate.engine.api.envelope import Envelope, StreamUsage, Usage
from penstock.simulate.engine.api.errors import engine_dead
from penstock.simulate.engine.api.sampling import Sampling
from penstock.simulate.engine.api.sequence import OutputSequence, Piece
from penstock.simulate.engine.core import TokenOutput
from penstock.simulate.engine.text import tokenizer

ENVELOPE = Envelope(id="chatcmpl-1", created=7, model="tiny", fingerprint="vllm-0.32.0-0")
CALL = ToolCall(id="chatcmpl-tool-1", name="look", finish_reason="tool_calls")


def stream(shape: ChatShape, choices: int = 1) -> ChatStream:
    return ChatStream(ENVELOPE, shape, choices, Usage(3))


def parsed(events: list[bytes]) -> list[Any]:
    return [json.loads(event[6:]) for event in events if event != DONE]


def sequence_of(text: str) -> OutputSequence:
    sequence = OutputSequence(0, [1], Sampling(), 0)
    sequence.push(TokenOutput("r", (*tokenizer().encode(text), tokenizer().eos_id), "stop"))
    return sequence


def test_the_first_piece_of_any_choice_opens_all_choices() -> None:
    writer = stream(ChatShape(), choices=2)

    first = parsed(writer.push(Piece(1, "a", (1,))))
    second = parsed(writer.push(Piece(0, "b", (2,))))

    assert [event["choices"][0]["index"] for event in first] == [0, 1, 1]
    assert [event["choices"][0]["delta"] for event in first[:2]] == [{"role": "assistant", "content": ""}] * 2
    assert [event["choices"][0]["delta"] for event in second] == [{"content": "b"}]


def test_only_the_last_chunk_of_a_choice_has_a_reason_and_the_fingerprint() -> None:
    writer = stream(ChatShape())

    *_, middle = parsed(writer.push(Piece(0, "a", (1,))))
    (last,) = parsed(writer.push(Piece(0, "", (2,), "stop", "end")))

    assert "stop_reason" not in middle["choices"][0]
    assert "system_fingerprint" not in middle
    assert (last["choices"][0]["finish_reason"], last["choices"][0]["stop_reason"]) == ("stop", "end")
    assert last["system_fingerprint"] == "vllm-0.32.0-0"
    assert writer.close() == [DONE]


def test_usage_comes_once_at_the_end_with_no_choices() -> None:
    writer = stream(ChatShape(usage=StreamUsage(at_end=True)))

    (*_, last) = parsed(writer.push(Piece(0, "a", (1, 2), "length")))
    usage, done = writer.close()

    assert "usage" not in last
    assert "system_fingerprint" not in last
    assert json.loads(usage[6:])["usage"] == {"prompt_tokens": 3, "total_tokens": 5, "completion_tokens": 2}
    assert json.loads(usage[6:])["choices"] == []
    assert done == DONE


def test_continuous_usage_counts_each_choice_for_itself() -> None:
    writer = stream(ChatShape(usage=StreamUsage(at_end=True, continuous=True)), choices=2)

    events = parsed(writer.push(Piece(0, "a", (1, 2)))) + parsed(writer.push(Piece(1, "b", (3,))))

    assert [event["usage"]["completion_tokens"] for event in events] == [0, 0, 2, 1]
    assert json.loads(writer.close()[0][6:])["usage"]["completion_tokens"] == 3


def test_token_ids_show_only_where_asked_for() -> None:
    plain = parsed(stream(ChatShape()).push(Piece(0, "a", (1,))))
    shown = ChatStream(
        Envelope(id="1", created=1, model="m", fingerprint="f", prompt_ids=[8, 9]),
        ChatShape(wants_token_ids=True),
        1,
        Usage(2),
    )
    with_ids = parsed(shown.push(Piece(0, "a", (1,))))

    assert plain[0]["prompt_token_ids"] is None
    assert plain[1]["choices"][0]["token_ids"] is None
    assert with_ids[0]["prompt_token_ids"] == [8, 9]
    assert with_ids[1]["choices"][0]["token_ids"] == [1]


def test_a_streamed_tool_call_is_named_once_then_argued_then_ended() -> None:
    writer = stream(ChatShape(tool_calls=(CALL,)))

    events = parsed(writer.push(Piece(0, '{"a"', (1,)))) + parsed(writer.push(Piece(0, ": 1}", (2,), "stop")))
    deltas = [event["choices"][0]["delta"] for event in events[1:]]

    assert deltas[0]["tool_calls"][0]["function"] == {"name": "look"}
    arguments = "".join(delta["tool_calls"][0]["function"]["arguments"] for delta in deltas[1:-1])
    assert json.loads(arguments) == {"a": 1}
    assert deltas[-1] == {}
    assert events[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_a_whole_tool_call_stands_before_reasoning_and_has_empty_content() -> None:
    body = chat_completion(ENVELOPE, ChatShape(tool_calls=(CALL,)), [sequence_of('{"a": 1}')], Usage(1, 2))
    choice = json.loads(body)["choices"][0]

    assert list(choice["message"])[-2:] == ["tool_calls", "reasoning"]
    assert choice["message"]["content"] == ""
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"a": 1}'}
    assert choice["finish_reason"] == "tool_calls"


def test_echo_comes_first_in_both_forms() -> None:
    shape = ChatShape(echo="before ")

    events = parsed(stream(shape).push(Piece(0, "after", (1,))))
    body = chat_completion(ENVELOPE, shape, [sequence_of("after")], Usage(1, 2))

    assert [event["choices"][0]["delta"]["content"] for event in events] == ["", "before ", "after"]
    assert json.loads(body)["choices"][0]["message"]["content"] == "before after"


def test_a_stream_that_fails_ends_with_an_error_and_done() -> None:
    error, done = stream(ChatShape()).fail(engine_dead())

    assert json.loads(error[6:])["error"]["code"] == 500
    assert done == DONE
