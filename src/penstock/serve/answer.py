"""An endpoint's answer on its way to one client: unframed, looked at, framed again for this client.

The common read of a stream (one whole chunk that holds whole events and no usage) goes on exactly as it came, which
`takes` decides in a few searches. Everything else goes through `feed`. What the answer says at its end (usage, whether
it is complete) is read at its end.
"""

from __future__ import annotations

from typing import Literal

from penstock.serve.delivered import Attempt, Delivered, Replay
from penstock.serve.record import Outcome
from penstock.serve.wire.errors import Failure, error_event
from penstock.serve.wire.responses import CHUNK_SIZES, ChunkedBody, CountedBody, EofBody, ResponseHead
from penstock.serve.wire.routes import Dialect
from penstock.serve.wire.sse import (
    ABORT_MARK,
    BLOCK_ENDS,
    ERROR_MARK,
    PLAIN_ENDS,
    USAGE_MARK,
    EventRelay,
    Usage,
    find_usage,
)

__all__ = ["Answer"]

_SEAM_BYTES = 600
"""Bytes kept of a piece of a plain answer, so that a usage object cut in two by a read is found."""
_LAST_CHUNK = b"0\r\n\r\n"
_RAW_BODIES = frozenset({ChunkedBody, CountedBody, EofBody})
_PLAIN_ENDS = tuple(end + b"\r\n" for end in PLAIN_ENDS)


