"""Reading an engine's HTTP response without a socket: the head, and the body under each framing.

Strict where a mistake could mix up two answers (framing, sizes) or bring a line of its own into a client's head,
lenient in what does no harm. Every fault is a `ResponseError`; nothing is guessed. Bytes past the end of an answer are
dropped and told (`is_overrun`): the answer stands, the connection must not be used again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = [
    "CHUNK_SIZES",
    "HEAD_BYTES_MAX",
    "ChunkedBody",
    "CountedBody",
    "EofBody",
    "ResponseError",
    "ResponseHead",
    "parse_head",
]

HEAD_BYTES_MAX = 65_536
"""Bytes of a response head; a longer one is an engine gone wrong."""
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5]\d\d)(?: [^\r\n]*)?\r\n")
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,10})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
CHUNK_SIZES = {b"%x" % size: size for size in range(1, 4096)}
"""Size of the chunks that events come in, by its digits: a look-up is cheaper than a conversion and as strict."""


class ResponseError(Exception):
    """The engine's answer breaks HTTP. The message says how."""


class CountedBody:
    """A body of known length."""

    __slots__ = ("is_done", "is_overrun", "left")

    def __init__(self, length: int) -> None:
        self.left = length
        self.is_done = length == 0
        self.is_overrun = False

    def feed(self, data: bytes) -> bytes:
        """Takes a read, returns the payload in it."""
        self.left -= len(data)
        if self.left <= 0:
            self.is_done = True
            if self.left < 0:
                data, self.left, self.is_overrun = data[: self.left], 0, True
        return data


class EofBody:
    """A body that ends with the connection."""

    __slots__ = ("is_done", "is_overrun")

    def __init__(self) -> None:
        self.is_done = False
        self.is_overrun = False

    def feed(self, data: bytes) -> bytes:
        """Takes a read, returns the payload in it: all of it."""
        return data


class ChunkedBody:
    """A chunked body. `is_aligned`: the last read was whole chunks, so that it may be sent on as it came."""

    __slots__ = (
        "_in_trailer",
        "_left",
        "_pending",
        "_trailer_bytes",
        "is_aligned",
        "is_between_chunks",
        "is_done",
        "is_overrun",
    )

    def __init__(self) -> None:
        self._left = 0  # payload bytes still to come of the chunk under way, and then its CRLF
        self._pending = b""  # an incomplete size line, CRLF or trailer
        self._in_trailer = False
        self._trailer_bytes = 0
        self.is_between_chunks = True
        self.is_done = False
        self.is_overrun = False
        self.is_aligned = True

    def feed(self, data: bytes) -> bytes:
        """Takes a read, returns the payload in it.

        Raises:
            ResponseError: a size line or chunk end is malformed, or the trailer is endless.
        """
        if self.is_between_chunks:
            # The common read: exactly one chunk, as vLLM writes one per event. A length that adds up and the CRLF where
            # it must be leave no other reading of it.
            line_end = data.find(b"\r\n", 1, 12)
            if line_end > 0 and data.endswith(b"\r\n"):
                size = CHUNK_SIZES.get(data[:line_end])
                if size == len(data) - line_end - 4:
                    self.is_aligned = True
                    return data[line_end + 2 : -2]
        return self._walk(data)

    def _walk(self, data: bytes) -> bytes:
        aligned = self.is_between_chunks
        if self._pending:
            data = self._pending + data
            self._pending = b""
        pieces: list[bytes] = []
        pos, end = 0, len(data)
        while pos < end:
            if self.is_done:
                self.is_overrun = True
                break
            if self._in_trailer:
                pos = self._trailer(data, pos)
            elif self._left > 2:
                take = min(self._left - 2, end - pos)
                pieces.append(data[pos : pos + take])
                pos += take
                self._left -= take
            elif self._left:
                if end - pos < 2:
                    self._pending = data[pos:]
                    break
                if data[pos : pos + 2] != b"\r\n":
                    raise ResponseError("sent a chunk that does not end where its size says")
                pos += 2
                self._left = 0
            else:
                pos = self._size_line(data, pos)
                if self._pending:
                    break
        self.is_between_chunks = not (self._left or self._pending or self._in_trailer or self.is_done)
        self.is_aligned = aligned and not (self._left or self._pending or self._in_trailer)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _size_line(self, data: bytes, pos: int) -> int:
        line_end = data.find(b"\r\n", pos)
        if line_end < 0:
            if len(data) - pos > 256:
                raise ResponseError("sent a chunk size line that does not end")
            self._pending = data[pos:]
            return len(data)
        line = data[pos:line_end]
        size = CHUNK_SIZES.get(line)
        if size is None:
            match = _SIZE_LINE.fullmatch(line)
            if match is None:
                raise ResponseError("sent a chunk size that is not a number")
            size = int(match[1], 16)
        if size:
            self._left = size + 2
        else:
            self._in_trailer = True
        return line_end + 2

    def _trailer(self, data: bytes, pos: int) -> int:
        line_end = data.find(b"\r\n", pos)
        stop = line_end + 2 if line_end >= 0 else len(data)
        if self._trailer_bytes + stop - pos > HEAD_BYTES_MAX:
            raise ResponseError("sent a trailer that does not end")
        if line_end < 0:
            self._pending = data[pos:]
        elif line_end == pos:
            self._in_trailer = False
            self.is_done = True
        else:
            self._trailer_bytes += stop - pos
        return stop


