"""Reading what an endpoint answers, with as little work as a load client can do.

Guarantees: sans-IO (bytes and times in, figures out); the same events however the bytes were cut into
reads; bounded memory (an event of more than 1 MB is an error). A stream counts as whole only after `data: [DONE]`.
Leaves to others: sockets and the clock (`simulate.io.load`), statistics (`report`).
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Any

import orjson

__all__ = ["Answer", "EventStream", "Failure", "error_text", "read_body"]

_EVENT_BYTES_MAX = 1_000_000
_EVENT_TOKENS_MAX = 4096
"""Tokens of one event: what an endpoint makes up costs no more."""
_TEXT_SHOWN_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a request got no whole answer: `kind` is one of a few words or `http_<status>`, `detail` is for a person."""

    kind: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the endpoint said of its own work."""

    prompt_tokens: int | None
    output_tokens: int | None
    finish_reason: str
    has_text: bool


class EventStream:
    """One SSE answer, fed as it comes. Owner: the request that reads it.

    `first_at` is the first event that carries output (the opening chunk with an empty delta does not count), `gaps_s`
    the times between such events. Events that came in one read have the same time: their gap is 0. Where each event
    tells the usage so far (`continuous_usage_stats`), tokens are counted instead, also those without text.
    """

    __slots__ = (
        "_counted",
        "_rest",
        "_text_seen",
        "events",
        "finish_reason",
        "first_at",
        "gaps_s",
        "is_done",
        "last_at",
        "usage",
    )

    def __init__(self) -> None:
        self._rest = b""
        self._text_seen = False
        self._counted = 0
        """Tokens so far, as events told them."""
        self.first_at: float | None = None
        self.last_at: float | None = None
        self.gaps_s = array("d")
        self.events = 0
        self.is_done = False
        self.finish_reason = ""
        self.usage: tuple[int, int] | None = None

    def feed(self, read: bytes, now: float) -> Failure | None:
        """Take one read; a `Failure` when the endpoint reported one or sent what is no SSE of ours."""
        pieces = (self._rest + read).replace(b"\r\n", b"\n").split(b"\n\n")
        self._rest = pieces.pop()
        if len(self._rest) > _EVENT_BYTES_MAX:
            return Failure(kind="bad_answer", detail=f"an event of more than {_EVENT_BYTES_MAX} bytes")
        for piece in pieces:
            failure = self._take(piece, now)
            if failure is not None:
                return failure
        return None

    def answer(self) -> Answer:
        """What is known when the stream has ended."""
        prompt_tokens, output_tokens = self.usage or (None, None)
        return Answer(
            prompt_tokens=prompt_tokens,
            output_tokens=output_tokens,
            finish_reason=self.finish_reason,
            has_text=self._text_seen,
        )

    def _take(self, event: bytes, now: float) -> Failure | None:
        if not event.startswith(b"data: ") or b"\n" in event:
            event = _joined(event)
            if not event:
                return None  # a comment, such as a keep-alive
        payload = event[6:]
        if payload == b"[DONE]":
            self.is_done = True
            return None
        try:
            chunk = orjson.loads(payload)
        except ValueError:
            return Failure(kind="bad_answer", detail=f"an event that is not JSON: {_shown(payload)}")
        if not isinstance(chunk, dict):
            return Failure(kind="bad_answer", detail=f"an event that is not a JSON object: {_shown(payload)}")
        if chunk.get("error"):
            return Failure(kind="stream_error", detail=error_text(payload))
        has_text, is_counting = _carries_output(chunk, self), bool(chunk.get("choices")) and bool(chunk.get("usage"))
        self._text_seen = self._text_seen or has_text
        more = int(has_text)
        if is_counting and self.usage is not None:
            more, self._counted = max(0, self.usage[1] - self._counted), max(self.usage[1], self._counted)
        for _ in range(min(more, _EVENT_TOKENS_MAX)):
            self._note_output(now)
        return None

    def _note_output(self, now: float) -> None:
        self.events += 1
        if self.last_at is None:
            self.first_at = now
        else:
            self.gaps_s.append(now - self.last_at)
        self.last_at = now


def read_body(body: bytes) -> Answer | Failure:
    """The answer to a request that was not streamed."""
    try:
        answer = orjson.loads(body)
    except ValueError:
        return Failure(kind="bad_answer", detail=f"the answer is not JSON: {_shown(body) or 'it is empty'}")
    if not isinstance(answer, dict) or answer.get("error"):
        return Failure(kind="bad_answer", detail=error_text(body))
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return Failure(kind="bad_answer", detail=f"the answer has no choices: {_shown(body)}")
    usage = _usage(answer)
    return Answer(
        prompt_tokens=usage[0] if usage else None,
        output_tokens=usage[1] if usage else None,
        finish_reason=str(choices[0].get("finish_reason") or ""),
        has_text=any(_has_output(choice.get("message") or choice) for choice in choices if isinstance(choice, dict)),
    )


def error_text(body: bytes) -> str:
    """The message inside an error body, or the start of the body."""
    try:
        answer: Any = orjson.loads(body)
    except ValueError:
        return _shown(body)
    error = answer.get("error", answer) if isinstance(answer, dict) else answer
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error
    return _shown(error.encode() if isinstance(error, str) else body)


def _carries_output(chunk: dict[str, Any], stream: EventStream) -> bool:
    usage = _usage(chunk)
    if usage:
        stream.usage = usage
    has_output = False
    for choice in chunk.get("choices") or ():
        if not isinstance(choice, dict):
            continue
        if choice.get("finish_reason"):
            stream.finish_reason = str(choice["finish_reason"])
        has_output = has_output or _has_output(choice.get("delta") or choice)
    return has_output


def _has_output(part: object) -> bool:
    if not isinstance(part, dict):
        return False
    return bool(
        part.get("content")
        or part.get("text")
        or part.get("reasoning_content")
        or part.get("reasoning")
        or part.get("tool_calls")
    )


def _usage(answer: dict[str, Any]) -> tuple[int, int] | None:
    usage = answer.get("usage")
    if not isinstance(usage, dict):
        return None
    prompt, output = usage.get("prompt_tokens"), usage.get("completion_tokens") or 0
    return (prompt, output) if isinstance(prompt, int) and isinstance(output, int) else None


def _joined(event: bytes) -> bytes:
    """The event's data lines as one line, `data: ` first; empty when it has none."""
    lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"data: " + b"\n".join(lines) if lines else b""


def _shown(body: bytes) -> str:
    text = " ".join(body.decode("utf-8", "replace").split())
    return text if len(text) <= _TEXT_SHOWN_MAX else text[: _TEXT_SHOWN_MAX - 1] + "…"
