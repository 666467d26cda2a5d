"""A Messages request through an engine that knows only chat completions: whatever is cut where, the client reads what
the engine meant, in the Messages API alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.wire.errors import Failure
from penstock.serve.wire.messages import CHAT_PATHS, TranslatedBody, translated_answer, translated_request
from penstock.serve.wire.responses import ChunkedBody, CountedBody, EofBody

COUNT = "/v1/messages/count_tokens"


def event(**fields: Any) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


STREAM = (
    event(id="chatcmpl-1", choices=[{"index": 0, "delta": {"role": "assistant", "content": "hel"}}])
    + event(id="chatcmpl-1", choices=[{"index": 0, "delta": {"content": "lo"}}])
    + event(id="chatcmpl-1", choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
    + b"data: [DONE]\n\n"
)


def text_of(payload: bytes) -> str:
    events = [json.loads(line[6:]) for line in payload.split(b"\n") if line.startswith(b"data: ")]
    return "".join(e["delta"].get("text", "") for e in events if e["type"] == "content_block_delta")


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.booleans())
def test_a_stream_is_the_same_however_it_is_cut_and_framed(sizes: list[int], is_chunked: bool) -> None:
    wire = b"%x\r\n%b\r\n0\r\n\r\n" % (len(STREAM), STREAM) if is_chunked else STREAM
    body = TranslatedBody(ChunkedBody() if is_chunked else CountedBody(len(STREAM)), model="claude-x")
    out, at = b"", 0
    while at < len(wire):
        size = sizes[at % len(sizes)]
        out += body.feed(wire[at : at + size])
        at += size
    assert text_of(out) == "hello"
    assert out.startswith(b"event: message_start\n")
    assert b'"model":"claude-x"' in out
    assert b"choices" not in out
    assert body.is_done
    assert not body.is_overrun


def test_a_stream_that_ends_in_its_middle_says_so_once() -> None:
    cut = STREAM[: STREAM.index(b"lo")]
    body = TranslatedBody(CountedBody(len(cut)), model="m")
    out = body.feed(cut)
    assert out.count(b"event: error\n") == 1
    assert body.is_done


def test_a_body_until_the_end_of_the_connection_is_whole_with_its_last_event() -> None:
    body = TranslatedBody(EofBody(), model="m")
    assert body.feed(STREAM).endswith(b"\n\n")
    assert not body.is_done


def test_what_comes_after_the_end_is_seen() -> None:
    body = TranslatedBody(CountedBody(len(STREAM)), model="m")
    body.feed(STREAM + b"more")
    assert body.is_overrun


def test_a_message_and_a_count_are_asked_for_by_their_own_paths() -> None:
    fields = {"model": "m", "max_tokens": 9, "system": "S", "messages": [{"role": "user", "content": "hi"}]}
    raw = json.dumps(fields).encode()
    chat, count = (json.loads(translated_request(path, raw)) for path in CHAT_PATHS)
    assert chat["max_tokens"] == 9
    assert "max_tokens" not in count
    assert chat["messages"] == count["messages"] == [{"role": "system", "content": "S"}, *fields["messages"]]  # type: ignore[misc]


@pytest.mark.parametrize("body", [b"", b"oops", b"[]", b"null", b"3"])
@pytest.mark.parametrize("path", CHAT_PATHS)
def test_an_answer_of_another_kind_is_502(path: str, body: bytes) -> None:
    told = translated_answer(path, body, model="m")
    assert isinstance(told, Failure)
    assert told.status == 502


def test_a_count_without_a_count_is_502() -> None:
    assert isinstance(translated_answer(COUNT, b"{}", model="m"), Failure)
    assert translated_answer(COUNT, b'{"count":3}', model="m") == b'{"input_tokens":3}'
