"""Heads that the gateway writes: whole, and with no line in them that somebody else chose."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.wire.heads import FORWARDED, answer_head, clean_request_id, request_head
from penstock.serve.wire.responses import parse_head

DATE = b"Thu, 01 Jan 1970 00:00:00 GMT"


def answer(status: int = 200, *, length: int = 0, is_chunked: bool = False, is_kept: bool = True) -> bytes:
    return answer_head(
        status,
        date=DATE,
        content_type=b"application/json",
        request_id=b"abc",
        content_length=length,
        is_chunked=is_chunked,
        is_keep_alive=is_kept,
    )


@given(st.binary(max_size=200))
def test_a_request_id_is_plain_and_short_or_not_taken(value: bytes) -> None:
    clean = clean_request_id(value)
    assert clean in (b"", value)
    assert (
        clean.decode("ascii").replace("-", "").replace(".", "").replace("_", "").replace(":", "").isalnum() or not clean
    )
    assert len(clean) <= 128


@pytest.mark.parametrize(
    "value",
    [b"a\r\nx: y", b"a\n", b"a b", b'a"b', b"a\x00", b"\xff", b"-a", b"", b"a" * 129, b"a;b", b"a\\", b"a,b"],
)
def test_a_request_id_that_could_end_a_line_or_a_log_field_is_not_taken(value: bytes) -> None:
    assert clean_request_id(value) == b""


@pytest.mark.parametrize("value", [b"req-1", b"0b3f", b"a" * 128, b"chatcmpl-9.8_7:6"])
def test_a_plain_request_id_is_taken(value: bytes) -> None:
    assert clean_request_id(value) == value


@pytest.mark.parametrize("status", [200, 400, 404, 418, 429, 503, 529, 599])
@pytest.mark.parametrize("is_kept", [False, True])
def test_every_status_gives_a_head_that_reads_back(status: int, is_kept: bool) -> None:
    head = parse_head(answer(status, length=5, is_kept=is_kept))
    assert head is not None
    assert (head.status, head.content_length, head.is_keep_alive) == (status, 5, is_kept)
    assert head.content_type == b"application/json"


def test_each_framing_is_told_and_never_two() -> None:
    assert b"content-length: 7\r\n" in answer(length=7)
    assert b"transfer-encoding" not in answer(length=7)
    assert b"transfer-encoding: chunked\r\n" in answer(length=-1, is_chunked=True)
    assert b"content-length" not in answer(length=-1, is_chunked=True)
    until_close = answer(length=-1, is_kept=False)
    assert b"content-length" not in until_close
    assert b"transfer-encoding" not in until_close
    assert until_close.endswith(b"connection: close\r\n\r\n")


def test_an_answer_without_content_is_not_given_a_length() -> None:
    assert b"content-length" not in answer(204, length=0)


def test_a_request_to_an_engine_reads_back_as_one_post() -> None:
    seen: dict[str, bytes] = {}

    class Sink:
        def on_url(self, url: bytes) -> None:
            seen["url"] = url

        def on_header(self, name: bytes, value: bytes) -> None:
            assert name.decode() not in seen
            seen[name.decode()] = value

    head = request_head(
        "/v1/completions",
        "[::1]:9000",
        content_type=b"",
        content_length=2,
        request_id=b"abc",
        forwarded=b"traceparent: 00-1\r\n",
    )
    parser = httptools.HttpRequestParser(Sink())
    parser.feed_data(head + b"{}")
    assert parser.get_method() == b"POST"
    assert seen == {
        "url": b"/v1/completions",
        "host": b"[::1]:9000",
        "content-type": b"application/json",
        "content-length": b"2",
        "x-request-id": b"abc",
        "traceparent": b"00-1",
    }


def test_credentials_and_hop_by_hop_headers_never_go_on() -> None:
    private = {b"authorization", b"x-api-key", b"cookie", b"connection", b"transfer-encoding", b"te", b"upgrade"}
    assert not FORWARDED & (private | {b"host", b"content-length", b"content-type", b"x-request-id", b"expect"})
    assert all(name == name.lower() for name in FORWARDED)
