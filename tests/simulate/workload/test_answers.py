from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.simulate.workload.answers import Answer, EventStream, Failure, error_text, read_body

USAGE = {"prompt_tokens": 37, "completion_tokens": 3, "total_tokens": 40}


def event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def delta(**fields: Any) -> bytes:
    return event({"choices": [{"index": 0, "delta": fields, "finish_reason": None}]})


ROLE = delta(role="assistant", content="")
LAST = event({"choices": [{"index": 0, "delta": {"content": "!"}, "finish_reason": "length"}]})
COUNTS = event({"choices": [], "usage": USAGE})
DONE = b"data: [DONE]\n\n"
WHOLE = ROLE + delta(content="a") + b": keep-alive\n\n" + delta(content="b") + LAST + COUNTS + DONE


def test_time_to_first_token_is_that_of_the_first_output_not_of_the_opening_chunk() -> None:
    stream = EventStream()

    for now, read in enumerate([ROLE, delta(content="a"), delta(content="b"), LAST, COUNTS, DONE]):
        assert stream.feed(read, float(now)) is None

    assert (stream.first_at, stream.last_at, stream.events) == (1.0, 3.0, 3)
    assert list(stream.gaps_s) == [1.0, 1.0]
    assert stream.is_done
    assert stream.answer() == Answer(prompt_tokens=37, output_tokens=3, finish_reason="length", has_text=True)


@given(st.lists(st.integers(0, len(WHOLE)), max_size=12), st.booleans())
def test_how_the_bytes_are_cut_into_reads_changes_nothing_but_times(cuts: list[int], has_crlf: bool) -> None:
    whole = WHOLE.replace(b"\n", b"\r\n") if has_crlf else WHOLE
    edges = [0, *sorted(cuts), len(whole)]
    stream = EventStream()

    for start, end in pairwise(edges):
        assert stream.feed(whole[start:end], 0.0) is None

    assert stream.is_done
    assert stream.events == 3
    assert stream.answer() == Answer(prompt_tokens=37, output_tokens=3, finish_reason="length", has_text=True)


@pytest.mark.parametrize(
    "part",
    [{"reasoning_content": "hm"}, {"reasoning": "hm"}, {"tool_calls": [{"index": 0}]}],
)
def test_reasoning_and_tool_calls_are_output(part: dict[str, Any]) -> None:
    stream = EventStream()

    stream.feed(delta(**part), 5.0)

    assert stream.first_at == 5.0


def test_where_events_count_tokens_those_without_text_count_too_and_several_at_once() -> None:
    """Half a character has no text; a busy server sends several tokens in one event."""

    def said(text: str, tokens: int) -> bytes:
        usage = {"prompt_tokens": 5, "completion_tokens": tokens}
        return event({"choices": [{"index": 0, "text": text}], "usage": usage})

    stream = EventStream()
    for now, read in enumerate([said("", 0), said("", 1), said("ab", 3), said("", 3), COUNTS, DONE]):
        assert stream.feed(read, float(now)) is None

    assert (stream.first_at, stream.last_at, stream.events) == (1.0, 2.0, 3)
    assert list(stream.gaps_s) == [1.0, 0.0]
    assert stream.answer().has_text


def test_completion_chunks_carry_text_without_a_delta() -> None:
    stream = EventStream()

    stream.feed(event({"choices": [{"index": 0, "text": "a"}]}), 2.0)

    assert stream.first_at == 2.0


def test_a_stream_without_done_is_not_done() -> None:
    stream = EventStream()

    stream.feed(WHOLE.removesuffix(DONE), 0.0)

    assert not stream.is_done


def test_an_event_of_several_data_lines_is_joined() -> None:
    stream = EventStream()

    stream.feed(b'event: x\ndata: {"choices":\ndata: [{"delta": {"content": "a"}}]}\n\n', 1.0)

    assert stream.events == 1


@pytest.mark.parametrize(
    ("read", "failure"),
    [
        (event({"error": {"message": "engine died", "code": 500}}), Failure(kind="stream_error", detail="engine died")),
        (b"data: {oops\n\n", Failure(kind="bad_answer", detail="an event that is not JSON: {oops")),
        (b"data: [1]\n\n", Failure(kind="bad_answer", detail="an event that is not a JSON object: [1]")),
    ],
)
def test_a_bad_event_ends_the_stream_with_its_reason(read: bytes, failure: Failure) -> None:
    assert EventStream().feed(read, 0.0) == failure


def test_an_event_without_end_is_refused_before_it_fills_the_memory() -> None:
    failure = EventStream().feed(b"data: " + b"x" * 1_000_001, 0.0)

    assert failure is not None
    assert failure.kind == "bad_answer"


def test_a_whole_answer_is_read_with_its_usage() -> None:
    body = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}], "usage": USAGE}

    assert read_body(json.dumps(body).encode()) == Answer(
        prompt_tokens=37, output_tokens=3, finish_reason="stop", has_text=True
    )
    assert read_body(b'{"choices": [{"text": ""}]}') == Answer(
        prompt_tokens=None, output_tokens=None, finish_reason="", has_text=False
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the answer is not JSON: it is empty"),
        (b"<html>", "the answer is not JSON: <html>"),
        (b"{}", "the answer has no choices: {}"),
        (b'{"choices": []}', 'the answer has no choices: {"choices": []}'),
        (b'{"error": {"message": "no"}}', "no"),
        (b"[]", "[]"),
    ],
)
def test_an_answer_that_is_none_says_what_it_is(body: bytes, said: str) -> None:
    assert read_body(body) == Failure(kind="bad_answer", detail=said)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error": {"message": "Not here"}}', "Not here"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b'{"error": "plain"}', "plain"),
        (b"Bad\n  Gateway", "Bad Gateway"),
        (b"x" * 300, "x" * 199 + "…"),
        (b"\xff", "\ufffd"),
    ],
)
def test_error_text_is_the_message_inside_cut_short(body: bytes, said: str) -> None:
    assert error_text(body) == said
