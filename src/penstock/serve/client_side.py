"""The client's side of an exchange: what is held of it, what the gateway answers by itself, and how it ends.

Guarantees: one answer to one request; after `_over` nothing is held. What an endpoint answers is `exchange`'s.
"""

from __future__ import annotations

from typing import Literal

from penstock.serve.admission.admission import Admission
from penstock.serve.answer import Answer
from penstock.serve.closing import End
from penstock.serve.commands import Reply
from penstock.serve.config import GatewayConfig
from penstock.serve.continuation import Continuation
from penstock.serve.core import Carrier, Core
from penstock.serve.race import Race
from penstock.serve.record import Outcome, RequestRecord
from penstock.serve.routing import Endpoint
from penstock.serve.routing.signals import Signal
from penstock.serve.wire.cors import allowed_headers, preflight_headers
from penstock.serve.wire.errors import Failure, error_body
from penstock.serve.wire.heads import RequestHead, answer_head, clean_request_id
from penstock.serve.wire.responses import ResponseHead
from penstock.serve.wire.sse import Usage

__all__ = ["STREAM_HEADERS", "ClientSide", "Phase"]

Phase = Literal["receiving", "queued", "waiting", "relaying", "resuming", "collecting", "over"]

KEEP_ALIVE_S = 10.0
"""Seconds between signs of life for a stream that waits: half the shortest idle time-out of common proxies, 20 s."""
STREAM_HEADERS = b"cache-control: no-cache\r\nx-accel-buffering: no\r\n"
_COMMENT = b"10\r\n: in the queue\n\n\r\n"
_ERROR_LINE = b"event: error\n"


