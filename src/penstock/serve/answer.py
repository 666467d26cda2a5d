"""An endpoint's answer on its way to one client: unframed, looked at, framed again for this client.

The common read of a stream (one whole chunk that holds whole events and no usage) goes on exactly as it came, which
`takes` decides in a few searches. Everything else goes through `feed`. What the answer says at its end (usage, whether
it is complete) is read at its end.
"""

from __future__ import annotations

from typing import Literal

from penstock.serve.record import Outcome
from penstock.serve.wire.errors import Failure, error_event
from penstock.serve.wire.responses import CHUNK_SIZES, ChunkedBody, EofBody, ResponseHead
from penstock.serve.wire.routes import Dialect
from penstock.serve.wire.sse import USAGE_MARK, EventRelay, Usage, find_usage

__all__ = ["Answer"]

_SEAM_BYTES = 600
"""Bytes kept of a piece of a plain answer, so that a usage object cut in two by a read is found."""
_LAST_CHUNK = b"0\r\n\r\n"


class Answer:
    """One answer. Owned by its exchange.

    Attributes:
        is_plain: `takes` may be asked: the last read ended where a chunk and an event end.
        has_begun: something that is not a comment has come.
        payload_bytes: bytes of the answer's body so far.
    """

    __slots__ = (
        "_body",
        "_dialect",
        "_events",
        "_has_last_event",
        "_plain_before",
        "_plain_last",
        "_seam",
        "_usage",
        "framing",
        "has_begun",
        "head",
        "is_plain",
        "payload_bytes",
    )

    def __init__(
        self, head: ResponseHead, *, dialect: Dialect, is_http_1_0: bool, strips_usage: bool, has_last_event: bool
    ) -> None:
        """`has_last_event`: a stream of this API is known to be complete by its last event."""
        is_events = head.content_type.startswith(b"text/event-stream")
        self.head = head
        self.framing: Literal["counted", "chunked", "eof"]
        if head.content_length >= 0 and not is_events:
            self.framing = "counted"
        else:
            self.framing = "eof" if is_http_1_0 else "chunked"
        self.is_plain = False
        self.has_begun = False
        self.payload_bytes = 0
        self._body = head.body
        self._dialect: Dialect = dialect
        self._has_last_event = has_last_event
        self._events = EventRelay(strips_usage=strips_usage) if is_events else None
        self._plain_last = self._plain_before = b""
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
        if (
            CHUNK_SIZES.get(data[:line_end]) == len(data) - line_end - 4
            and data.endswith(b"\n\n\r\n")
            and USAGE_MARK not in data
        ):
            self.payload_bytes += len(data) - line_end - 4
            self._plain_before, self._plain_last = self._plain_last, data
            return True
        return False

    def feed(self, data: bytes) -> bytes:
        """Takes a read, returns what goes to the client now, framed.

        Raises:
            ResponseError: the answer breaks HTTP.
        """
        body, events = self._body, self._events
        payload = body.feed(data)
        self.payload_bytes += len(payload)
        if payload and not self.has_begun:
            self.has_begun = not payload.startswith(b":")
        if body.is_done:
            return self._last(payload)
        if events is None:
            out = self._look(payload)
        else:
            out = self._seen(events).feed(payload)
            self.is_plain = (
                self.has_begun and self.framing == "chunked" and events.is_empty and _is_between_chunks(body)
            )
        if self.framing != "chunked":
            return out
        if type(body) is ChunkedBody and body.is_aligned and (events is None or events.is_unchanged):
            return data
        return b"%x\r\n%b\r\n" % (len(out), out) if out else b""

    def end(self) -> bytes:
        """The connection has ended and with it the answer (`is_whole`): what is left for the client."""
        return self._last(b"")

    def _last(self, payload: bytes) -> bytes:
        events = self._events
        self.is_plain = False
        if events is None:
            out = self._look(payload)
        else:
            out = self._seen(events).feed(payload) + events.end()
            if self._has_last_event and not events.is_complete and not events.has_error:
                out += self._error_event("stream_incomplete", "The engine ended the stream before its last event.")
        if self.framing != "chunked":
            return out
        return b"%x\r\n%b\r\n%b" % (len(out), out, _LAST_CHUNK) if out else _LAST_CHUNK

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
    def usage(self) -> Usage | None:
        """What the answer said of its tokens so far."""
        return self._usage if self._events is None else self._events.usage

    @property
    def ending(self) -> tuple[Outcome, str]:
        """How the answer ended, once it has: (outcome, reason)."""
        events = self._events
        if events is None:
            return "ok", ""
        if self._seen(events).has_error:
            return "upstream_error", "error_event"
        return ("ok", "") if events.is_complete else ("upstream_error", "stream_incomplete")

    def _seen(self, events: EventRelay) -> EventRelay:
        """Tells the relay of the reads that went on without it."""
        if self._plain_last:
            events.passed(self._plain_before, self._plain_last)
            self._plain_last = self._plain_before = b""
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