class Answer:
    """One answer. Owned by its exchange.

    Attributes:
        is_plain: `takes` may be asked: the last read ended where a chunk and an event end.
        is_progress: the last read that was fed held more than comments.
        has_begun: something that is not a comment has come, of this attempt.
        fault: what the engine did to give the answer up, in words, though the connection stands; or empty.
        payload_bytes: bytes of the answer's body so far; those of earlier attempts are counted as far as they went on.
    """

    __slots__ = (
        "_body",
        "_delivered",
        "_dialect",
        "_events",
        "_has_last_event",
        "_is_complete",
        "_is_openai",
        "_keep",
        "_keeps_ids",
        "_pieces",
        "_plain_end",
        "_plain_from",
        "_plain_mark",
        "_replay",
        "_seam",
        "_settled_bytes",
        "_usage",
        "fault",
        "framing",
        "has_begun",
        "head",
        "is_plain",
        "is_progress",
        "payload_bytes",
    )

    def __init__(
        self,
        head: ResponseHead,
        *,
        dialect: Dialect,
        is_http_1_0: bool,
        strips_usage: bool,
        has_last_event: bool,
        ends_in_choices: bool = False,
        keeps_ids: bool = False,
        before: Answer | None = None,
        attempt: Attempt | None = None,
    ) -> None:
        """`has_last_event`: a stream of this API is known to be complete by its last event. `ends_in_choices`: see
        `EventRelay`. `keeps_ids`: see `Delivered`. `before`: the answer that this one goes on from, at another
        endpoint, as `attempt` does."""
        is_events = head.content_type.startswith(b"text/event-stream")
        self.head = head
        self.framing: Literal["counted", "chunked", "eof"]
        if head.content_length >= 0 and not is_events:
            self.framing = "counted"
        else:
            self.framing = "eof" if is_http_1_0 else "chunked"
        self.is_plain = False
        self.is_progress = True
        self.fault = ""
        self.has_begun = False
        self.payload_bytes = 0
        self._body = head.body
        self._dialect: Dialect = dialect
        self._has_last_event = has_last_event
        self._keeps_ids = keeps_ids and is_events
        self._events: EventRelay | None = None
        if is_events:
            takes_ids = self._keeps_ids and before is None  # another attempt takes them by itself
            self._events = EventRelay(
                strips_usage=strips_usage,
                ends_in_choices=ends_in_choices,
                takes_prompt_ids=takes_ids,
                holds_stops=dialect == "anthropic",
            )
        self._is_complete = False
        self._is_openai = ends_in_choices
        other_ends = BLOCK_ENDS + b"\r\n" if dialect == "anthropic" else b"}\n\n\r\n"
        self._plain_end: bytes | tuple[bytes, ...] = _PLAIN_ENDS if ends_in_choices else other_ends
        if type(head.body) not in _RAW_BODIES:
            self._plain_end = ()  # what is translated is never passed on unread
        self._plain_mark = ABORT_MARK if ends_in_choices else USAGE_MARK
        self._plain_from = 0  # index of the first kept piece that went on without `feed`
        self._replay: Attempt | None = None
        self._delivered: Delivered | None = None
        self._pieces: list[bytes] = []  # as they went to the client, unread
        if before is not None:
            self._delivered, self.framing, self._pieces = before.settle(), before.framing, before._pieces
            self.payload_bytes = before.payload_bytes
            self._replay = attempt if attempt is not None else Replay(self._delivered)
        self._settled_bytes = self.payload_bytes
        self._keep = self._pieces.append
        self._seam = b""
        self._usage: Usage | None = None

    @property
    def is_stream(self) -> bool:
        """Whether it is a stream of events."""
        return self._events is not None

    @property
    def is_done(self) -> bool:
        """Whether the answer has come to its end."""
        return self._body.is_done

    def is_whole(self, *, is_end: bool) -> bool:
        """Whether the answer counts as complete now that the connection has ended, in order if `is_end`."""
        events = self._events
        if events is not None:
            return self._seen(events).is_complete
        return is_end and isinstance(self._body, EofBody)

    @property
    def leaves_connection_usable(self) -> bool:
        """Whether the endpoint's connection may carry another request after this answer."""
        return self.head.is_keep_alive and self._body.is_done and not self._body.is_overrun

    def takes(self, data: bytes) -> bool:
        """Whether this read may go on as it came: exactly one chunk, of whole events, without usage. Ask if `is_plain`.

        A size that adds up and the CRLF where it must be leave no other reading of the chunk.
        """
        line_end = data.find(b"\r\n", 1, 12)
        size = len(data) - line_end - 4
        if (
            CHUNK_SIZES.get(data[:line_end]) == size
            and data.endswith(self._plain_end)
            and self._plain_mark not in data
            and (self._is_openai or ERROR_MARK not in data)
        ):
            self.payload_bytes += size
            self._keep(data)
            return True
        return False

    def feed(self, data: bytes) -> bytes:
        """Takes a read, returns what goes to the client now, framed.

        Raises:
            ResponseError: the answer breaks HTTP.
            DivergedError: it is another attempt, and says something else than the one before.
        """
        body, events = self._body, self._events
        payload = body.feed(data)
        if payload and not self.has_begun:
            self.has_begun = not payload.startswith(b":")
        if events is None:
            self.payload_bytes += len(payload)
            return self._framed(self._look(payload), ends=body.is_done)
        if len(self._pieces) > self._plain_from:
            self._seen(events)
        out = events.feed(payload)
        if self._replay is not None:
            return self._feed_replay(self._replay, events, out)
        self.payload_bytes += len(payload)
        self.is_progress = events.is_progress
        if body.is_done or events.fault:
            return self._last(events, out)
        is_chunked = type(body) is ChunkedBody
        self.is_plain = (
            self.has_begun
            and self.framing == "chunked"
            and events.is_empty
            and (not is_chunked or body.is_between_chunks)  # type: ignore[union-attr]
        )
        if not (is_chunked and events.is_unchanged and body.is_aligned and self.framing == "chunked"):  # type: ignore[union-attr]
            data = self._framed(out)
        if data:
            self._keep(data)
            self._plain_from = len(self._pieces)
        return data

    def _feed_replay(self, replay: Attempt, events: EventRelay, out: bytes) -> bytes:
        out = replay.feed(out)
        self.payload_bytes += len(out)
        self.is_progress = events.is_progress
        return self._last(events, out) if self._body.is_done or events.fault else self._kept(self._framed(out))

    def end(self) -> bytes:
        """The connection has ended and with it the answer (`is_whole`): what is left for the client."""
        self.is_plain = False
        events = self._events
        return self._framed(b"", ends=True) if events is None else self._last(self._seen(events), b"")

    def _last(self, events: EventRelay, out: bytes) -> bytes:
        """The end of a stream; of one that is not complete, only what goes before it."""
        self.is_plain = False
        self.fault = events.fault
        self._is_complete = events.is_complete and not events.has_error
        if self._has_last_event and not (self.fault or self._is_complete or events.has_error):
            self.fault = "ended the stream before its last event"
        if self.fault:
            return self._kept(self._framed(out))
        return self._framed(out if self._has_last_event else out + events.end(), ends=True)

    def _framed(self, out: bytes, *, ends: bool = False) -> bytes:
        if self.framing != "chunked":
            return out
        chunk = b"%x\r\n%b\r\n" % (len(out), out) if out else b""
        return chunk + _LAST_CHUNK if ends else chunk

    def _kept(self, framed: bytes) -> bytes:
        """Remembers what goes to the client."""
        if framed:
            self._pieces.append(framed)
            self._plain_from = len(self._pieces)
        return framed

    def let_fault_pass(self) -> bytes:
        """What the engine said when it gave up goes on to the client, and so does what follows."""
        events = self._events
        if events is None:
            return b""
        said, events.said, events.fault, events.lets_faults_pass = events.said, b"", "", True
        self.fault = ""
        out = events.feed(said)
        if self._body.is_done and self._has_last_event and not (events.is_complete or events.has_error):
            out += self._error_event("stream_incomplete", "The engine ended the stream before its last event.")
        return self._framed(out, ends=self._body.is_done)

    def settle(self, bytes_max: int = 0) -> Delivered:
        """What the client has, read if more than `bytes_max` bytes are unread."""
        events, delivered = self._events, self._delivered
        if delivered is None:
            is_chunked = self.framing == "chunked"
            delivered = self._delivered = Delivered(self._pieces, is_chunked=is_chunked, keeps_ids=self._keeps_ids)
        if events is not None and events.prompt_ids:
            delivered.prompt_ids, events.prompt_ids = events.prompt_ids, b""
        if events is not None and self.payload_bytes - self._settled_bytes > bytes_max:
            self._seen(events)
            self._settled_bytes = self.payload_bytes
            delivered.settle()
            self._plain_from = 0
        return delivered

    @property
    def has_caught_up(self) -> bool:
        """Whether it has come to where the attempt before it had ended."""
        return self._replay is None or self._replay.has_caught_up

    @property
    def is_replay(self) -> bool:
        """Whether it goes on from another attempt."""
        return self._replay is not None

    @property
    def prompt_ids(self) -> tuple[int, ...]:
        """The tokens of the prompt, where this attempt was to tell them and did."""
        return self._replay.prompt_ids if self._replay is not None else ()

    def suspend(self) -> None:
        """The endpoint is lost: nothing more comes, and what went ended with a whole event."""
        self.is_plain = False
        self._body = ChunkedBody()  # nothing of it is open towards the client

    def closed(self, events: bytes) -> bytes:
        """The end of a stream that lacks nothing but these events."""
        return self._framed(events, ends=True)

    def cut(self, code: str, message: str, outcome: Outcome) -> bytes | None:
        """The answer ends before its time: an SSE error event, framed; None where there is no honest way to say it."""
        if self._events is None or self.framing == "counted":
            return None
        event = self._error_event(code, message, outcome)
        return b"%x\r\n%b\r\n%b" % (len(event), event, _LAST_CHUNK) if self.framing == "chunked" else event

    def _error_event(self, code: str, message: str, outcome: Outcome = "upstream_error") -> bytes:
        """An SSE error event that may follow what was sent, which an oversized event may have ended in its middle."""
        event = error_event(Failure(status=502, code=code, message=message, outcome=outcome), self._dialect)
        events = self._events
        return event if events is None or self._seen(events).is_between_events else b"\n\n" + event

    def probe(self) -> bytes:
        """An SSE comment, framed, where one may stand now; empty otherwise."""
        events = self._events
        if events is None or self.framing != "chunked" or not self._seen(events).is_between_events:
            return b""
        return b"3\r\n:\n\n\r\n" if _is_between_chunks(self._body) else b""

    @property
    def last_events(self) -> bytes:
        """The last events that went on; empty where it is no stream."""
        if self._replay is not None:
            return self._replay.last
        return self._seen(self._events).last if self._events is not None else b""

    @property
    def usage(self) -> Usage | None:
        """What the answer said of its tokens so far."""
        usage = self._usage if self._events is None else self._events.usage
        return usage if self._replay is None or usage is None else self._replay.usage(usage)

    @property
    def ending(self) -> tuple[Outcome, str]:
        """How the answer ended, once it has: (outcome, reason)."""
        events = self._events
        if events is None:
            return "ok", ""
        if self._is_complete:
            return "ok", ""
        if self._seen(events).has_error:
            return "upstream_error", "error_event"
        return ("ok", "") if events.is_complete else ("upstream_error", "stream_incomplete")

    def _seen(self, events: EventRelay) -> EventRelay:
        """Tells the relay of the reads that went on without it."""
        pieces = self._pieces
        plain = len(pieces) - self._plain_from
        if plain > 0:
            events.passed(pieces[-2] if plain > 1 else b"", pieces[-1])
            self._plain_from = len(pieces)
        return events

    def _look(self, payload: bytes) -> bytes:
        """Looks for usage in a piece of a plain answer, over the seam to the piece before."""
        joined = self._seam + payload if self._seam else payload
        usage = find_usage(joined)
        if usage is not None:
            self._usage = usage
        self._seam = joined[-_SEAM_BYTES:]
        return payload


def _is_between_chunks(body: object) -> bool:
    return not isinstance(body, ChunkedBody) or body.is_between_chunks
