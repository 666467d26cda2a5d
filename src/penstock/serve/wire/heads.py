"""HTTP heads that the gateway writes: answers to clients, requests to engines.

Only bytes that were checked go into a head: names from tables, values that the HTTP parser accepted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus

__all__ = ["FORWARDED", "RequestHead", "answer_head", "clean_request_id", "request_head"]

_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\nserver: penstock\r\n".encode() for s in HTTPStatus}

FORWARDED = frozenset(
    {
        b"accept",
        b"anthropic-beta",
        b"anthropic-version",
        b"baggage",
        b"endpoint-load-metrics-format",
        b"traceparent",
        b"tracestate",
        b"user-agent",
    }
)
"""Request headers that go on to the engine as they came. A list of what passes, not of what doesn't: credentials,
hop-by-hop headers and whatever a client invents stay here."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


@dataclass(slots=True)  # not keyword-only: one is made for each request, and keywords cost four times as much
class RequestHead:
    """What the gateway keeps of a client's request head. Name all but the first two fields."""

    method: str
    path: str
    """Without query."""
    key: bytes = b""
    """What was presented as a key; never logged."""
    content_type: bytes = b""
    content_length: int = -1
    request_id: bytes = b""
    forwarded: bytes = b""
    """Header lines for the engine, each ended by CRLF."""
    origin: bytes = b""
    """The page that a browser calls for; see `wire.cors`."""
    is_http_1_0: bool = False
    is_keep_alive: bool = True
    wants_explanation: bool = False
    fields: dict[bytes, bytes] | None = None
    """Further headers that the configuration asks to keep, by lower-case name; None where none came."""
    closes_if_refused: bool = False
    """Whether a refusal before the body is read ends the connection, as the rest of the body is too long to read."""


def clean_request_id(value: bytes) -> bytes:
    """The client's request id when it is short and plain; empty otherwise."""
    return value if _REQUEST_ID.fullmatch(value) else b""


def answer_head(
    status: int,
    *,
    date: bytes,
    content_type: bytes,
    request_id: bytes,
    content_length: int,
    is_chunked: bool,
    is_keep_alive: bool,
    extra: bytes = b"",
) -> bytes:
    """A response head. `content_length` -1 sends none; `extra` is whole header lines."""
    if content_length >= 0:
        framing = b"content-length: %d\r\n" % content_length if status != 204 else b""
    else:
        framing = b"transfer-encoding: chunked\r\n" if is_chunked else b""
    return b"".join(
        (
            _LINES.get(status) or b"HTTP/1.1 %d Status\r\nserver: penstock\r\n" % status,
            b"date: ",
            date,
            b"\r\ncontent-type: ",
            content_type or b"application/octet-stream",
            b"\r\nx-request-id: ",
            request_id,
            b"\r\n",
            framing,
            extra,
            b"\r\n" if is_keep_alive else b"connection: close\r\n\r\n",
        )
    )


def request_head(
    path: str, host: str, *, content_type: bytes, content_length: int, request_id: bytes, forwarded: bytes
) -> bytes:
    """The head of a request to an engine."""
    return b"POST %b HTTP/1.1\r\nhost: %b\r\ncontent-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\n%b\r\n" % (
        path.encode(),
        host.encode(),
        content_type or b"application/json",
        content_length,
        request_id,
        forwarded,
    )