Body = CountedBody | EofBody | ChunkedBody


@dataclass(slots=True)  # not keyword-only: one is made for each answer, and keywords cost time
class ResponseHead:
    """What the gateway reads of a response head."""

    status: int
    content_type: bytes
    body: Body
    content_length: int
    """-1 where the head gives none."""
    is_keep_alive: bool
    passed: bytes
    """Header lines that go on to the client as they came, each ended by CRLF."""
    size: int
    """Bytes of the head in the data it was read from."""


_PASSED = frozenset({b"retry-after", b"endpoint-load-metrics", b"cache-control", b"allow", b"content-disposition"})
_COMMON = frozenset({b"date", b"server", b"vary", b"x-request-id"})
"""What every engine sends and nobody needs: names that need no check."""
_COMMON_TYPES = frozenset({b"application/json", b"text/event-stream; charset=utf-8"})


def parse_head(data: bytes) -> ResponseHead | None:
    """Reads a response head from the start of `data`; None while it is incomplete. 1xx answers are skipped.

    Raises:
        ResponseError: not HTTP, too long, or its framing is contradictory.
    """
    start = 0
    while True:
        end = data.find(b"\r\n\r\n", start)
        if end > HEAD_BYTES_MAX or (end < 0 and len(data) > HEAD_BYTES_MAX):
            raise ResponseError(f"sent a head of more than {HEAD_BYTES_MAX} bytes")
        if end < 0:
            if len(data) - start >= 5 and not data.startswith(b"HTTP/", start):
                raise ResponseError("did not answer in HTTP")
            return None
        match = _STATUS.match(data, start)
        if match is None:
            raise ResponseError("did not answer in HTTP/1")
        status = int(match[2])
        if status >= 200:
            return _read_fields(data, match, status, end)
        if status == 101:
            raise ResponseError("switched protocols, which nobody asked for")
        start = end + 4


def _read_fields(data: bytes, match: re.Match[bytes], status: int, end: int) -> ResponseHead:
    length, is_chunked, content_type, passed = -1, False, b"", b""
    is_keep_alive = match[1] == b"1"
    for line in data[match.end() : end].split(b"\r\n"):
        name, colon, value = line.partition(b":")
        name = name.lower()
        if name in _COMMON:
            continue
        if name == b"content-type":
            content_type = value.strip(b" \t")
            if content_type not in _COMMON_TYPES:
                _check_value(content_type)
        elif name == b"content-length":
            length = _length(value.strip(b" \t"), length)
        elif name == b"transfer-encoding":
            if is_chunked or value.strip(b" \t").lower() != b"chunked":
                raise ResponseError("sent a transfer encoding other than chunked")
            is_chunked = True
        elif name == b"connection":
            is_keep_alive = b"close" not in value.lower() and (is_keep_alive or b"keep-alive" in value.lower())
        elif name in _PASSED:
            _check_value(value)
            passed += line + b"\r\n"
        elif line and not (colon and _NAME.fullmatch(name)):
            raise ResponseError("sent a header line that is none")
    if is_chunked and length >= 0:
        raise ResponseError("sent both Content-Length and Transfer-Encoding")
    if status in (204, 304):
        length, is_chunked = 0, False
    body: Body = ChunkedBody() if is_chunked else CountedBody(length) if length >= 0 else EofBody()
    is_keep_alive = is_keep_alive and type(body) is not EofBody
    return ResponseHead(status, content_type, body, length, is_keep_alive, passed, end + 4)


def _length(value: bytes, known: int) -> int:
    if not value.isdigit() or len(value) > 15:
        raise ResponseError("sent a Content-Length that is not a number")
    length = int(value)
    if known not in (-1, length):
        raise ResponseError("sent two different Content-Length headers")
    return length


def _check_value(value: bytes) -> None:
    """A header value that goes on to a client may not hold a line of its own."""
    if not _VALUE.fullmatch(value):
        raise ResponseError("sent a header with control characters")
