"""Server-sent events on their way through: nothing is parsed per token.

`EventRelay` passes whole events on, takes out the usage chunk that the client did not ask for, and remembers the usage
and the last events, so that what must be known at the end can be read at the end.
"""

from __future__ import annotations

import re

import orjson

from penstock.serve.wire.errors import engine_error_event

__all__ = [
    "ABORT_MARK",
    "BLOCK_ENDS",
    "ERROR_MARK",
    "EVENT_BYTES_MAX",
    "PLAIN_ENDS",
    "UNENDED",
    "USAGE_MARK",
    "EventRelay",
    "Usage",
    "find_usage",
]

EVENT_BYTES_MAX = 1 << 20
"""Bytes of one event that are held until it is whole; a longer one is passed on in pieces, unread."""

IDS_EVENT_BYTES_MAX = 16 << 20
"""The same for a first event that lists the tokens of the prompt: two million of them."""
PROMPT_IDS_MARK = b'"prompt_token_ids":['
USAGE_MARK = b'"usage":'
ERROR_MARK = b'"error"'
ABORT_MARK = b'"abort"'
"""In the event with which vLLM ends a choice that it was told to drop; in a text its quotes would be escaped, but a
text may be this word."""
CANCELLED_MARK = b'"status":"cancelled"'
"""In the event with which vLLM ends a response of gpt-oss that it was told to drop."""
PLAIN_ENDS = (b"}]}\n\n", b":null}\n\n")
"""How pieces end that hold neither usage nor an error, where choices come last: after a token, and after the role."""
BLOCK_ENDS = b"}}\n\n"
"""How events of Anthropic's API end that bring something of a block: not the one that ends it."""
UNENDED = "ended the message without a reason"
"""A fault of which nothing goes on, as no client is told the truth by it."""
_TOKENS = re.compile(
    rb'"(prompt_tokens|input_tokens|completion_tokens|output_tokens|cached_tokens|cache_read_input_tokens|'
    rb'cache_creation_input_tokens)"\s*:\s*(\d{1,12})'
)
_FIELD = {
    b"prompt_tokens": 0,
    b"input_tokens": 0,
    b"completion_tokens": 1,
    b"output_tokens": 1,
    b"cached_tokens": 2,
    b"cache_read_input_tokens": 3,
    b"cache_creation_input_tokens": 4,
}

_LAST_TYPES = rb"message_stop|response\.(?:completed|incomplete|failed)"
_LAST_EVENT = re.compile(
    rb"(?m)^(?:data: ?\[DONE\]|event: ?(?:" + _LAST_TYPES + rb')\b|data: ?\{"type": ?"(?:' + _LAST_TYPES + rb')")'
)
NO_REASON_MARK = b'"stop_reason":null'
"""In the event with which vLLM ends a message that it was told to drop. A message begins with it too."""
_FAULT = re.compile(
    rb'(?m)^data: ?\{(?:"type": ?"error", ?)?"error"|"finish_reason": ?"abort"|'
    rb'"message_delta", ?"delta": ?\{"stop_reason":null'
)
_CANCELLED = re.compile(rb'(?m)^data: ?(\{.*"status":"cancelled".*)$')
_BLOCK_STOP = b"event: content_block_stop\n"
_FINISH = re.compile(rb'"finish_reason": ?"')
_CLOSING = re.compile(rb'(?m)^data: ?(?:\[DONE\]|\{.*"choices":\[\])')
_CLIENT_FAULT = re.compile(rb'"code": ?"?4\d\d\b|"type": ?"(?:BadRequest|NotFound|invalid_request)')
_ERROR_EVENT = re.compile(rb'(?m)^(?:event: ?error\b|data: ?\{(?:"type": ?"error", ?)?"error")')

Usage = tuple[int, int, int]
"""(prompt tokens, output tokens, cached prompt tokens); -1 where the engine did not say."""


def find_usage(payload: bytes) -> Usage | None:
    """The last usage object in a piece of JSON or SSE; None when there is none.

    `"usage":` can't occur inside a JSON string, where its quotes would be escaped.
    """
    at = payload.rfind(USAGE_MARK)
    while at >= 0:
        found = [-1, -1, -1, -1, -1]
        for name, value in _TOKENS.findall(payload, at, at + 600):
            index = _FIELD[name]
            if found[index] < 0:
                found[index] = int(value)
        if found[0] >= 0 or found[1] >= 0:
            return _told(*found)
        at = payload.rfind(USAGE_MARK, 0, at)
    return None


def _told(prompt: int, output: int, cached: int, read: int, created: int) -> Usage:
    """Anthropic's API counts what was read from a cache, or into one, beside the input tokens, and OpenAI's within."""
    if read < 0 and created < 0:
        return prompt, output, cached
    return prompt + max(0, read) + max(0, created) if prompt >= 0 else -1, output, read