class ClientSide:
    """What an exchange holds. Owned by the exchange that it is a part of."""

    __slots__ = (
        "_admission",
        "_answer",
        "_collected",
        "_continuation",
        "_core",
        "_end",
        "_error_head",
        "_has_begun",
        "_held",
        "_is_open",
        "_is_told",
        "_race",
        "_sent_at",
        "_started_at",
        "_stuck",
        "_told",
        "carrier",
        "config",
        "endpoint",
        "head",
        "is_client_kept",
        "is_upstream_kept",
        "last_progress_at",
        "phase",
        "record",
        "request_id",
    )

    def __init__(self, core: Core, head: RequestHead, now: float, carrier: Carrier | None = None) -> None:
        self._core = core
        self.carrier = carrier
        self.config: GatewayConfig = core.config  # a reload does not change a request under way
        self.head = head
        self.phase: Phase = "receiving"
        self.request_id = clean_request_id(head.request_id) or core.new_request_id()
        self.record = RequestRecord(now + core.unix_offset_s, self.request_id.decode(), "other")
        self.is_client_kept = head.is_keep_alive
        self.is_upstream_kept = False
        self.endpoint: Endpoint | None = None
        self.last_progress_at = now
        self._sent_at = now
        self._started_at = now
        self._admission = Admission(core, self.config, head, self.record, now)
        self._answer: Answer | None = None
        self._continuation: Continuation | None = None  # how a stream whose endpoint was lost goes on
        self._error_head: ResponseHead | None = None
        self._collected = b""
        self._has_begun = False  # the answer of the endpoint that it is at
        self._held: bytes | None = None  # of a plain answer that is not whole yet; nothing of it was sent
        self._is_open = False  # the client has the head of a stream, as the request has waited long
        self._is_told = False  # the table of endpoints knows what became of the request there
        self._race: Race | None = None  # while a second endpoint may be asked too, or is
        self._end: End | None = None  # how the stream ends, where the gateway tells it
        self._stuck = 0  # resumes in a row that brought nothing
        self._told = 0  # characters that the client had at the last one
        core.in_flight += 1

    @property
    def is_admitted(self) -> bool:
        """Whether bounds and limits have let the request in: it waits for an endpoint, or is at one."""
        return self._admission.ticket is not None

    def keep_alive(self, now: float) -> bytes:
        """What a client gets whose request has waited long: the head of its stream, then a comment now and then. Who
        wanted no stream waits in silence, as anything that is sent would be the answer."""
        is_due = self.record.is_stream and now - self.last_progress_at >= KEEP_ALIVE_S
        if not is_due or self.head.is_http_1_0 or self.endpoint is not None:
            return b""
        self.last_progress_at = now
        if self._is_open or self.phase == "resuming":
            return _COMMENT
        self._is_open = True
        self.record.status = 200
        return self._answer_head(200, b"text/event-stream", is_chunked=True, extra=STREAM_HEADERS) + _COMMENT

    def leave_connection(self) -> None:
        """The connection should end with this answer; says so in the answer's head, unless that has left already: then
        the client may send one more request, and must not find the connection closed."""
        if self.phase in ("receiving", "queued", "waiting", "collecting") and not self._is_open:
            self.is_client_kept = False

    def preflight(self, now: float) -> Reply:
        """What a browser is told that asks whether a page may call."""
        return self._reply(204, b"", now, ("ok", "preflight"), preflight_headers(self.config.origins, self.head.origin))

    def refuse(self, failure: Failure, now: float) -> Reply:
        """Ends the exchange with an error answer. Only while nothing but comments has been sent."""
        extra = self._admission.headers
        if self.phase == "receiving" and self.head.closes_if_refused:
            self.is_client_kept = False
        if failure.retry_after_s is not None:
            extra += b"retry-after: %d\r\n" % failure.retry_after_s
        if failure.allow is not None:
            extra += b"allow: %b\r\n" % failure.allow.encode()
        if failure.status == 401:
            extra += b"www-authenticate: Bearer\r\n"
        body = error_body(failure, self._admission.dialect)
        return self._reply(failure.status, body, now, (failure.outcome, failure.code), extra)

    def _answer_head(
        self, status: int, content_type: bytes, content_length: int = -1, *, is_chunked: bool = False, extra: bytes
    ) -> bytes:
        if self.head.origin:
            extra += allowed_headers(self.config.origins, self.head.origin)
        return answer_head(
            status,
            date=self._core.date,
            content_type=content_type,
            request_id=self.request_id,
            content_length=content_length,
            is_chunked=is_chunked,
            is_keep_alive=self.is_client_kept,
            extra=extra,
        )

    def _heard(self, signal: Signal, now: float, words: str = "") -> None:
        """Something was heard of the endpoint that the request is at."""
        endpoint, ticket = self.endpoint, self._admission.ticket
        if endpoint is not None and ticket is not None:
            self._core.endpoints.heard(endpoint, signal, now, trial=ticket.trial, words=words)
            if signal != "began":
                self._is_told = True

    def _note_answer(self, answer: Answer) -> None:
        self.record.bytes_out = answer.payload_bytes
        self._note_usage(answer.usage)

    def _note_usage(self, usage: Usage | None) -> None:
        if usage is not None:
            record = self.record
            record.prompt_tokens, record.output_tokens, record.cached_tokens = usage

    @property
    def _wants_whole(self) -> bool:
        """Whether an answer that is no stream must be there whole before it goes on."""
        way = self._admission.way
        return way is not None and way.wants_whole and not self._is_open

    def _say(self, answer: bytes | Failure | None, now: float) -> Reply | None:
        """What the gateway answers by itself; None: it is known later."""
        if answer is None:
            self.phase = "queued"
            return None
        if isinstance(answer, Failure):
            return self.refuse(answer, now)
        return self._reply(200, answer, now, ("ok", ""))

    def _reply(self, status: int, body: bytes, now: float, ended: tuple[Outcome, str], extra: bytes = b"") -> Reply:
        if self._is_open:
            event = (_ERROR_LINE if self._admission.dialect == "anthropic" else b"") + b"data: " + body + b"\n\n"
            self._over(now, *ended)
            return Reply(b"%x\r\n%b\r\n0\r\n\r\n" % (len(event), event))
        head = self._answer_head(status, b"application/json", len(body), extra=extra)
        self.record.status = status
        self.record.bytes_out = len(body)
        self._over(now, *ended)
        return Reply(head if self.head.method == "HEAD" else head + body)

    def _note_wait(self, now: float) -> None:
        """Writes down how long the request waited for its first endpoint, or in vain."""
        ticket = self._admission.ticket
        if ticket is not None and not self.record.endpoint:
            self.record.queue_ms = (now - ticket.arrived_at) * 1e3

    def _over(self, now: float, outcome: Outcome, reason: str) -> None:
        record = self.record
        if self.phase == "queued":
            self._note_wait(now)
        if (race := self._race) is not None:
            race.unwatch(self)
            race.drop(self._core, now)
            self._race = None
        record.outcome, record.reason = outcome, reason
        record.total_ms = (now - self._started_at) * 1e3
        if self.endpoint is not None and not self._is_told:
            self._heard("deadline" if reason == "deadline_exceeded" else "cancelled", now)
        answer, self._answer, self.endpoint = self._answer, None, None
        chars = answer.settle().chars if answer is not None and record.prompt_tokens < 0 else -1
        self._admission.over(now, chars)
        self.phase = "over"
        self._core.in_flight -= 1
