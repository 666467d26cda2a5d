"""Reading an engine's response: any split gives the same answer, and what breaks HTTP is a `ResponseError`."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.serve.wire.responses import (
    HEAD_BYTES_MAX,
    ChunkedBody,
    CountedBody,
    EofBody,
    ResponseError,
    ResponseHead,
    parse_head,
)

OK = b"HTTP/1.1 200 OK\r\n"


def chunk(payload: bytes, *, extension: bytes = b"", form: str = "%x") -> bytes:
    return (form % len(payload)).encode() + extension + b"\r\n" + payload + b"\r\n"


def split_at(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True) if a < b]


PAYLOADS = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
CUTS = st.lists(st.integers(0, 400), max_size=12)
EXTENSIONS = st.sampled_from([b"", b";a=b", b' ; q="x y"'])
FORMS = st.sampled_from(["%x", "%X", "%04x"])
TRAILERS = st.sampled_from([b"", b"x-checksum: 1\r\n"])


class TestChunkedBody:
    @given(PAYLOADS, CUTS, EXTENSIONS, FORMS, TRAILERS)
    @example([b"data: x\n\n"], [], b"", "%x", b"")
    def test_any_split_of_any_chunking_gives_the_payload(
        self, payloads: list[bytes], cuts: list[int], extension: bytes, form: str, trailer: bytes
    ) -> None:
        wire = b"".join(chunk(p, extension=extension, form=form) for p in payloads) + b"0\r\n" + trailer + b"\r\n"
        body, got = ChunkedBody(), b""
        for read in split_at(wire, cuts):
            assert not body.is_done
            got += body.feed(read)
        assert got == b"".join(payloads)
        assert body.is_done

    @given(PAYLOADS, CUTS)
    def test_a_read_is_aligned_only_when_it_is_whole_chunks_and_so_may_go_on_as_it_came(
        self, payloads: list[bytes], cuts: list[int]
    ) -> None:
        wire = b"".join(map(chunk, payloads))
        body, relayed = ChunkedBody(), b""
        for read in split_at(wire, cuts):
            payload = body.feed(read)
            if body.is_aligned:
                alone = ChunkedBody()
                assert alone.feed(read) == payload
                assert alone.is_aligned
                relayed += read
            elif payload:
                relayed += chunk(payload)
        client = ChunkedBody()
        assert client.feed(relayed + b"0\r\n\r\n") == b"".join(payloads)
        assert client.is_done

    @given(st.lists(st.binary(max_size=30), max_size=8))
    def test_garbage_is_a_response_error_or_waits_for_more_and_nothing_else(self, reads: list[bytes]) -> None:
        body = ChunkedBody()
        with suppress(ResponseError):
            for read in reads:
                assert isinstance(body.feed(read), bytes)

    @given(st.binary(min_size=1, max_size=20), st.integers(0, 60), st.integers(0, 255))
    def test_one_wrong_byte_never_passes_as_the_same_body_with_other_framing(
        self, payload: bytes, place: int, value: int
    ) -> None:
        wire = bytearray(chunk(payload) + b"0\r\n\r\n")
        wire[place % len(wire)] = value
        body = ChunkedBody()
        try:
            got = body.feed(bytes(wire))
        except ResponseError:
            return
        assert not body.is_done or len(got) <= len(payload)

    @pytest.mark.parametrize(
        "wire",
        [
            b"xyz\r\n",
            b"-1\r\n",
            b"+1\r\na\r\n",
            b"0x1\r\na\r\n",
            b"1_0\r\n",
            b"\r\n",
            b" \r\n",
            b" 1\r\na\r\n",
            b"\n1\r\na\r\n",
            b"\x0b1\r\na\r\n",
            b"1\n\r\na\r\n",
            b"1;a\nb\r\na\r\n",
            b"1;a\x00b\r\na\r\n",
            b"fffffffffff\r\n",
            b"1\r\naXX",
            b"1\r\nab\r\n",
            b"2\r\na\r\n\r\n",
            b"1" * 300,
        ],
    )
    @pytest.mark.parametrize("is_byte_by_byte", [False, True])
    def test_malformed_framing_is_refused(self, wire: bytes, is_byte_by_byte: bool) -> None:
        reads = [bytes([b]) for b in wire] if is_byte_by_byte else [wire]
        body = ChunkedBody()
        with pytest.raises(ResponseError):  # noqa: PT012
            for read in reads:
                body.feed(read)

    def test_a_trailer_may_not_go_on_for_ever(self) -> None:
        body = ChunkedBody()
        body.feed(b"0\r\n")
        with pytest.raises(ResponseError, match="trailer"):  # noqa: PT012
            for _ in range(HEAD_BYTES_MAX // 8):
                body.feed(b"a: 12345\r\n")

    def test_a_trailer_line_may_not_go_on_for_ever(self) -> None:
        body = ChunkedBody()
        body.feed(b"0\r\n")
        with pytest.raises(ResponseError, match="trailer"):  # noqa: PT012
            for _ in range(HEAD_BYTES_MAX // 1000 + 2):
                body.feed(b"a" * 1000)

    def test_bytes_after_the_end_are_left_over_and_no_part_of_the_payload(self) -> None:
        body = ChunkedBody()
        assert body.feed(chunk(b"abc") + b"0\r\n\r\nHTTP/1.1 200 OK\r\n") == b"abc"
        assert body.is_done
        assert body.is_overrun

    def test_a_body_that_ends_where_it_says_is_not_overrun(self) -> None:
        body = ChunkedBody()
        body.feed(chunk(b"abc") + b"0\r\n\r\n")
        assert not body.is_overrun


class TestCountedBody:
    @given(st.binary(max_size=60), CUTS)
    def test_any_split_gives_the_payload(self, payload: bytes, cuts: list[int]) -> None:
        body = CountedBody(len(payload))
        got = b"".join(body.feed(read) for read in split_at(payload, cuts))
        assert got == payload
        assert body.is_done
        assert not body.is_overrun

    @given(st.binary(min_size=1, max_size=20), st.integers(0, 19))
    def test_bytes_past_the_length_are_dropped_and_told(self, payload: bytes, length: int) -> None:
        length = min(length, len(payload) - 1)
        body = CountedBody(length)
        assert body.feed(payload) == payload[:length]
        assert body.is_done
        assert body.is_overrun

    def test_no_length_is_done_at_once(self) -> None:
        assert CountedBody(0).is_done


def test_a_body_until_the_end_takes_everything_and_is_never_done_by_itself() -> None:
    body = EofBody()
    assert body.feed(b"abc") == b"abc"
    assert not body.is_done


def read(fields: bytes, *, start: bytes = OK) -> ResponseHead:
    head = parse_head(start + fields + b"\r\n")
    assert head is not None
    return head


class TestHead:
    @given(
        CUTS,
        st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 3]),
    )
    def test_any_split_gives_the_same_head(self, cuts: list[int], informational: bytes) -> None:
        wire = informational + OK + b"content-type: application/json\r\nContent-Length: 5\r\nretry-after: 3\r\n\r\n"
        data, head = b"", None
        for part in split_at(wire + b"hello", cuts):
            data += part
            head = parse_head(data)
            assert (head is not None) == (len(data) >= len(wire))
        assert head is not None
        assert (head.status, head.content_type, head.content_length) == (200, b"application/json", 5)
        assert head.size == len(wire)
        assert head.passed == b"retry-after: 3\r\n"
        assert head.is_keep_alive

    @given(st.binary(max_size=200))
    @example(b"\r\n\r\n")
    @example(b"HTTP/1.1 200 OK\r\n\r\n")
    def test_garbage_is_a_response_error_or_incomplete_and_nothing_else(self, data: bytes) -> None:
        for text in (data, OK + data, OK + data + b"\r\n\r\n"):
            with suppress(ResponseError):
                parse_head(text)

    @pytest.mark.parametrize(
        "fields",
        [
            b"content-length: 5\r\ncontent-length: 6\r\n",
            b"content-length: 5\r\ntransfer-encoding: chunked\r\n",
            b"transfer-encoding: chunked\r\ncontent-length: 5\r\n",
            b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            b"transfer-encoding: xchunked\r\n",
            b"transfer-encoding: gzip, chunked\r\n",
            b"transfer-encoding: identity\r\n",
            b"content-length: -1\r\n",
            b"content-length: +5\r\n",
            b"content-length: 5, 5\r\n",
            b"content-length: 0x5\r\n",
            b"content-length:\r\n",
            b"content-length: \xb2\r\n",
            b"content-length: 9999999999999999\r\n",
            b"content-length : 5\r\n",
            b" folded: x\r\n",
            b"x: y\r\n more\r\n",
            b"no colon\r\n",
            b": no name\r\n",
            b"content-type: text/plain\nset-cookie: a=b\r\n",
            b"content-type: text/plain\rset-cookie: a=b\r\n",
            b"content-type: a\x00b\r\n",
            b"retry-after: 1\nset-cookie: a=b\r\n",
            b"retry-after: 1\x00\r\n",
        ],
    )
    def test_contradictions_and_control_characters_are_refused(self, fields: bytes) -> None:
        with pytest.raises(ResponseError):
            parse_head(OK + fields + b"\r\n")

    @pytest.mark.parametrize(
        "start",
        [
            b"HTTP/2 200 OK\r\n",
            b"HTTP/1.1 099 OK\r\n",
            b"HTTP/1.1 2000 OK\r\n",
            b"HTTP/1.1 600 OK\r\n",
            b"HTTP/1.1 20\r\n",
            b"ICY 200 OK\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\n",
            b"\r\nHTTP/1.1 200 OK\r\n",
            b"<html>",
        ],
    )
    def test_what_is_not_an_http_1_answer_is_refused(self, start: bytes) -> None:
        with pytest.raises(ResponseError):
            parse_head(start + b"\r\n\r\n")

    def test_what_can_not_become_http_is_refused_before_it_ends(self) -> None:
        with pytest.raises(ResponseError):
            parse_head(b"SSH-2.0-OpenSSH_9.6\r\n")

    @pytest.mark.parametrize("is_complete", [False, True])
    def test_a_head_may_not_be_endless(self, is_complete: bool) -> None:
        end = b"\r\n\r\n" if is_complete else b""
        with pytest.raises(ResponseError, match="65536"):
            parse_head(OK + b"x: " + b"a" * HEAD_BYTES_MAX + end)

    def test_informational_answers_may_not_be_endless(self) -> None:
        with pytest.raises(ResponseError, match="65536"):
            parse_head(b"HTTP/1.1 100 Continue\r\n\r\n" * 3000)

    def test_the_same_length_twice_is_one_length(self) -> None:
        assert read(b"content-length: 5\r\nContent-Length: 5\r\n").content_length == 5

    @pytest.mark.parametrize(
        ("start", "fields", "is_kept"),
        [
            (b"HTTP/1.1 200 OK\r\n", b"content-length: 1\r\n", True),
            (b"HTTP/1.1 200 OK\r\n", b"content-length: 1\r\nconnection: close\r\n", False),
            (b"HTTP/1.1 200 OK\r\n", b"content-length: 1\r\nConnection: Close\r\n", False),
            (b"HTTP/1.0 200 OK\r\n", b"content-length: 1\r\n", False),
            (b"HTTP/1.0 200 OK\r\n", b"content-length: 1\r\nconnection: Keep-Alive\r\n", True),
            (b"HTTP/1.1 200 OK\r\n", b"", False),
            (b"HTTP/1.1 200\r\n", b"transfer-encoding: chunked\r\n", True),
        ],
    )
    def test_a_connection_is_kept_only_where_the_end_of_the_answer_is_told(
        self, start: bytes, fields: bytes, is_kept: bool
    ) -> None:
        assert read(fields, start=start).is_keep_alive is is_kept

    @pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
    def test_an_answer_that_has_no_body_is_done_at_once(self, status: bytes) -> None:
        assert read(b"", start=b"HTTP/1.1 " + status + b"\r\n").body.is_done

    def test_only_listed_headers_go_on(self) -> None:
        head = read(b"Set-Cookie: a=b\r\nRetry-After: 3\r\nserver: uvicorn\r\nvary: Origin\r\nx-internal: 1\r\n")
        assert head.passed == b"Retry-After: 3\r\n"
