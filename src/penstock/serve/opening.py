"""How an endpoint's answer begins: held until it says something, so that another may still take its place. Pure.

A plain answer says something with its head; a stream with its first event that carries more than who speaks. vLLM
writes the role of a chat only with the first token, and `response.created` at once. Guarantees: what came is kept byte
for byte (`head`, `rest`), and goes on as if it had come in one read; at most `OPENING_BYTES_MAX` are held back.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from penstock.serve.wire.responses import ChunkedBody, EofBody, ResponseError, ResponseHead, parse_head
from penstock.serve.wire.sse import ABORT_MARK, ERROR_MARK

__all__ = ["OPENING_BYTES_MAX", "Opening"]

OPENING_BYTES_MAX = 65_536
"""Bytes of a stream that says nothing yet: a few events of some hundred bytes."""
_ROLE = b'"delta":{"role":"assistant","content":""}'
"""In vLLM's first event of a chat, which so need not be parsed; nor need be one with text."""
_TEXT = b'"content":"'
_QUOTE = ord('"')
_DATA = re.compile(rb"(?m)^data: ?(.*)$")
_OPENERS = frozenset(
    {
        *("message_start", "content_block_start", "ping"),
        *("response.created", "response.queued", "response.in_progress"),
        *("response.output_item.added", "response.content_part.added"),
    }
)
"""Types of events of Anthropic's API and of Responses that come before the first text."""
_TOO_BUSY = frozenset({429})


class Opening:
    """The beginning of one answer. Owned by its exchange.

    Attributes:
        head: once it is there.
        rest: what came after it.
        fault: why this is no answer, in words, where another endpoint may have one; or empty.
    """

    __slots__ = ("_begun", "_body", "_events", "fault", "head", "rest")

    def __init__(self) -> None:
        self.head: ResponseHead | None = None
        self.rest = b""
        self.fault = ""
        self._begun = b""
        self._body: ChunkedBody | EofBody | None = None
        self._events = b""

    @property
    def is_empty(self) -> bool:
        """Whether nothing has come."""
        return self.head is None and not self._begun

    def feed(self, data: bytes) -> bool:
        """Takes a read. Whether the answer has begun, or was given up (`fault`): then no more is to be fed.

        Raises:
            ResponseError: it breaks HTTP, or sends the request elsewhere.
        """
        head = self.head
        if head is None:
            self._begun = data = self._begun + data if self._begun else data
            head = self.head = parse_head(data)
            if head is None:
                return False
            if 300 <= head.status < 400:
                raise ResponseError(f"answered {head.status}, which sends the request elsewhere")
            data = data[head.size :]
            if head.status >= 500 or head.status in _TOO_BUSY:
                self.fault = f"answered {head.status}"
            elif head.status == 200 and head.content_type.startswith(b"text/event-stream"):
                self._body = ChunkedBody() if type(head.body) is ChunkedBody else EofBody()
        self.rest += data
        body = self._body
        return body is None or self._hear(body, data)

    def _hear(self, body: ChunkedBody | EofBody, data: bytes) -> bool:
        events, start = self._events + body.feed(data), 0
        while (end := _event_end(events, start)) > 0:
            event, start = events[start:end], end
            if ERROR_MARK in event or ABORT_MARK in event:
                self.fault = _fault(event)
            if self.fault or not _is_opener(event):
                return True
        self._events = events[start:]
        if body.is_done:
            self.fault = "ended the stream before its first text"
            return True
        return len(self.rest) > OPENING_BYTES_MAX


def _event_end(events: bytes, start: int) -> int:
    """Where the event ends that begins there; 0 where it is not whole."""
    at = events.find(b"\n\n", start)
    if at >= 0:
        return at + 2
    at = events.find(b"\r\n\r\n", start)
    return at + 4 if at >= 0 else 0


def _fields(event: bytes) -> Any:
    """The JSON of an event; None where it holds none."""
    lines = _DATA.findall(event)
    try:
        return orjson.loads(b"\n".join(lines)) if lines else None
    except orjson.JSONDecodeError:
        return None


def _is_opener(event: bytes) -> bool:
    """Whether an event says no more than who speaks, or nothing."""
    if _ROLE in event:
        if event.count(b'"delta"') == 1 and b'"finish_reason":null' in event:
            return True
    elif (at := event.find(_TEXT)) >= 0 and event[at + len(_TEXT)] != _QUOTE:
        return False
    fields = _fields(event)
    if not isinstance(fields, dict):
        return not _DATA.search(event)  # a comment
    if fields.get("type") in _OPENERS:
        return True
    choices = fields.get("choices")
    return isinstance(choices, list) and bool(choices) and all(map(_says_nothing, choices))


def _says_nothing(choice: Any) -> bool:
    if not isinstance(choice, dict) or choice.get("finish_reason") is not None or choice.get("text"):
        return False
    delta = choice.get("delta")
    if isinstance(delta, dict):
        return not any(value for name, value in delta.items() if name != "role")
    return "text" in choice


def _fault(event: bytes) -> str:
    """What an event says of the engine that gives up; empty where it is none of these."""
    fields = _fields(event)
    if not isinstance(fields, dict):
        return ""
    if fields.get("type") in ("error", "response.failed") or fields.get("error"):
        return "sent an error event"
    choices = fields.get("choices")
    if isinstance(choices, list) and any(isinstance(c, dict) and c.get("finish_reason") == "abort" for c in choices):
        return "dropped the request"
    return ""
