"""Reads requests from a client connection: httptools' callbacks, with every size bounded.

Keeps of a head only what the gateway uses. Leaves to the connection what to do with a request.
"""

from __future__ import annotations

from typing import Protocol

import httptools

from penstock.serve.wire.errors import Failure
from penstock.serve.wire.heads import FORWARDED, RequestHead
from penstock.spec import LimitsSpec

__all__ = ["RequestReader", "RequestSink"]

HEADERS_MAX = 200
"""Headers of one request; browsers and SDKs send under 40."""
URL_BYTES_MAX = 8192
REFUSED_BODY_BYTES_MAX = 262_144
"""A refused request whose body is longer than this closes its connection: reading on would cost more than a new one."""
_BEARER = b"bearer "
_READ = FORWARDED | {
    b"api-key",
    b"authorization",
    b"content-length",
    b"content-type",
    b"expect",
    b"origin",
    b"transfer-encoding",
    b"upgrade",
    b"x-api-key",
    b"x-penstock-explain",
    b"x-request-id",
}
"""Headers that are looked at; all others are dropped."""


class RequestSink(Protocol):
    """Whoever takes the requests that are read."""

    def head_complete(self, head: RequestHead, *, expects_continue: bool) -> bool:
        """A request head was read. Whether its body is wanted; else that is dropped, and nothing more is told of it."""

    def body_too_large(self, head: RequestHead) -> None:
        """A body of unknown length has passed the limit; what follows of it is dropped."""

    def request_complete(self, head: RequestHead, body: bytes) -> None:
        """A whole request was read."""


class _TooBig(Exception):
    """Raised inside a parser callback to stop it; `RequestReader.failure` says what was too big."""


