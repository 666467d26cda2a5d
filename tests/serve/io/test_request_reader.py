"""Reading requests: the same at any split, bounded in every direction, and never two readings of one request."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.io.request_reader import HEADERS_MAX, URL_BYTES_MAX, RequestReader
from penstock.serve.wire.heads import RequestHead
from penstock.spec import LimitsSpec

LIMITS = LimitsSpec.model_validate({"headerBytesMax": 2048, "bodyBytesMax": 1024})
START = b"POST /v1/completions HTTP/1.1\r\nhost: h\r\n"


@dataclass
class Sink:
    """Takes what is read; refuses heads whose path is in `refused`."""

    refused: frozenset[str] = frozenset()
    heads: list[RequestHead] = field(default_factory=list)
    expecting: list[bool] = field(default_factory=list)
    requests: list[tuple[str, bytes]] = field(default_factory=list)
    too_large: int = 0

    def head_complete(self, head: RequestHead, *, expects_continue: bool) -> bool:
        self.heads.append(head)
        self.expecting.append(expects_continue)
        return head.path not in self.refused

    def body_too_large(self, head: RequestHead) -> None:
        assert head is self.heads[-1]
        self.too_large += 1

    def request_complete(self, head: RequestHead, body: bytes) -> None:
        self.requests.append((head.path, body))


def read(*reads: bytes, refused: frozenset[str] = frozenset()) -> tuple[Sink, RequestReader]:
    sink = Sink(refused)
    reader = RequestReader(sink, LIMITS)
    for number, data in enumerate(reads):
        reader.feed(data, float(number + 1))
    return sink, reader


def counted(body: bytes, extra: bytes = b"") -> bytes:
    return START + extra + b"content-length: %d\r\n\r\n" % len(body) + body


def in_chunks(body: bytes, size: int, extra: bytes = b"") -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces)
    return START + extra + b"transfer-encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"


UPGRADE = b"connection: upgrade\r\nupgrade: h2c\r\n"
BODIES = st.binary(max_size=60)
REQUESTS = st.one_of(
    st.tuples(BODIES.map(counted), BODIES).map(lambda t: t[0]),
    st.tuples(BODIES, st.integers(1, 20)).map(lambda t: in_chunks(*t)),
    BODIES.map(lambda body: counted(body, UPGRADE)),
    st.tuples(BODIES, st.integers(1, 20)).map(lambda t: in_chunks(*t, UPGRADE)),
    st.just(b"GET /health HTTP/1.1\r\n\r\n"),
    st.just(b"GET /health HTTP/1.1\r\n" + UPGRADE + b"\r\n"),
)


@given(st.lists(REQUESTS, max_size=4), st.lists(st.integers(0, 800), max_size=12))
def test_any_split_reads_the_same_requests(requests: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(requests)
    places = sorted({0, len(wire), *(cut % (len(wire) + 1) for cut in cuts)})
    whole, _ = read(*requests)
    split, _ = read(*[wire[a:b] for a, b in pairwise(places)])
    assert split.requests == whole.requests
    assert len(whole.requests) == len(requests)
    assert [(h.path, h.content_length) for h in split.heads] == [(h.path, h.content_length) for h in whole.heads]


@given(BODIES, st.integers(1, 20), st.booleans())
def test_a_body_is_the_same_in_any_framing(body: bytes, size: int, upgrades: bool) -> None:
    extra = UPGRADE if upgrades else b""
    for wire in (counted(body, extra), in_chunks(body, size, extra)):
        assert read(wire)[0].requests == [("/v1/completions", body)]


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_garbage_is_an_error_or_waits_and_nothing_else(reads: list[bytes]) -> None:
    for start in ((), (START,), (START + b"transfer-encoding: chunked\r\n\r\n",)):
        raised: Exception | None = None
        try:
            read(*start, *reads)
        except httptools.HttpParserError as error:
            raised = error
        assert not isinstance(raised, httptools.HttpParserCallbackError), "a bug of ours, not of the client"


@pytest.mark.parametrize(
    "fields",
    [
        b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n",
        b"content-length: 2\r\ncontent-length: 2\r\n\r\n{}",
        b"content-length: 2, 2\r\n\r\n{}",
        b"content-length: +2\r\n\r\n{}",
        b"content-length: 0x2\r\n\r\n{}",
        b"content-length: -1\r\n\r\n",
        b"content-length: \r\n\r\n",
        b"content-length: 99999999999999999999999\r\n\r\n",
        b"content-length : 2\r\n\r\n{}",
        b"content-length: 2\r\n 3\r\n\r\n{}",
        b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"transfer-encoding: identity\r\n\r\n",
        b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n",
        b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        b"transfer-encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n",
        b"transfer-encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
        b"transfer-encoding: chunked\r\n\r\n2 \r\n{}\r\n0\r\n\r\n",
        b"transfer-encoding: chunked\r\n\r\n2\r\n{}XX0\r\n\r\n",
        b"x: a\nb: c\r\n\r\n",
        b"x: a\rb: c\r\n\r\n",
        b"x: a\x00b\r\n\r\n",
        b"x: a\r\n folded\r\n\r\n",
        b"x y: a\r\n\r\n",
        b": a\r\n\r\n",
        b"\n\n",
    ],
)
@pytest.mark.parametrize("is_byte_by_byte", [False, True])
def test_what_two_parsers_might_read_in_two_ways_is_refused(fields: bytes, is_byte_by_byte: bool) -> None:
    wire = START + fields
    with pytest.raises(httptools.HttpParserError):
        read(*([bytes([b]) for b in wire] if is_byte_by_byte else [wire]))


@pytest.mark.parametrize(
    "line", [b"get / HTTP/1.1", b"GET / HTTP/2.0", b"GET / HTTP/0.9", b"GET /\x00 HTTP/1.1", b"\x16\x03"]
)
def test_a_malformed_request_line_is_refused(line: bytes) -> None:
    with pytest.raises(httptools.HttpParserError):
        read(line + b"\r\n\r\n")


class TestBounds:
    def stopped(self, *reads: bytes) -> int:
        sink = Sink()
        reader = RequestReader(sink, LIMITS)
        with pytest.raises(httptools.HttpParserError):  # noqa: PT012
            for data in reads:
                reader.feed(data, 1.0)
        assert reader.failure is not None
        assert sink.requests == []
        return reader.failure.status

    def test_a_long_url(self) -> None:
        assert self.stopped(b"GET /" + b"a" * URL_BYTES_MAX + b" HTTP/1.1\r\n\r\n") == 414
        assert self.stopped(b"GET /", *[b"a" * 100] * 100) in (414, 431)

    def test_long_headers(self) -> None:
        assert self.stopped(START + b"x: " + b"a" * 2048 + b"\r\n\r\n") == 431
        assert self.stopped(START + b"".join(b"x%d: %b\r\n" % (n, b"a" * 90) for n in range(30)) + b"\r\n") == 431

    def test_many_headers(self) -> None:
        assert self.stopped(START + b"x:\r\n" * HEADERS_MAX + b"\r\n") == 431

    def test_a_header_that_never_ends(self) -> None:
        assert self.stopped(START + b"x: ", *[b"a" * 100] * 30) == 431

    def test_a_header_name_that_never_ends(self) -> None:
        assert self.stopped(START, *[b"a" * 100] * 30) == 431

    def test_empty_lines_that_never_end(self) -> None:
        assert self.stopped(*[b"\r\n" * 100] * 30) == 431

    def test_a_trailer_that_never_ends(self) -> None:
        start = START + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
        assert self.stopped(start + b"x: ", *[b"a" * 100] * 30) == 431
        assert self.stopped(start, *[b"x: %b\r\n" % (b"a" * 90)] * 30) == 431

    def test_a_chunk_extension_that_never_ends(self) -> None:
        assert self.stopped(START + b"transfer-encoding: chunked\r\n\r\n2;", *[b"a" * 100] * 30) == 431

    def test_a_body_is_not_a_head(self) -> None:
        wire = counted(b"x" * 1000) * 5
        sink, _ = read(*[wire[at : at + 50] for at in range(0, len(wire), 50)])
        assert len(sink.requests) == 5

    @pytest.mark.parametrize("frame", [counted, lambda body: in_chunks(body, 100)])
    def test_a_body_over_the_limit_is_told_once_and_dropped(self, frame: object) -> None:
        wire = frame(b"x" * 2000)  # type: ignore[operator]
        sink, reader = read(*[wire[at : at + 100] for at in range(0, len(wire), 100)], b"GET /next HTTP/1.1\r\n\r\n")
        assert (sink.too_large, sink.requests) == (1, [("/next", b"")])
        assert not reader.is_body_dropped

    def test_a_body_at_the_limit_is_read(self) -> None:
        assert read(counted(b"x" * 1024))[0].requests == [("/v1/completions", b"x" * 1024)]


class TestRefusals:
    def test_the_body_of_a_refused_head_is_dropped_and_the_next_request_read(self) -> None:
        refused = frozenset({"/v1/completions"})
        sink, _ = read(counted(b"{}"), in_chunks(b"abc", 1), b"GET /next HTTP/1.1\r\n\r\n", refused=refused)
        assert sink.requests == [("/next", b"")]
        assert len(sink.heads) == 3

    @pytest.mark.parametrize(
        ("wire", "closes"),
        [
            (counted(b"{}"), False),
            (START + b"\r\n", False),
            (START + b"content-length: 0\r\n\r\n", False),
            (START + b"content-length: 262145\r\n\r\n", True),
            (START + b"content-length: 2\r\nexpect: 100-continue\r\n\r\n", True),
            (START + b"transfer-encoding: chunked\r\n\r\n", True),
            (b"GET / HTTP/1.1\r\ncontent-length: 300000\r\n\r\n", True),
            (b"GET / HTTP/1.1\r\n\r\n", False),
        ],
    )
    def test_a_refusal_closes_where_reading_on_would_cost_more(self, wire: bytes, closes: bool) -> None:
        assert read(wire)[0].heads[0].closes_if_refused is closes


class TestHeads:
    def head(self, fields: bytes, *, line: bytes = b"POST /v1/completions HTTP/1.1") -> RequestHead:
        return read(line + b"\r\n" + fields + b"\r\n")[0].heads[0]

    def test_what_is_kept_of_a_head(self) -> None:
        head = self.head(
            b"Authorization: Bearer k1\r\nContent-Type: text/x\r\nX-Request-Id: r\r\nTraceparent: 0\r\nX-Other: y\r\n"
            b"Content-Length: 0\r\nX-Penstock-Explain: 1\r\nUser-Agent: me\r\n"
        )
        assert (head.method, head.path, head.key) == ("POST", "/v1/completions", b"k1")
        assert (head.content_type, head.content_length, head.request_id) == (b"text/x", 0, b"r")
        assert head.forwarded == b"traceparent: 0\r\nuser-agent: me\r\n"
        assert head.wants_explanation

    def test_a_key_never_goes_on(self) -> None:
        head = self.head(b"authorization: Bearer k1\r\nx-api-key: k2\r\ncookie: k3\r\n")
        assert head.key == b"k1"
        assert head.forwarded == b""

    @pytest.mark.parametrize(
        ("line", "fields", "is_kept"),
        [
            (b"GET / HTTP/1.1", b"", True),
            (b"GET / HTTP/1.1", b"connection: close\r\n", False),
            (b"GET / HTTP/1.0", b"", False),
            (b"GET / HTTP/1.0", b"connection: keep-alive\r\n", False),
            (b"CONNECT h:80 HTTP/1.1", b"", False),
        ],
    )
    def test_a_connection_is_kept_by_clients_of_today_alone(self, line: bytes, fields: bytes, is_kept: bool) -> None:
        assert self.head(fields, line=line).is_keep_alive is is_kept

    @pytest.mark.parametrize(
        ("target", "path"),
        [
            (b"/v1/models", "/v1/models"),
            (b"/v1/models/", "/v1/models"),
            (b"/v1/models?a=/b", "/v1/models"),
            (b"http://h:1/v1/models?x=http://y/z", "/v1/models"),
            (b"http://h", "/"),
            (b"/?x=http://y/z", "/"),
            (b"*", "*"),
            (b"//v1", "//v1"),
        ],
    )
    def test_a_path_is_read_from_any_form_of_target(self, target: bytes, path: str) -> None:
        assert self.head(b"", line=b"GET " + target + b" HTTP/1.1").path == path

    def test_new_limits_hold_from_the_next_request_on(self) -> None:
        sink = Sink()
        reader = RequestReader(sink, LIMITS)
        reader.feed(START + b"content-length: 1000\r\n\r\n", 1.0)
        reader.limits = LIMITS.model_copy(update={"header_bytes_max": 1024, "body_bytes_max": 1024 // 2})
        reader.feed(b"x" * 1000, 2.0)
        assert len(sink.requests) == 1
        reader.feed(counted(b"x" * 1000), 3.0)
        assert (len(sink.requests), sink.too_large) == (1, 1)

    def test_when_a_head_began_is_known_until_it_is_whole(self) -> None:
        sink = Sink()
        reader = RequestReader(sink, LIMITS)
        assert reader.head_began_at == 0.0
        reader.feed(b"\r\n", 1.0)
        assert reader.head_began_at == 0.0
        reader.feed(b"P", 2.0)
        reader.feed(START[1:], 3.0)
        assert (reader.head_began_at, reader.last_data_at) == (2.0, 3.0)
        reader.feed(b"content-length: 2\r\n\r\n", 4.0)
        assert reader.head_began_at == 0.0

    def test_a_closed_reader_takes_no_more(self) -> None:
        sink, reader = read(START)
        reader.close()
        reader.feed(b"\r\n", 1.0)
        assert sink.heads == []