class EventRelay:
    """The events of one stream. Owned by its exchange."""

    __slots__ = (
        "_awaits_ids",
        "_carry",
        "_ends_in_choices",
        "_holds_stops",
        "_plain_end",
        "_plain_mark",
        "_previous",
        "_strips_usage",
        "_tail",
        "fault",
        "is_progress",
        "is_unchanged",
        "lets_faults_pass",
        "prompt_ids",
        "said",
        "usage",
    )

    def __init__(
        self,
        *,
        strips_usage: bool,
        ends_in_choices: bool = False,
        takes_prompt_ids: bool = False,
        holds_stops: bool = False,
    ) -> None:
        """`ends_in_choices`: events other than the last ones end with the list of choices, as OpenAI's do: then one
        look at the end tells that a piece holds neither usage nor an error, which vLLM sends last.
        `takes_prompt_ids`: the first event may list the tokens of the prompt, which the client did not ask for.
        `holds_stops`: the end of a block of Anthropic's API goes on with the event that follows it, which tells whether
        the message ended, or was dropped and may yet go on in that block."""
        self._awaits_ids = takes_prompt_ids
        self.prompt_ids: bytes = b""
        """That list, without its brackets, once it has come."""
        self._strips_usage = strips_usage
        self._ends_in_choices = ends_in_choices
        self._holds_stops = holds_stops
        self._plain_end: bytes | tuple[bytes, ...] = PLAIN_ENDS if ends_in_choices else b"\n\n"
        if holds_stops:
            self._plain_end = BLOCK_ENDS
        self._plain_mark = ABORT_MARK if ends_in_choices else USAGE_MARK
        self._carry = b""
        self._tail = b""
        self._previous = b""
        self.usage: Usage | None = None
        self.is_unchanged = True
        """Whether the last `feed` returned exactly what it was given."""
        self.fault: str = ""
        """What the engine did when it gave the stream up, in words; empty before. Nothing from there on is returned."""
        self.said: bytes = b""
        """What it said when it did, and after."""
        self.lets_faults_pass = False
        """Whether the engine's last words go on like any others."""
        self.is_progress = True
        """Whether the last `feed` held more than comments."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held back."""
        return not self._carry

    def passed(self, before: bytes, last: bytes) -> None:
        """The last two pieces of those that went on without being fed here; `before` may be empty."""
        self._previous, self._tail = before or self._tail, last

    def feed(self, payload: bytes) -> bytes:
        """Takes a piece of the stream, returns what goes on to the client now."""
        if self.fault:
            self.said += payload
            return b""
        if (
            not (self._carry or self._awaits_ids)
            and payload.endswith(self._plain_end)
            and self._plain_mark not in payload
            and (self._ends_in_choices or ERROR_MARK not in payload)
        ):
            self._previous, self._tail = self._tail, payload
            self.is_unchanged = self.is_progress = True
            return payload
        return self._feed_unaligned(payload)

    def _feed_unaligned(self, payload: bytes) -> bytes:
        held = len(self._carry)
        whole = self._carry + payload if held else payload
        cut = _events_end(whole, max(0, held - 3))
        if cut < len(whole) and len(whole) - cut > EVENT_BYTES_MAX and not self._is_listing(whole, cut):
            cut = len(whole)
        events, self._carry = whole[:cut], whole[cut:]
        if self._awaits_ids and b"data:" in events:
            events = self._take_prompt_ids(events)
        self.is_progress = b"data:" in payload
        if ERROR_MARK in events or ABORT_MARK in events or NO_REASON_MARK in events:
            events = self._up_to_fault(events)
        if CANCELLED_MARK in events and not self.lets_faults_pass:
            events = self._up_to_cancelled(events)
        if self._holds_stops:
            events = self._up_to_stop(events)
        is_closing = b"[DONE]" in events or b'"choices":[]' in events
        if is_closing and self._ends_in_choices and not (self.fault or self.lets_faults_pass):
            events = self._up_to_empty_end(events)
        if events:
            self._previous, self._tail = self._tail, events
            if USAGE_MARK in events:
                events = self._take_usage(events)
        self.is_unchanged = events is payload or events == payload
        return events

    def _is_listing(self, whole: bytes, start: int) -> bool:
        """Whether what is held is long for the tokens of the prompt."""
        is_within = len(whole) - start <= IDS_EVENT_BYTES_MAX
        return self._awaits_ids and is_within and whole.find(PROMPT_IDS_MARK, start, start + EVENT_BYTES_MAX) >= 0

    def _take_prompt_ids(self, events: bytes) -> bytes:
        """The first events, less the tokens of the prompt."""
        self._awaits_ids = False
        at = events.find(PROMPT_IDS_MARK)
        end = events.find(b"]", at)
        if at < 0 or end < 0:
            return events  # the engine does not tell them
        self.prompt_ids = events[at + len(PROMPT_IDS_MARK) : end]
        return b"".join((events[: at + len(PROMPT_IDS_MARK) - 1], b"null", events[end + 1 :]))

    def _up_to_fault(self, events: bytes) -> bytes:
        """What comes before the event with which the engine gives up. A client's own mistake is no such event."""
        found = _FAULT.search(events)
        if found is None:
            return events
        start = _events_end(events[: found.start()], 0)
        end = _event_end(events, start)
        if self.lets_faults_pass or _CLIENT_FAULT.search(events, start, end):
            is_error = self._ends_in_choices and found[0].endswith(b'"error"')
            return events[:start] + engine_error_event(events[start:end]) + events[end:] if is_error else events
        is_drop = found[0].endswith(b'"abort"')
        self.fault = "dropped the request" if is_drop else UNENDED if found[0].endswith(b"null") else "failed"
        self.said, self._carry = events[start:] + self._carry, b""
        return events[:start]

    def _up_to_cancelled(self, events: bytes) -> bytes:
        """What comes before the last event of a response that the engine dropped. No client cancels what it streams."""
        for found in _CANCELLED.finditer(events):
            try:
                told = orjson.loads(found[1])
            except orjson.JSONDecodeError:
                continue
            response = told.get("response")
            is_last = told.get("type") == "response.completed"
            if is_last and type(response) is dict and response.get("status") == "cancelled":
                start = _events_end(events[: found.start()], 0)
                self.fault = "dropped the request"
                self.said, self._carry = events[start:] + self._carry, b""
                return events[:start]
        return events

    def _up_to_stop(self, events: bytes) -> bytes:
        """What comes before the end of a block that nothing follows yet."""
        start = events.rfind(_BLOCK_STOP)
        if start < 0 or _event_end(events, start) != len(events):
            return events
        if self.fault:
            self.said = events[start:] + self.said
        else:
            self._carry = events[start:] + self._carry
        return events[:start]

    def _up_to_empty_end(self, events: bytes) -> bytes:
        """What comes before a usage chunk or `[DONE]` that nothing justifies: vLLM that is told to stop ends so what it
        had not begun, without a word or a reason."""
        last = self._previous + self._tail + events
        closing = _CLOSING.search(events)
        is_justified = _FINISH.search(last) if b'"finish_reason"' in last else b'"choices":[{' in last
        if closing is None or is_justified or _ERROR_EVENT.search(last):
            return events
        self.fault = "ended the stream without a finish reason"
        start = _events_end(events[: closing.start()], 0)
        self.said, self._carry = events[start:] + self._carry, b""
        return events[:start]

    def end(self) -> bytes:
        """The stream is over: what was held back of an event that never became whole."""
        rest, self._carry = self._carry, b""
        return rest

    def _take_usage(self, events: bytes) -> bytes:
        usage = find_usage(events)
        if usage is not None:
            self.usage = usage if self.usage is None else _merged(self.usage, usage)
        if not self._strips_usage:
            return events
        kept = bytearray()
        start = 0
        while start < len(events):
            stop = _event_end(events, start)
            event = events[start:stop]
            if not (USAGE_MARK in event and _is_usage_chunk(event)):
                kept += event
            start = stop
        return bytes(kept)

    @property
    def is_complete(self) -> bool:
        """Whether the stream ended as it should: with `[DONE]`, or Anthropic's or Responses' last event."""
        return _LAST_EVENT.search(self._previous + self._tail) is not None

    @property
    def has_error(self) -> bool:
        """Whether one of the last events is an error."""
        return _ERROR_EVENT.search(self._previous + self._tail) is not None

    @property
    def last(self) -> bytes:
        """The last pieces that went on: the end of the stream, once it is there."""
        return self._previous + self._tail

    @property
    def is_between_events(self) -> bool:
        """Whether what went on so far ends with a whole event, so that another may follow."""
        return not self._tail or self._tail.endswith((b"\n\n", b"\r\n\r\n"))


def _merged(old: Usage, new: Usage) -> Usage:
    # Anthropic tells input tokens at the start and output tokens at the end.
    return tuple(n if n >= 0 else o for o, n in zip(old, new, strict=True))  # type: ignore[return-value]


def _events_end(data: bytes, start: int) -> int:
    """Where the last whole event ends; none ends before `start`."""
    lf = data.rfind(b"\n\n", start)
    crlf = data.rfind(b"\r\n\r\n", start)
    return max(lf + 2 if lf >= 0 else 0, crlf + 4 if crlf >= 0 else 0)


def _event_end(data: bytes, start: int) -> int:
    lf = data.find(b"\n\n", start)
    crlf = data.find(b"\r\n\r\n", start)
    ends = [end for end in (lf + 2 if lf >= 0 else 0, crlf + 4 if crlf >= 0 else 0) if end]
    return min(ends) if ends else len(data)


def _is_usage_chunk(event: bytes) -> bool:
    for line in event.splitlines():
        if line.startswith(b"data:"):
            try:
                chunk = orjson.loads(line[5:])
            except orjson.JSONDecodeError:
                return False
            return isinstance(chunk, dict) and not chunk.get("choices", True) and chunk.get("usage") is not None
    return False
