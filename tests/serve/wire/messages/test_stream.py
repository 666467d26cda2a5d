"""A stream of chat completions, told as one of the Messages API: equal to the plain answer, however it is cut."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.wire.messages import ChatEvents, from_chat

USAGE = {"prompt_tokens": 10, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 8}}


def sse(*chunks: dict[str, Any] | str) -> bytes:
    parts = [c if isinstance(c, str) else json.dumps({"id": "chatcmpl-7", "model": "m", **c}) for c in chunks]
    return "".join(f"data: {part}\n\n" for part in parts).encode()


def piece(finish: str | None = None, stop: Any = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish, "stop_reason": stop}]}


def call(index: int, arguments: str, *, call_id: str | None = None, name: str | None = None) -> dict[str, Any]:
    function: dict[str, Any] = {"arguments": arguments}
    if name is not None:
        function["name"] = name
    found: dict[str, Any] = {"index": index, "function": function}
    if call_id is not None:
        found["id"] = call_id
    return piece(tool_calls=[found])


END = ({"choices": [], "usage": USAGE}, "[DONE]")


def told(stream: bytes, cuts: list[int] | None = None) -> list[dict[str, Any]]:
    events = ChatEvents(model="")
    places = sorted({0, len(stream), *(c % (len(stream) + 1) for c in cuts or [])})
    out = b"".join(events.feed(stream[a:b]) for a, b in pairwise(places)) + events.end()
    return parsed(out)


def parsed(out: bytes) -> list[dict[str, Any]]:
    assert out.endswith(b"\n\n")
    found = []
    for event in out.split(b"\n\n")[:-1]:
        name, text = event.split(b"\n")
        fields = json.loads(text.removeprefix(b"data: "))
        assert name == b"event: " + fields["type"].encode()
        found.append(fields)
    return found


def message(events: list[dict[str, Any]]) -> dict[str, Any]:
    """What a strict client makes of the events: blocks one after another, each opened, filled and closed."""
    events = [e for e in events if e["type"] != "ping"]
    assert events[0]["type"] == "message_start"
    assert [e["type"] for e in events[-2:]] == ["message_delta", "message_stop"]
    made: dict[str, Any] = dict(events[0]["message"])
    blocks: list[dict[str, Any]] = []
    arguments = ""
    is_open = False
    for event in events[1:-2]:
        assert event["index"] == len(blocks) - (event["type"] != "content_block_start")
        match event["type"]:
            case "content_block_start":
                assert not is_open
                blocks.append(dict(event["content_block"]))
                is_open, arguments = True, ""
            case "content_block_delta":
                assert is_open
                delta = event["delta"]
                match delta["type"]:
                    case "text_delta":
                        blocks[-1]["text"] += delta["text"]
                    case "thinking_delta":
                        blocks[-1]["thinking"] += delta["thinking"]
                    case "input_json_delta":
                        assert delta["partial_json"]
                        arguments += delta["partial_json"]
            case "content_block_stop":
                assert is_open
                is_open = False
                if arguments:
                    blocks[-1]["input"] = json.loads(arguments)
    assert not is_open
    return made | events[-2]["delta"] | {"content": blocks, "usage": events[-2]["usage"]}


TEXT = (piece(role="assistant", content=""), piece(content="Hel"), piece(content="lo ☃"), piece("stop"))


def test_text_comes_in_one_block_with_usage_at_the_end() -> None:
    assert message(told(sse(*TEXT, *END))) == {
        "id": "msg_7",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "Hello ☃"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 2,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 8,
            "output_tokens": 3,
        },
    }


def test_each_piece_of_text_goes_on_at_once() -> None:
    events = ChatEvents(model="")
    events.feed(sse(TEXT[0]))
    assert b"Hel" in events.feed(sse(TEXT[1]))


def test_calls_that_come_interleaved_come_apart() -> None:
    stream = sse(
        piece(content="ok"),
        call(0, "", call_id="a", name="f"),
        call(1, '{"y"', call_id="b", name="g"),
        call(0, '{"x":1}'),
        call(1, ":2}"),
        piece("tool_calls"),
        *END,
    )
    assert message(told(stream))["content"] == [
        {"type": "text", "text": "ok"},
        {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
        {"type": "tool_use", "id": "b", "name": "g", "input": {"y": 2}},
    ]


def test_text_after_a_call_is_not_lost() -> None:
    stream = sse(call(0, "{}", call_id="a", name="f"), piece(content="and so"), piece("tool_calls"), *END)
    assert [b["type"] for b in message(told(stream))["content"]] == ["tool_use", "text"]


def test_thoughts_have_a_block_of_their_own() -> None:
    stream = sse(piece(reasoning="hm"), piece(reasoning="m"), piece(content="x"), piece("stop"), *END)
    assert [(b["type"], b.get("thinking")) for b in message(told(stream))["content"]] == [
        ("thinking", "hmm"),
        ("text", None),
    ]


def test_a_stop_sequence_is_named() -> None:
    made = message(told(sse(piece(content="x"), piece("stop", "END"), *END)))
    assert (made["stop_reason"], made["stop_sequence"]) == ("stop_sequence", "END")


def test_a_comment_that_keeps_the_stream_alive_becomes_a_ping() -> None:
    assert [e["type"] for e in parsed(ChatEvents(model="").feed(b":\n\n"))] == ["ping"]


@pytest.mark.parametrize(
    "stream",
    [
        sse(*TEXT[:2]),
        sse(*TEXT[:2], "[DONE]"),
        sse(*TEXT[:2], {"error": {"message": "gone", "code": 500}}),
        b"",
        b"data: nothing\n\n",
    ],
    ids=["cut off", "no reason", "an error", "nothing", "garbage"],
)
def test_a_stream_that_is_not_whole_ends_with_an_error_and_no_stop(stream: bytes) -> None:
    events = told(stream)
    assert events[-1]["type"] == "error"
    assert events[-1]["error"]["type"] == "api_error"
    assert "message_stop" not in {e["type"] for e in events}


def test_an_answer_that_the_engine_dropped_is_no_whole_one() -> None:
    """vLLM ends the choice of a request that it was told to drop so, and sends `[DONE]`."""
    events = told(sse(piece(content="a"), piece("abort", content=""), *END))
    assert [e["type"] for e in events][-1] == "error"
    assert "message_stop" not in {e["type"] for e in events}


def test_nothing_follows_the_end() -> None:
    events = ChatEvents(model="")
    events.feed(sse(*TEXT, *END))
    assert events.is_over
    assert events.feed(sse(*TEXT, *END)) + events.end() == b""


def test_an_event_without_end_ends_the_stream() -> None:
    events = ChatEvents(model="")
    out = events.feed(b"data: " + b"x" * (1 << 20))
    assert events.is_over
    assert parsed(out)[-1]["type"] == "error"


ARGUMENTS = st.dictionaries(
    st.text(max_size=5), st.integers(-(2**63), 2**63 - 1) | st.text(max_size=9), min_size=1, max_size=3
)


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, dict[str, Any]]:
    """A stream as an engine may send it, and the plain answer that it stands for."""
    text = draw(st.text(max_size=30))
    calls = draw(st.lists(ARGUMENTS, max_size=3))
    chunks: list[dict[str, Any]] = [piece(role="assistant", content="")]
    while text and (left := text[sum(len(c["choices"][0]["delta"]["content"]) for c in chunks) :]):
        chunks.append(piece(content=left[: draw(st.integers(1, len(left)))]))
    pieces: list[dict[str, Any]] = []
    whole = []
    for index, given_ in enumerate(calls):
        arguments = json.dumps(given_, ensure_ascii=draw(st.booleans()))
        whole.append({"id": f"c{index}", "function": {"name": f"f{index}", "arguments": arguments}})
        at = draw(st.integers(0, len(arguments)))
        chunks.append(call(index, arguments[:at], call_id=f"c{index}", name=f"f{index}"))
        pieces.append(call(index, arguments[at:]))
    chunks += draw(st.permutations(pieces))
    finish = "tool_calls" if calls else draw(st.sampled_from(["stop", "length"]))
    answer = {
        "id": "chatcmpl-7",
        "model": "m",
        "choices": [{"message": {"content": text, "tool_calls": whole}, "finish_reason": finish}],
        "usage": USAGE,
    }
    return sse(*chunks, piece(finish), *END), answer


@given(streams(), st.lists(st.integers(0, 10**6), max_size=12))
def test_a_stream_cut_anywhere_makes_the_same_message_as_the_plain_answer(
    drawn: tuple[bytes, dict[str, Any]], cuts: list[int]
) -> None:
    stream, answer = drawn
    assert message(told(stream, cuts)) == from_chat(answer)


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"data: ", b"\n\n", b'{"choices":[{"delta":', b"[DONE]"])))
def test_garbage_makes_whole_events_and_no_crash(reads: list[bytes]) -> None:
    events = ChatEvents(model="m")
    out = b"".join(events.feed(read) for read in reads) + events.end()
    assert events.is_over
    assert parsed(out)[-1]["type"] in ("error", "message_stop")


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["delta", "tool_calls", "function", "index", "content", "id"]), inner, max_size=4
        )
    ),
    max_leaves=10,
)


@given(st.lists(ODD, max_size=4))
def test_json_of_any_shape_makes_whole_events_and_no_crash(odd: list[Any]) -> None:
    chunks = [sse(json.dumps({"choices": [{"delta": o, "finish_reason": None}], "usage": o})) for o in odd]
    chunks += [sse(json.dumps(o)) for o in odd]
    events = ChatEvents(model="m")
    out = b"".join(events.feed(c) for c in chunks) + events.end()
    assert parsed(out)[-1]["type"] in ("error", "message_stop")
