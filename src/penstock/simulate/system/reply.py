"""What a client makes of the bytes that it gets, read by other parsers than the gateway's own. Pure.

Guarantees: more than one answer to a request, or bytes that are no HTTP, are `Foul`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import httptools

from penstock.simulate.system.engine import Foul

__all__ = ["Heard", "Reply", "hear"]


class Reply:
    """One answer, as far as it has come."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.bytes = 0
        self.is_whole = False
        self.ends_connection = False
        self._parser = httptools.HttpResponseParser(self)

    def take(self, data: bytes) -> None:
        """More bytes."""
        if self.is_whole:
            raise Foul(f"bytes after an answer: {data[:80]!r}")
        self.bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise Foul(f"a client got what is no HTTP ({error!r}): {data[:120]!r}") from error

    def end(self) -> None:
        """The connection has ended in order: so does an answer that has no other end."""
        if self.status and not {"content-length", "transfer-encoding"} & self.headers.keys():
            self.is_whole = True

    def on_header(self, name: bytes, value: bytes) -> None:
        key = name.decode().lower()
        if key in self.headers:
            raise Foul(f"header {key} twice")
        self.headers[key] = value.decode()

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status == 100:
            self.headers.clear()
            return
        if self.status:
            raise Foul("a second answer to one request")
        self.status = status
        self.ends_connection = not self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        if self.status:
            self.is_whole = True


@dataclass(slots=True)
class Heard:
    """What an answer says."""

    text: str = ""
    finishes: list[str] = field(default_factory=list)
    usages: list[dict[str, Any]] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    roles: int = 0
    error: dict[str, Any] | None = None
    is_done: bool = False


def hear(reply: Reply) -> Heard:
    """Reads an answer, which may have been cut.

    Raises:
        Foul: it is not what the API says.
    """
    heard = Heard()
    if not reply.headers.get("content-type", "").startswith("text/event-stream"):
        if not reply.is_whole:
            return heard
        fields = json.loads(bytes(reply.body))
        if "error" in fields:
            heard.error = fields["error"]
        else:
            _take(fields, heard)
            heard.is_done = True
        return heard
    events = bytes(reply.body).split(b"\n\n")
    if events.pop() and reply.is_whole:
        raise Foul("a stream ended in the middle of an event")
    for event in events:
        _take_event(event, heard)
    return heard


def _take_event(event: bytes, heard: Heard) -> None:
    if event.startswith(b":") or not event:
        return
    if heard.is_done:
        raise Foul(f"an event after the last one: {event[:80]!r}")
    if event.startswith(b"event: "):
        _take_message_event(event, heard)
        return
    if not event.startswith(b"data: "):
        raise Foul(f"an event without data: {event[:80]!r}")
    if event == b"data: [DONE]":
        heard.is_done = True
        return
    fields = json.loads(event[6:])
    if "error" in fields:
        if heard.error is not None:
            raise Foul("two errors in one stream")
        heard.error = fields["error"]
    elif heard.error is not None:
        raise Foul("a stream that went on after its error")
    else:
        _take(fields, heard)


def _take_message_event(event: bytes, heard: Heard) -> None:
    """An event of a stream of Anthropic's API."""
    name, _, body = event.partition(b"\n")
    if not body.startswith(b"data: "):
        raise Foul(f"an event without data: {event[:80]!r}")
    fields = json.loads(body[6:])
    if name.decode() != f"event: {fields['type']}":
        raise Foul(f"an event under another name: {event[:80]!r}")
    if heard.error is not None:
        raise Foul("a stream that went on after its error")
    match fields["type"]:
        case "message_start":
            heard.roles += 1
            heard.ids.add(fields["message"]["id"])
            heard.usages.append(dict(fields["message"]["usage"]))
        case "content_block_delta":
            if heard.finishes:
                raise Foul("text after the end")
            heard.text += fields["delta"]["text"]
        case "message_delta":
            heard.finishes.append(fields["delta"]["stop_reason"])
            before = heard.usages[-1]  # that nothing came from a cache need not be said
            before |= {name: count for name, count in fields["usage"].items() if count or name in before}
        case "message_stop":
            heard.is_done = True
        case "error":
            heard.error = fields["error"]


def _take(fields: dict[str, Any], heard: Heard) -> None:
    if fields.get("type") == "message":
        heard.ids.add(fields["id"])
        heard.roles += 1
        heard.text = "".join(block["text"] for block in fields["content"])
        heard.finishes.append(fields["stop_reason"])
        heard.usages.append(fields["usage"])
        return
    heard.ids.add(fields["id"])
    if fields.get("usage"):
        heard.usages.append(fields["usage"])
    for choice in fields["choices"]:
        said = choice.get("delta") or choice.get("message") or choice
        heard.roles += "role" in said
        piece = said.get("content") or said.get("text") or ""
        if piece and heard.finishes:
            raise Foul(f"text after the end: {piece!r}")
        heard.text += piece
        if choice.get("finish_reason"):
            heard.finishes.append(choice["finish_reason"])
