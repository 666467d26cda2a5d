"""One client request from first byte in to last byte out, as a pure state machine.

Events come in as method calls with `now`; each returns the command for the edge: bytes for the client, a `Reply` (a
whole answer), a `Dispatch` (send this to that endpoint), or nothing. The edge performs it and reports what happens.

    RECEIVING ── request ──▶ WAITING ── head ──▶ RELAYING ── body ends ──▶ OVER        (at two endpoints: `hedged`)
        │                     │  ▲ │  ▲            │   ▲ head
        │ refused             │  └─┘  └ retry      ▼   │ endpoint lost, or a replay diverged (`resuming`)
        └───────▶ OVER ◀──────┘ no endpoint left  RESUMING ──▶ OVER: SSE error event, or the connection is cut
                                                                (engine error: COLLECTING its body, then OVER)

One event per read from the endpoint, and nothing is parsed per token: what a client has is read when it is needed.
"""

from __future__ import annotations

from typing import Any

from penstock.serve.admission.admission import Step
from penstock.serve.admission.fallbacks import Why
from penstock.serve.answer import Answer
from penstock.serve.client_side import STREAM_HEADERS, Phase
from penstock.serve.commands import Decided, Dispatch, Reply
from penstock.serve.deadline import NO_DEADLINE
from penstock.serve.delivered import KEPT_BYTES_MAX, Attempt, DivergedError
from penstock.serve.failover import ENGINE_DIED
from penstock.serve.hedged import Hedged
from penstock.serve.local import explanation, local_answer, no_endpoint
from penstock.serve.opening import Opening
from penstock.serve.record import Outcome
from penstock.serve.resuming import signal_of
from penstock.serve.routing import Endpoint
from penstock.serve.routing.signals import Signal
from penstock.serve.stall import FLOOR_S, Stall, learned_itl_s, stall_of
from penstock.serve.wire.cors import is_preflight
from penstock.serve.wire.errors import Failure, normalise_engine_error
from penstock.serve.wire.responses import EofBody, ResponseError, ResponseHead, parse_head
from penstock.serve.wire.sse import find_usage

__all__ = ["Decided", "Dispatch", "Exchange", "Phase", "Reply"]

ERROR_BYTES_MAX = 262_144
"""Bytes of an engine's error body that are kept."""
WHOLE_BYTES_MAX = 8 << 20
"""Bytes of an answer that must be there whole before it goes on; twice what is kept of one response."""
HELD_BYTES_MAX = 1 << 20
"""Length of a plain answer up to which it is held until it is whole, and asked for again where it breaks off."""
_RETRIED_STATUSES = frozenset({429, 502, 503, 504})
"""What an engine answers that has no room, or another one that stands before it: nothing was done for the request."""
_LOSSES: frozenset[Signal | None] = frozenset({"connect_failed", "reset"})
"""What of an endpoint means that nothing goes on there for the request."""
_PROVIDERS_OWN = frozenset({401, 402, 403, 404, 407})
"""What a provider answers that is about our key, account or address there, and not about the client's request. A 401
never is about that: clients' keys stay here, and an engine that wants one (vLLM's `--api-key`) was not told to us."""
_LACKS: dict[str, Why] = {"queue_full": "saturation", "queue_timeout": "saturation", "evicted": "saturation"}
"""By the code of a refusal: what a fallback must be for. Whatever else is an error."""


