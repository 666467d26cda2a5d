"""Streams as engines send them, recorded and made up, and what a client makes of their events."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from serve.exchanges import DONE, event

RECORDED = Path(__file__).resolve().parents[3] / "shared" / "reference" / "vllm-api"

Text = dict[tuple[Any, ...], Any]


def recorded(name: str) -> tuple[dict[str, Any], list[bytes]]:
    """Request and events of a recorded stream."""
    request = json.loads((RECORDED / f"{name}.req.json").read_text())
    body = (RECORDED / f"{name}.http").read_bytes().split(b"\r\n\r\n", 1)[1]
    return request, [part + b"\n\n" for part in body.split(b"\n\n") if part.strip()]


def chat(texts: list[str], *, created: int = 1, index: int = 0, finish: str = "length", **last: Any) -> list[bytes]:
    """Events of a chat stream, without `[DONE]`; `texts` one an event."""
    frame = {"id": "chatcmpl-r", "object": "chat.completion.chunk", "created": created, "model": "chat"}

    def one(delta: dict[str, Any], reason: str | None = None) -> bytes:
        return event(**frame, choices=[{"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}])

    return [
        one({"role": "assistant", "content": ""}),
        *(one({"content": text}) for text in texts),
        event(**frame, choices=[{"index": index, "delta": {}, "finish_reason": finish}], **last),
    ]


def usage(tokens: int, created: int = 1) -> bytes:
    frame = {"id": "chatcmpl-r", "object": "chat.completion.chunk", "created": created, "model": "chat"}
    return event(
        **frame, choices=[], usage={"prompt_tokens": 5, "total_tokens": 5 + tokens, "completion_tokens": tokens}
    )


def at(events: list[bytes], created: int, tool_id: str = "other") -> list[bytes]:
    """The same stream as another engine would say it: later, and with tool call ids of its own."""
    moved = [re.sub(rb'"created":\d+', b'"created":%d' % created, e) for e in events]
    return [e.replace(b"chatcmpl-tool-", b"chatcmpl-tool-%b" % tool_id.encode()) for e in moved]


def heard(body: bytes) -> Text:
    """What a client library would put together of a stream's events: texts, lists, marks and how often each came.

    Independent of the gateway's own reading: it looks at the API's fields by name.
    """
    text: Text = {}

    def add(key: tuple[Any, ...], value: Any) -> None:
        text[key] = text[key] + value if key in text else value

    for part in body.split(b"\n\n"):
        data = part.removeprefix(b"data: ")
        if not part or part.startswith(b":"):
            continue
        if data == DONE.removeprefix(b"data: ").strip():
            add(("done",), 1)
            continue
        chunk = json.loads(data)
        if "error" in chunk:
            add(("error",), 1)
            continue
        text.setdefault(("ids",), set()).add((chunk["id"], chunk["created"], chunk["model"]))
        if chunk.get("usage"):
            text["usage",] = chunk["usage"]
            add(("usages",), 1) if not chunk["choices"] else None
        for choice in chunk["choices"]:
            _hear(choice, add)
    return text


def _hear(choice: dict[str, Any], add: Any) -> None:
    index = choice["index"]
    delta = choice.get("delta", {})
    for name in ("content", "reasoning"):
        if delta.get(name):
            add((index, name), delta[name])
    if choice.get("text"):
        add((index, "text"), choice["text"])
    if delta.get("role"):
        add((index, "role"), 1)
    for call in delta.get("tool_calls") or []:
        key = (index, "tool", call["index"])
        if call.get("id"):
            add((*key, "id"), call["id"])
        for name, value in call.get("function", {}).items():
            if value:
                add((*key, name), value)
    if choice.get("token_ids"):
        add((index, "token_ids"), choice["token_ids"])
    logprobs = choice.get("logprobs") or {}
    for name in ("content", "tokens", "token_logprobs", "top_logprobs", "text_offset"):
        if logprobs.get(name):
            add((index, "logprobs", name), logprobs[name])
    if choice.get("finish_reason"):
        add((index, "finish"), choice["finish_reason"])
