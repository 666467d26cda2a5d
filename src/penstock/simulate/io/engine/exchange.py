"""One HTTP request and its answer, over raw ASGI: no framework between a token and the socket.

Guarantees: headers, their order and their presence as vLLM sends them; each event is one HTTP chunk. Leaves to others:
routes (`app.py`) and content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs

from penstock.simulate.engine.api.errors import ApiError
from penstock.simulate.engine.api.validation import check_content_type
from penstock.simulate.io.engine.protocol import link_of

__all__ = ["BODY_MAX", "HttpExchange"]

BODY_MAX = 256 << 20
"""Bytes of a request body. vLLM has no limit; this one only keeps a mistake from filling the memory."""
_JSON = b"application/json"
_EVENTS = b"text/event-stream; charset=utf-8"
_VARY = (b"vary", b"Origin")


class HttpExchange:
    """Owned by the task that answers it."""

    __slots__ = ("_receive", "_send", "link", "request_length", "response_length", "scope", "status")

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self.link = link_of(scope)
        self.status = 0
        self.request_length = _length(self.header("content-length"))
        self.response_length = 0

    @property
    def method(self) -> str:
        method: str = self.scope["method"]
        return method

    @property
    def path(self) -> str:
        path: str = self.scope["path"]
        return path

    def header(self, name: str) -> str | None:
        """The first header of this lower-case name."""
        wanted = name.encode()
        for key, value in self.scope["headers"]:
            if key == wanted:
                return str(bytes(value), "latin-1")
        return None

    def query(self, name: str) -> str | None:
        """The first value of a query parameter."""
        text = str(bytes(self.scope["query_string"]), "latin-1")
        values = parse_qs(text).get(name)
        return values[0] if values else None

    async def json_body(self) -> bytes:
        """The body, once it is known to be declared as JSON."""
        check_content_type(self.header("content-type"))
        return await self.body()

    async def body(self) -> bytes:
        """The whole body."""
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return b"".join(parts)
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > BODY_MAX:
                raise ApiError(413, f"The request body is larger than {BODY_MAX} bytes.", "BadRequestError")
            parts.append(chunk)
            if not message.get("more_body", False):
                return b"".join(parts)

    async def answer(
        self,
        body: bytes,
        *,
        status: int = 200,
        content_type: bytes | None = _JSON,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        """Sends a whole answer."""
        self.status = status
        self.response_length = len(body)
        fields = [*headers, (b"content-length", b"%d" % len(body))]
        if content_type is not None:
            fields.append((b"content-type", content_type))
        fields.append(_VARY)
        await self._send({"type": "http.response.start", "status": status, "headers": fields})
        await self._send({"type": "http.response.body", "body": body})

    async def fail(self, error: ApiError) -> None:
        """Sends an error in OpenAI's shape."""
        await self.answer(error.body(), status=error.status)

    async def begin_events(self) -> None:
        """Starts a stream of events; the head is sent at once, before there is anything to say, as vLLM does."""
        self.status = 200
        await self._send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", _EVENTS), _VARY]})

    async def send_event(self, event: bytes) -> None:
        """Sends one event as one chunk; waits while the client reads too slowly."""
        await self._send({"type": "http.response.body", "body": event, "more_body": True})

    async def end(self) -> None:
        """Ends a stream."""
        await self._send({"type": "http.response.body", "body": b""})

    @property
    def has_begun(self) -> bool:
        return self.status != 0

    def cut(self) -> None:
        """Closes the connection in the middle of the answer."""
        self.link.cut()

    @contextmanager
    def on_disconnect(self, watcher: Callable[[], None]) -> Iterator[None]:
        """Calls `watcher` when the client goes away, as long as the block runs."""
        self.link.watchers.add(watcher)
        try:
            if self.link.transport.is_closing():
                watcher()
            yield
        finally:
            self.link.watchers.discard(watcher)


def _length(value: str | None) -> int:
    return int(value) if value is not None and value.isdigit() else 0