class Exchange(Hedged):
    """The life of one request. Owned by the client connection that it came on."""

    __slots__ = ()

    # ------------------------------------------------------------------ the client's side

    def check_head(self, now: float) -> Reply | None:
        """The head is complete: refuses now what needs no body to be refused. None when the body should be read."""
        if is_preflight(self.head.method, self.head.origin):
            return self.preflight(now)
        failure = self._admission.check_head()
        self.is_client_kept = self.is_client_kept and not self._core.is_leaving
        return None if failure is None else self.refuse(failure, now)

    def request(self, body: bytes, now: float) -> Reply | Dispatch | None:
        """The request is complete: answers it, says where it goes, or None: it waits for its turn."""
        self.record.bytes_in = len(body)
        self.last_progress_at = now
        admission = self._admission
        if admission.route is not None:
            return self._stepped(admission.begin(body, now, self.woken), now)
        if (wanted := admission.asks_for_kept) is not None:
            return self._say(admission.look_up(wanted, now, self.woken), now)
        return self._say(local_answer(self._core, self.head.path, admission.caller), now)

    def woken(self, came: Any, now: float) -> None:
        """What the request waited for has come: goes on, by way of the connection that carries it."""
        admission = self._admission
        if self.phase == "over":
            admission.came_late(came, now)
            return
        if admission.ticket is not None:
            admission.ticket.owner = None
        out: bytes | Reply | Dispatch | None
        if (wanted := admission.asks_for_kept) is not None:
            out = self._say(admission.said_of(wanted, came), now)
        else:
            step = admission.proceed(came, now, self.woken)
            out = self._resumed(step, "was lost", now) if self.phase == "resuming" else self._stepped(step, now)
        if self.carrier is not None:
            self.carrier.go_on(self, out)

    def _stepped(self, step: Step, now: float) -> Reply | Dispatch | None:
        """Does what the request's way to an endpoint has come to."""
        if isinstance(step, Endpoint):
            return self._dispatch(step, now)
        if step is not None:
            return self._refuse_or_fall_back(step, now)
        self.phase = "queued"
        self._await_turn()
        return None

    def _await_turn(self) -> None:
        ticket = self._admission.ticket
        if ticket is not None:
            ticket.owner = self  # until it is over, or has its turn

    def _refuse_or_fall_back(self, failure: Failure, now: float) -> Reply | Dispatch | None:
        """Another model answers, where the file says so; else this failure."""
        if failure.code != "deadline" and (failure.status >= 500 or failure.code in _LACKS):
            step = self._admission.fall_back(_LACKS.get(failure.code, "error"), now, self.woken)
            if step is not False:
                return self._stepped(step, now)
        return self.refuse(failure, now)

    def client_lost(self, now: float) -> None:
        """The client is gone: the edge cuts the endpoint's connection, which makes the engine stop. A stream whose last
        event the client has is whole: clients hang up on it, and the end of its connection comes later."""
        answer = self._answer
        if answer is not None:
            self._note_answer(answer)
        if self.phase == "relaying" and answer is not None and answer.is_stream and answer.is_whole(is_end=False):
            self._finish_relay(answer, now)
        elif self.phase != "over":
            self._over(now, "cancelled", "client_disconnected")

    # ------------------------------------------------------------------ the endpoint's side

    def upstream_data(self, data: bytes, now: float) -> bytes | Reply | Dispatch | Decided | None:
        """A read from the endpoint."""
        answer = self._answer
        if answer is not None and answer.is_plain and answer.takes(data):
            self.last_progress_at = now
            return data
        try:
            if answer is not None and self.phase == "relaying":
                return self._relay(answer, data, now)
            if (race := self._race) is not None:
                return self._hear_opening(race, data, now)
            self.last_progress_at = now
            if self.phase in ("waiting", "resuming"):
                return self._read_head(data, now)
            if self.phase == "collecting" and self._error_head is not None:
                return self._collect(self._error_head, data, now)
        except ResponseError as error:
            return self.upstream_lost(str(error), now, signal="bad_http")
        except DivergedError as error:
            return self._diverged(str(error), now)
        return None

    def upstream_lost(
        self, reason: str, now: float, *, was_reused: bool = False, is_end: bool = False, signal: Signal = "reset"
    ) -> bytes | Reply | Dispatch | Decided | None:
        """The endpoint's connection could not be made, ended, or broke HTTP.

        `was_reused`: it had served before, so an end before the first byte is no failure, only an idle connection that
        was closed; the request goes there again. `is_end`: closed in order, as an answer without a length ends.
        """
        answer, endpoint, error_head = self._answer, self.endpoint, self._error_head
        if self.phase == "over" or endpoint is None:
            return None
        if self.phase in ("waiting", "resuming"):
            race = self._race
            if was_reused and not self._collected and (race is None or race.opening.is_empty):
                return self._sent(endpoint, now, is_fresh=True)
            self._heard(signal, now, reason)
            lost = self._fail_over if self.phase == "waiting" else self._resume
            return lost(reason, now, signal)
        if answer is not None and answer.is_whole(is_end=is_end):
            out = answer.end()
            self._finish_relay(answer, now)
            return out
        if error_head is not None and is_end and isinstance(error_head.body, EofBody):
            return (self._finish_whole if error_head.status < 400 else self._finish_collect)(error_head, now)
        if error_head is not None:
            self._heard(signal, now, reason)
            if error_head.status < 400:
                return self._retry(reason, now)
            return self.refuse(no_endpoint(self.record.model, f"{endpoint.id} {reason}", 1), now)
        return self._go_elsewhere(reason, now, signal=signal)

    def is_late(self, now: float) -> str:
        """What the endpoint took too long for, in a word; empty when it is in time."""
        timeouts = self.config.timeouts
        quiet_s = now - self.last_progress_at
        deadline = self._admission.deadline
        if deadline is not NO_DEADLINE and deadline.is_past(now - self._started_at, has_begun=self.record.ttft_ms >= 0):
            return "deadline_exceeded" if self.phase not in ("queued", "over") else ""
        if self.endpoint is None:
            return ""
        if self.phase in ("waiting", "resuming") and quiet_s > timeouts.first_byte_s:
            return "first_byte_timeout"
        if self.phase in ("relaying", "collecting") and quiet_s > timeouts.read_s:
            return "read_timeout"
        return "stalled" if self._stall(now) else ""

    def _stall(self, now: float) -> Stall:
        """How the answer makes no progress that it could make elsewhere, or on another connection."""
        endpoint, answer = self.endpoint, self._answer
        if endpoint is None or self.phase not in ("waiting", "resuming", "relaying") or self._held is not None:
            return ""
        flows = answer if self.phase == "relaying" and answer is not None and answer.has_begun else None
        if flows is not None:
            flows.settle(KEPT_BYTES_MAX)
            endpoint.progress_at = max(endpoint.progress_at, self.last_progress_at)
        first_at = self._started_at + self.record.ttft_ms / 1e3
        admission = self._admission
        stall = stall_of(endpoint, flows, first_at, self.last_progress_at, now, body=admission.body)
        if not stall or admission.has_elsewhere(now, is_new_round=self.phase == "relaying"):
            return stall
        return stall if stall == "lost" and flows is not None and self._may_return(flows) else ""

    def timed_out(self, reason: str, now: float) -> bytes | Reply | Dispatch | Decided | None:
        """The endpoint is late (`is_late`): somewhere else, or 504, or an SSE error event once the answer has begun."""
        endpoint, answer = self.endpoint, self._answer
        if answer is not None and self.phase == "relaying" and answer.is_whole(is_end=False):
            out = answer.end()  # its last event came, and only the connection does not end
            self._finish_relay(answer, now)
            return out
        if reason == "deadline_exceeded":
            return self._too_late(now)
        if reason == "stalled" and endpoint is not None:
            stall, words = self._stall(now), "made no progress"
            if stall == "lost":
                words = "went on, and its answer did not"
                self._heard("fell_silent", now, words)
            elif stall == "hung" and now - endpoint.progress_at >= FLOOR_S:
                self._heard("stalled", now, words)
            if self.phase == "waiting":
                return self._fail_over(words, now)
            return self._go_elsewhere(words, now, outcome="timeout", may_return=stall == "lost")
        if self._held is None and self.phase in ("relaying", "resuming"):
            words = f"was silent for {now - self.last_progress_at:.0f} s"
            return self._go_elsewhere(words, now, "timeout", signal="read_late")
        is_first = reason == "first_byte_timeout"
        self._heard("first_byte_late" if is_first else "read_late", now, reason)
        if self.second is not None:
            return self._fail_over(reason, now)
        if self._held is not None and self._admission.has_elsewhere(now):
            return self._retry("fell silent in the middle of its answer", now)  # the client has nothing of it
        limit_s = self.config.timeouts.first_byte_s if is_first else self.config.timeouts.read_s
        message = f"The engine of '{self.record.model}' sent nothing for {limit_s:g} s."
        return self.refuse(Failure(status=504, code=reason, message=message, outcome="timeout"), now)

    def shut_down(self, now: float) -> bytes | Reply | None:
        """The gateway ends before the answer does: an honest end for a stream, 503 for what has not begun."""
        if self.phase in ("relaying", "resuming") and self._held is None:
            return self._cut("was still answering when the gateway shut down", now, outcome="shed")
        message = "This gateway shut down before the answer was ready. Send the request again."
        return self.refuse(
            Failure(status=503, code="shutting_down", message=message, outcome="shed", retry_after_s=1), now
        )

    def probe(self) -> bytes:
        """Bytes that mean nothing to a client: they show whether it is still there after it sent FIN."""
        if self.phase == "waiting" and not self.head.is_http_1_0:
            return b"HTTP/1.1 100 Continue\r\n\r\n"
        return self._answer.probe() if self._answer is not None and self._held is None else b""

    def _too_late(self, now: float) -> bytes | Reply | None:
        """The class of the request, or its client, gives it no more time."""
        timeout_s = now - self._started_at
        if self._held is None and self.phase in ("relaying", "resuming"):
            return self._cut(f"was still answering after {timeout_s:.1f} s", now, "timeout", code="deadline_exceeded")
        message = f"The answer of '{self.record.model}' was not there after {timeout_s:.1f} s, the time it had."
        failure = Failure(status=504, code="deadline_exceeded", message=message, outcome="timeout")
        self._held = None
        return self.refuse(failure, now)

    # ------------------------------------------------------------------ dispatch

    def _dispatch(self, endpoint: Endpoint, now: float) -> Dispatch:
        """Sends the request there."""
        self._note_wait(now)
        self._answer = self._held = None
        self.phase = "waiting"
        if self._core.is_hedging and not self.record.endpoint:
            self._watch(now)
        dispatch = self._sent(endpoint, now)
        if self._admission.copy is not None:
            dispatch.copy, self._admission.copy = self._admission.copy, None
        return dispatch

    def _sent(self, endpoint: Endpoint, now: float, *, is_fresh: bool = False) -> Dispatch:
        self._stand_at(endpoint, now)
        if self._race is not None:
            self._race.opening = Opening()
        admission, ticket = self._admission, self._admission.ticket
        if ticket is not None and ticket.decision is not None:
            self._core.decisions.add(self.record.at, self.record.request_id, ticket.model, ticket.decision, ticket.need)
        request = self._request_to(endpoint) if self._continuation is not None else admission.upstream_request(endpoint)
        return Dispatch(endpoint, request, is_fresh=is_fresh, tls_host=admission.tls_host)

    def _retry(self, reason: str, now: float, signal: Signal | None = None) -> Reply | Dispatch | None:
        """An endpoint has failed the request before its answer: another one, or another model, or an honest error."""
        lost_id = self.record.endpoint
        self.endpoint = None
        endpoint = self._admission.elsewhere(now, is_resume=signal in _LOSSES)
        if endpoint is not None:
            self.record.retries += 1
            return self._dispatch(endpoint, now)
        step = self._admission.fall_back("error", now, self.woken)
        if step is False:
            step = self._admission.wait_again(now, is_blameless=signal == "connect_failed")
        if step is False:
            return self.refuse(no_endpoint(self.record.model, f"{lost_id} {reason}", 2), now)
        self.record.retries += 1
        return self._stepped(step, now)

    # ------------------------------------------------------------------ the answer

    def _read_head(self, data: bytes, now: float) -> bytes | Reply | Dispatch | None:
        if (continuation := self._continuation) is not None and continuation.asks_tokens:
            return self._take_tokens(continuation, data, now)
        if self._collected:
            data = self._collected + data
        head = parse_head(data)
        if head is None:
            self._collected = data
            return None
        self._collected = b""
        return self._take_head(head, data[head.size :] if len(data) > head.size else b"", now)

    def _take_head(self, head: ResponseHead, rest: bytes, now: float) -> bytes | Reply | Dispatch | None:
        """The endpoint's answer begins with this."""
        if self.endpoint is None:
            return None
        if 300 <= head.status < 400:
            raise ResponseError(f"answered {head.status}, which sends the request elsewhere")
        if self.phase == "resuming":
            return self._resume_answer(head, rest, now)
        if head.status in _RETRIED_STATUSES and self._admission.has_elsewhere(now):
            words = f"answered {head.status}"
            self._heard(signal_of(head.status), now, words)
            return self._retry(words, now)
        is_stream = head.content_type.startswith(b"text/event-stream")
        if head.status >= 400 or (self._wants_whole and not is_stream):
            self.phase = "collecting"
            return self._collect(head, rest, now)
        self.phase = "relaying"
        begun, answer = self._begin_answer(head)
        try:
            out = self._relay(answer, rest, now, begun) if rest or head.body.is_done else begun
        except ResponseError:
            self.phase, self._answer = "waiting", None  # nothing was sent yet: another endpoint may answer
            raise
        self.record.status = head.status
        if answer.framing == "counted" and answer is self._answer and head.content_length <= HELD_BYTES_MAX:
            self._held, out = out if type(out) is bytes else b"", b""
        return out

    def _begin_answer(self, head: ResponseHead) -> tuple[bytes, Answer]:
        """Settles how the answer is framed for this client and makes its head."""
        self._answer = answer = self._make_answer(head)
        if self._is_open:
            if not answer.is_stream:
                raise ResponseError("answered a request for a stream with something else")
            return b"", answer
        if answer.framing == "eof":
            self.is_client_kept = False
        extra = head.passed + self._admission.headers
        if answer.is_stream and b"cache-control" not in extra:
            extra += STREAM_HEADERS
        if self.head.wants_explanation:
            extra += explanation(self._admission.decision, self.record)
        length = head.content_length if answer.framing == "counted" else -1
        is_chunked = answer.framing == "chunked"
        return self._answer_head(head.status, head.content_type, length, is_chunked=is_chunked, extra=extra), answer

    def _make_answer(self, head: ResponseHead, before: Answer | None = None, attempt: Attempt | None = None) -> Answer:
        request, route = self._admission.request, self._admission.route
        if request is None or route is None:
            raise AssertionError("an answer belongs to a request that was dispatched")
        if (way := self._admission.way) is not None:
            head.body = way.read_through(head.body)
        return Answer(
            head,
            dialect=route.dialect,
            is_http_1_0=self.head.is_http_1_0,
            strips_usage=route.has_stream_options and not request.wants_usage,
            has_last_event=route.has_stream_options or route.dialect != "openai",
            ends_in_choices=route.has_stream_options,
            keeps_ids=self._admission.asks_ids,
            before=before,
            attempt=attempt,
        )

    def _relay(self, answer: Answer, data: bytes, now: float, first: bytes = b"") -> bytes | Reply | Dispatch | None:
        """A read that `Answer.takes` did not settle. `first` goes to the client before what comes of it."""
        out = first + answer.feed(data)
        if (way := self._admission.way) is not None and way.ends_with(out):
            self._admission.keep(answer.last_events, now, is_stream=True)
        if answer.is_progress:
            self.last_progress_at = now
        if not self._has_begun and answer.has_begun:
            self._begun(now)
        if answer.fault:
            return self._go_elsewhere(answer.fault, now, signal=_fault_signal(answer.fault), first=out)
        if answer.is_done:
            self._finish_relay(answer, now)
        if self._held is not None:
            self._held += out
            return self._held if answer.is_done else b""
        return out

    def _begun(self, now: float) -> None:
        """The endpoint's first token, or the first byte of what is no stream."""
        self._has_begun = True
        if self.record.ttft_ms < 0:
            self.record.ttft_ms = (now - self._started_at) * 1e3
        self._heard("began", now)
        self._admission.began(self._sent_at, now)

    def _finish_relay(self, answer: Answer, now: float) -> None:
        """The answer is complete: what it said at its end is read."""
        self._note_answer(answer)
        self.is_upstream_kept = answer.leaves_connection_usable
        endpoint, record = self.endpoint, self.record
        ending = answer.ending
        self._heard("ok" if ending[0] == "ok" else "aborted", now, ending[1])
        self._over(now, *ending)
        if endpoint is not None and not record.resumes and (tpot_ms := record.tpot_ms) > 0:
            endpoint.itl_s = learned_itl_s(endpoint.itl_s, tpot_ms / 1e3)

    def _collect(self, head: ResponseHead, data: bytes, now: float) -> Reply | Dispatch | None:
        """A read of an engine's error answer, which is sent on whole."""
        self._error_head = head
        if data:
            self._collected += head.body.feed(data)
        if head.status < 400:
            if not self._has_begun:
                self._begun(now)
            if len(self._collected) > WHOLE_BYTES_MAX:
                raise ResponseError(f"answered with more than {WHOLE_BYTES_MAX} bytes")
            return self._finish_whole(head, now) if head.body.is_done else None
        is_enough = head.body.is_done or len(self._collected) > ERROR_BYTES_MAX
        return self._finish_collect(head, now) if is_enough else None

    def _finish_whole(self, head: ResponseHead, now: float) -> Reply:
        """An answer that was to be there whole is: as its API tells it, and kept."""
        admission, body = self._admission, self._collected
        self.is_upstream_kept = head.is_keep_alive and head.body.is_done and not head.body.is_overrun
        self._heard("ok", now)
        self._note_usage(find_usage(body))
        told = admission.way.whole(body) if admission.way is not None else body
        if isinstance(told, Failure):
            return self.refuse(told, now)
        admission.keep(body, now, is_stream=False)
        extra = head.passed + admission.headers
        if self.head.wants_explanation:
            extra += explanation(admission.decision, self.record)
        return self._reply(head.status, told, now, ("ok", ""), extra)

    def _finish_collect(self, head: ResponseHead, now: float) -> Reply | Dispatch | None:
        """The engine's error answer is whole: sends it on in the one shape, unless it is the engine that is at its end
        and another may answer."""
        endpoint = self.endpoint
        if endpoint is not None and ENGINE_DIED.search(self._collected) and self._admission.has_elsewhere(now):
            words = f"answered {head.status}"
            self._heard("engine_died", now, words)
            return self._retry(words, now)
        if endpoint is not None and self._admission.translate(head.status, self._collected, now):
            self.phase = "waiting"
            return self._sent(endpoint, now)
        self.record.status = head.status
        self.is_upstream_kept = head.is_keep_alive and head.body.is_done and not head.body.is_overrun
        self._heard(signal_of(head.status), now, f"answered {head.status}")
        if head.status == 401 or (head.status in _PROVIDERS_OWN and self._admission.is_outside):
            self.endpoint = None
            return self._refuse_or_fall_back(no_endpoint(self.record.model, f"it answered {head.status}", 1), now)
        step = self._admission.fall_back("error", now, self.woken) if head.status >= 500 else False
        if step is not False:
            self.endpoint = None
            return self._stepped(step, now)
        body = normalise_engine_error(head.status, self._collected, self._admission.dialect)
        outcome: Outcome = "client_error" if head.status < 500 else "upstream_error"
        if head.status == 429:
            outcome = "limited"
        extra = head.passed + self._admission.headers
        return self._reply(head.status, body, now, (outcome, f"engine_{head.status}"), extra)


def _fault_signal(fault: str) -> Signal:
    """What it tells of the endpoint that it gave an answer up while its connection stands."""
    return "engine_died" if ENGINE_DIED.search(fault.encode()) else "aborted"