class RequestReader:
    """The parser of one connection."""

    __slots__ = (
        "_asks_upgrade",
        "_body",
        "_body_bytes",
        "_expects_continue",
        "_has_chunks",
        "_head",
        "_head_bytes",
        "_headers",
        "_is_body_owed",
        "_is_head_read",
        "_kept",
        "_limits",
        "_parser",
        "_quiet_bytes",
        "_sink",
        "_url",
        "failure",
        "head_began_at",
        "is_body_dropped",
        "kept",
        "last_data_at",
        "limits",
    )

    def __init__(self, sink: RequestSink, limits: LimitsSpec, kept: frozenset[bytes] = frozenset()) -> None:
        self._sink: RequestSink | None = sink
        self.limits = limits
        """Of the next request; one that has begun keeps those that it began with."""
        self.kept = kept
        """Headers that the configuration asks to keep; as for limits."""
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self.failure: Failure | None = None
        """Why reading stopped, where there is a better answer than `not HTTP`."""
        self.head_began_at = 0.0
        """When the first byte of a head that is not complete yet came; 0 between requests and during a body."""
        self.last_data_at = 0.0
        self._reset()

    def _reset(self) -> None:
        self._limits = self.limits
        self._kept = self.kept
        self._url = b""
        self._head = RequestHead("", "")
        self._head_bytes = 0
        self._headers = 0
        self._quiet_bytes = 0  # read since something came of what was read
        self._is_head_read = False
        self._expects_continue = False
        self._has_chunks = False
        self._asks_upgrade = False
        self._is_body_owed = False
        self._body: list[bytes] = []
        self._body_bytes = 0
        self.is_body_dropped = False
        """Whether the request under way was answered before its end, so that the rest of it is of no interest."""

    def close(self) -> None:
        """Lets go of the parser, which holds this object in a cycle."""
        self._parser = self._sink = None

    def partial_head(self) -> RequestHead:
        """What is known of a request whose head never became whole."""
        return RequestHead(method="-", path="-", is_keep_alive=False)

    def feed(self, data: bytes, now: float) -> None:
        """Takes a read.

        Raises:
            httptools.HttpParserError: it is not HTTP, or too big (`failure` then says what).
        """
        self.last_data_at = now
        self._quiet_bytes += len(data)
        try:
            while self._parser is not None:
                try:
                    self._parser.feed_data(data)
                    break
                except httptools.HttpParserUpgrade as upgrade:
                    data = data[upgrade.args[0] :]
                    self._pass_over_upgrade()
                    if not data:
                        break
        except httptools.HttpParserCallbackError:
            if self.failure is None:
                raise
            raise httptools.HttpParserError(self.failure.message) from None
        if self._quiet_bytes > self._limits.header_bytes_max:  # one endless header, which is no callback until it ends
            self.failure = self._head_too_large()
            raise httptools.HttpParserError(self.failure.message)

    def _pass_over_upgrade(self) -> None:
        """Goes on after the head of a request that asks for another protocol, where the parser stops for good.

        We never switch, so the body that such a request may have is still its body: another parser is told its framing.
        """
        if self._parser is None:
            return
        if not self._is_body_owed:
            self._parser = httptools.HttpRequestParser(self)
            return
        length = self._head.content_length
        framing = b"transfer-encoding: chunked" if self._has_chunks else b"content-length: %d" % length
        callbacks = _AfterUpgrade(self)
        self._parser = httptools.HttpRequestParser(callbacks)
        self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % framing)
        callbacks.is_silent = False

    # ------------------------------------------------------------------ httptools' callbacks

    def on_message_begin(self) -> None:
        self._reset()
        self.head_began_at = self.last_data_at

    def on_url(self, url: bytes) -> None:
        self._url += url
        if len(self._url) > URL_BYTES_MAX:
            self._stop(Failure(status=414, code="url_too_long", message=f"The URL is over {URL_BYTES_MAX} bytes."))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers += 1
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > self._limits.header_bytes_max or self._headers > HEADERS_MAX:
            self._stop(self._head_too_large())
        name = name.lower()
        if self._is_head_read:  # a trailer changes nothing
            return
        head = self._head
        if name in self._kept:
            head.fields = {name: value} if head.fields is None else {**head.fields, name: value}
        if name not in _READ:
            return
        if name in FORWARDED:
            head.forwarded += b"%b: %b\r\n" % (name, value)
        elif name == b"authorization":
            if value[:7].lower() == _BEARER:
                head.key = value[7:].strip()
        elif name == b"content-type":
            head.content_type = value
        elif name == b"content-length":
            head.content_length = int(value)
        elif name in (b"x-api-key", b"api-key"):  # Anthropic's clients, and Azure's
            head.key = head.key or value.strip()
        elif name == b"origin":
            head.origin = value
        elif name == b"x-request-id":
            head.request_id = value
        elif name == b"expect":
            self._expects_continue = value.lower() == b"100-continue"
        elif name == b"x-penstock-explain":
            head.wants_explanation = value not in (b"", b"0", b"false")
        elif name == b"transfer-encoding":
            self._has_chunks = True
        elif name == b"upgrade":
            self._asks_upgrade = True

    def _head_too_large(self) -> Failure:
        message = f"The request head is over {self._limits.header_bytes_max} bytes or {HEADERS_MAX} headers."
        return Failure(status=431, code="headers_too_large", message=message)

    def _stop(self, failure: Failure) -> None:
        self.failure = failure
        raise _TooBig

    def on_headers_complete(self) -> None:
        parser, head, sink = self._parser, self._head, self._sink
        if parser is None or sink is None:
            return
        self.head_began_at = 0.0
        self._quiet_bytes = 0
        self._is_head_read = True
        head.method = parser.get_method().decode("ascii")
        head.path = _path(self._url)
        version = parser.get_http_version()
        head.is_http_1_0 = version == "1.0"
        if version not in ("1.1", "1.0"):
            message = f"This gateway speaks HTTP/1.1, not HTTP/{version}."
            self._stop(Failure(status=505, code="http_version", message=message))
        head.is_keep_alive = parser.should_keep_alive() and not head.is_http_1_0 and head.method != "CONNECT"
        head.closes_if_refused = self._has_chunks or head.content_length > (
            0 if self._expects_continue else REFUSED_BODY_BYTES_MAX
        )
        self._is_body_owed = self._asks_upgrade and (self._has_chunks or head.content_length > 0)
        if not sink.head_complete(head, expects_continue=self._expects_continue):
            self.is_body_dropped = True

    def drop_body(self) -> None:
        """The request under way is answered: what came of its body is let go, and what comes is dropped."""
        self.is_body_dropped = True
        self._body.clear()

    def on_body(self, body: bytes) -> None:
        self._quiet_bytes = 0
        if self.is_body_dropped:
            return
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.body_bytes_max:
            self.drop_body()
            if self._sink is not None:
                self._sink.body_too_large(self._head)
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._is_body_owed and self._parser is not None and self._parser.should_upgrade():
            return  # the parser stops here, before the body
        self._quiet_bytes = 0
        parts, sink = self._body, self._sink
        if sink is not None and not self.is_body_dropped:
            sink.request_complete(self._head, parts[0] if len(parts) == 1 else b"".join(parts))


class _AfterUpgrade:
    """The callbacks of a parser that is told the framing of a body whose head was read before: silent until it was."""

    __slots__ = ("_reader", "is_silent")

    def __init__(self, reader: RequestReader) -> None:
        self._reader = reader
        self.is_silent = True

    def on_message_begin(self) -> None:
        if not self.is_silent:
            self._reader.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self.is_silent:
            self._reader.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.is_silent:
            self._reader.on_header(name, value)

    def on_headers_complete(self) -> None:
        if not self.is_silent:
            self._reader.on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._reader.on_body(body)

    def on_message_complete(self) -> None:
        self._reader.on_message_complete()


def _path(url: bytes) -> str:
    """The path of a request target, without query: `/v1/models` also of `http://host/v1/models?x=1`."""
    path = url.partition(b"?")[0]
    if not path.startswith(b"/") and b"://" in path:
        path = b"/" + path.partition(b"://")[2].partition(b"/")[2]
    return path.decode("latin-1").rstrip("/") or "/"
