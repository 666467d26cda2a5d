"""One client request from first byte in to last byte out, as a pure state machine.

Events come in as method calls with `now`; each returns the command for the edge: bytes for the client, a `Reply` (a
whole answer), a `Dispatch` (send this to that endpoint), or nothing. The edge performs it and reports what happens.

    RECEIVING ── request ──▶ WAITING ── head ──▶ RELAYING ── body ends ──▶ OVER
        │                     │  ▲ │  ▲            │   ▲ head
        │ refused             │  └─┘  └ retry      ▼   │ endpoint lost, `failover` says replay
        └───────▶ OVER ◀──────┘ no endpoint left  RESUMING ──▶ OVER: SSE error event, or the connection is cut
                                                                (engine error: COLLECTING its body, then OVER)

One event per read from the endpoint, and nothing is parsed per token: what a client has is read when it is needed.
"""

from __future__ import annotations

from typing import Literal

from penstock.serve.answer import Answer
from penstock.serve.commands import Dispatch, Reply
from penstock.serve.config import ANONYMOUS, Caller, GatewayConfig
from penstock.serve.core import Core
from penstock.serve.delivered import KEPT_BYTES_MAX, DivergedError
from penstock.serve.failover import ENGINE_DIED, Loss, choose, needs_seed
from penstock.serve.gate import examine
from penstock.serve.local import explanation, local_answer, no_endpoint, unknown_model
from penstock.serve.record import Outcome, RequestRecord
from penstock.serve.routing import UNKNOWN_NEED, Decision, Endpoint
from penstock.serve.stall import FLOOR_S, has_stalled, learned_itl_s
from penstock.serve.wire.errors import Failure, error_body, normalise_engine_error
from penstock.serve.wire.heads import RequestHead, answer_head, clean_request_id, request_head
from penstock.serve.wire.requests import ApiRequest, json_object, read_json, read_multipart, upstream_body
from penstock.serve.wire.responses import EofBody, ResponseError, ResponseHead, parse_head
from penstock.serve.wire.routes import LOCAL_PATHS, ROUTES, Dialect, Route

__all__ = ["Dispatch", "Exchange", "Phase", "Reply"]

Phase = Literal["receiving", "waiting", "relaying", "resuming", "collecting", "over"]

RETRIES_MAX = 2
"""Further endpoints that are tried when one fails before its first byte."""
ERROR_BYTES_MAX = 262_144
"""Bytes of an engine's error body that are kept."""
HELD_BYTES_MAX = 1 << 20
"""Length of a plain answer up to which it is held until it is whole, and asked for again where it breaks off."""
REQUESTED_MODEL_CHARS_MAX = 200
"""Characters kept of a model's name as the client sent it."""
_RETRIED_STATUSES = frozenset({502, 503, 504})
_STREAM_HEADERS = b"cache-control: no-cache\r\nx-accel-buffering: no\r\n"


class Exchange:
    """The life of one request. Owned by the client connection that it came on."""

    __slots__ = (
        "_answer",
        "_body_bytes",
        "_caller",
        "_collected",
        "_core",
        "_decision",
        "_error_head",
        "_held",
        "_model",
        "_request",
        "_route",
        "_started_at",
        "_stuck",
        "_told",
        "_tried_ids",
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

    def __init__(self, core: Core, head: RequestHead, now: float) -> None:
        self._core = core
        self.config: GatewayConfig = core.config  # a reload does not change a request under way
        self.head = head
        self.phase: Phase = "receiving"
        self.request_id = clean_request_id(head.request_id) or core.new_request_id()
        self.record = RequestRecord(now + core.unix_offset_s, self.request_id.decode(), "other")
        self.is_client_kept = head.is_keep_alive
        self.is_upstream_kept = False
        self.endpoint: Endpoint | None = None
        self.last_progress_at = now
        self._started_at = now
        self._route: Route | None = None
        self._caller: Caller = ANONYMOUS
        self._request: ApiRequest | None = None
        self._model = ""
        self._body_bytes = b""
        self._decision: Decision | None = None
        self._tried_ids: tuple[str, ...] = ()
        self._answer: Answer | None = None
        self._error_head: ResponseHead | None = None
        self._collected = b""
        self._held: bytes | None = None  # of a plain answer that is not whole yet; nothing of it was sent
        self._stuck = 0  # resumes in a row that brought nothing
        self._told = 0  # characters that the client had at the last one
        core.in_flight += 1

    # ------------------------------------------------------------------ the client's side

    def check_head(self, now: float) -> Reply | None:
        """The head is complete: refuses now what needs no body to be refused. None when the body should be read."""
        head = self.head
        self._route = route = ROUTES.get(head.path)
        if route is not None or head.path in LOCAL_PATHS:
            self.record.route = head.path
        caller, failure = examine(self._core, self.config, head, route)
        if caller is not None:
            self._caller = caller
            self.record.tenant, self.record.key = caller.tenant, caller.key
        self.is_client_kept = self.is_client_kept and not self._core.is_draining
        return None if failure is None else self.refuse(failure, now)

    def request(self, body: bytes, now: float) -> Reply | Dispatch:
        """The request is complete: answers it, or says where it goes."""
        self.record.bytes_in = len(body)
        self.last_progress_at = now
        route = self._route
        if route is None:
            answer = local_answer(self._core, self.head.path, self._caller)
            return (
                self.refuse(answer, now) if isinstance(answer, Failure) else self._reply(200, answer, now, ("ok", ""))
            )
        if route.body == "json":
            request = read_json(route, body)
        else:
            request = read_multipart(body, self.head.content_type.decode("latin-1"))
        if isinstance(request, Failure):
            return self.refuse(request, now)
        record = self.record
        record.requested_model, record.is_stream = request.model[:REQUESTED_MODEL_CHARS_MAX], request.is_stream
        model = self.config.names.get(request.model)
        if model is None or not self._caller.may_call(model.name):
            return self.refuse(unknown_model(self._core, request.model, self._caller), now)
        record.model = self._model = model.name
        self._request = request
        pool = self._core.endpoints.pools.get(model.name)
        has_others = pool is not None and len(pool.endpoints) > 1
        seed = self._core.new_seed() if has_others and needs_seed(route, request) else None
        self._body_bytes = upstream_body(route, request, body, model.engine_name(request.model), seed)
        request.fields = None  # the parsed body is not needed again; a stream may live for minutes
        return self._dispatch("", now)

    def client_lost(self, now: float) -> None:
        """The client is gone: the edge cuts the endpoint's connection, which makes the engine stop."""
        if self._answer is not None:
            self._note_answer(self._answer)
        if self.phase != "over":
            self._over(now, "cancelled", "client_disconnected")

    def refuse(self, failure: Failure, now: float) -> Reply:
        """Ends the exchange with an error answer. Only while nothing has been sent."""
        extra = b""
        if self.phase == "receiving" and self.head.closes_if_refused:
            self.is_client_kept = False
        if failure.retry_after_s is not None:
            extra = b"retry-after: %d\r\n" % failure.retry_after_s
        if failure.allow is not None:
            extra += b"allow: %b\r\n" % failure.allow.encode()
        if failure.status == 401:
            extra += b"www-authenticate: Bearer\r\n"
        body = error_body(failure, self._dialect)
        return self._reply(failure.status, body, now, (failure.outcome, failure.code), extra)

    # ------------------------------------------------------------------ the endpoint's side

    def upstream_data(self, data: bytes, now: float) -> bytes | Reply | Dispatch | None:
        """A read from the endpoint."""
        answer = self._answer
        if answer is not None and answer.is_plain and answer.takes(data):
            self.last_progress_at = now
            return data
        try:
            if answer is not None and self.phase == "relaying":
                return self._relay(answer, data, now)
            self.last_progress_at = now
            if self.phase in ("waiting", "resuming"):
                return self._read_head(data, now)
            if self.phase == "collecting" and self._error_head is not None:
                return self._collect(self._error_head, data, now)
        except ResponseError as error:
            return self.upstream_lost(str(error), now)
        except DivergedError as error:
            return self._cut(f"could not go on with it: {error}", now, code="replay_diverged")
        return None

    def upstream_lost(
        self, reason: str, now: float, *, was_reused: bool = False, is_end: bool = False
    ) -> bytes | Reply | Dispatch | None:
        """The endpoint's connection could not be made, ended, or broke HTTP.

        `was_reused`: it had served before, so an end before the first byte is no failure, only an idle connection that
        was closed; the request goes there again. `is_end`: closed in order, as an answer without a length ends.
        """
        answer, endpoint, error_head = self._answer, self.endpoint, self._error_head
        if self.phase == "over" or endpoint is None:
            return None
        if self.phase in ("waiting", "resuming"):
            if was_reused and not self._collected:
                return Dispatch(endpoint, self._upstream_request(endpoint), is_fresh=True)
            self._core.endpoints.failed(endpoint, reason, now)
            return self._dispatch(reason, now) if self.phase == "waiting" else self._resume(reason, now)
        if answer is not None and answer.is_whole(is_end=is_end):
            out = answer.end()
            self._finish_relay(answer, now)
            return out
        if error_head is not None and is_end and isinstance(error_head.body, EofBody):
            return self._finish_collect(error_head, now)
        if error_head is not None:
            self._core.endpoints.failed(endpoint, reason, now)
            return self.refuse(no_endpoint(self._model, f"{endpoint.id} {reason}", 1), now)
        return self._go_elsewhere(reason, now)

    def is_late(self, now: float) -> str:
        """What the endpoint took too long for, in a word; empty when it is in time."""
        timeouts = self.config.timeouts
        quiet_s = now - self.last_progress_at
        if self.phase in ("waiting", "resuming") and quiet_s > timeouts.first_byte_s:
            return "first_byte_timeout"
        if self.phase in ("relaying", "collecting") and quiet_s > timeouts.read_s:
            return "read_timeout"
        return "stalled" if self._is_stalled(now, quiet_s) else ""

    def _is_stalled(self, now: float, quiet_s: float) -> bool:
        """Whether the endpoint makes no progress while another could."""
        endpoint, answer = self.endpoint, self._answer
        if endpoint is None or self.phase not in ("waiting", "resuming", "relaying") or self._held is not None:
            return False
        flows = answer if self.phase == "relaying" and answer is not None and answer.has_begun else None
        if flows is not None:
            flows.settle(KEPT_BYTES_MAX)
            endpoint.progress_at = max(endpoint.progress_at, self.last_progress_at)
        first_at = self._started_at + self.record.ttft_ms / 1e3
        if not has_stalled(endpoint, flows, first_at, self.last_progress_at, now):
            return False
        return self._has_alternative(now, self._tried_ids[-1:] if self.phase == "relaying" else self._tried_ids)

    def timed_out(self, reason: str, now: float) -> bytes | Reply | Dispatch | None:
        """The endpoint is late (`is_late`): somewhere else, or 504, or an SSE error event once the answer has begun."""
        endpoint = self.endpoint
        if reason == "stalled" and endpoint is not None:
            if now - endpoint.progress_at >= FLOOR_S:
                self._core.endpoints.stalled(endpoint, now)
            if self.phase == "waiting":
                return self._dispatch("made no progress", now)
            return self._go_elsewhere("made no progress", now, outcome="timeout", counts=False)
        if self._held is None and self.phase in ("relaying", "resuming"):
            return self._go_elsewhere(f"was silent for {now - self.last_progress_at:.0f} s", now, outcome="timeout")
        timeouts = self.config.timeouts
        limit_s = timeouts.first_byte_s if reason == "first_byte_timeout" else timeouts.read_s
        message = f"The engine of '{self._model}' sent nothing for {limit_s:g} s."
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

    # ------------------------------------------------------------------ dispatch

    def _dispatch(self, tried: str, now: float) -> Reply | Dispatch:
        """Sends the request to an endpoint that has not failed it yet; refuses when there is none."""
        endpoint = self._next_endpoint(now)
        if endpoint is None:
            words = f"{self._tried_ids[-1]} {tried}" if tried else ""
            return self.refuse(no_endpoint(self._model, words, 2), now)
        self.record.retries += bool(tried)
        self.record.queue_ms = (now - self._started_at) * 1e3
        self._answer = self._held = None
        self.phase = "waiting"
        return Dispatch(endpoint, self._upstream_request(endpoint))

    def _next_endpoint(self, now: float) -> Endpoint | None:
        """Takes an endpoint that has not failed this request yet; None when there is none."""
        self._release()
        core = self._core
        pool = core.endpoints.pools.get(self._model)
        candidates = pool.candidates(now) if pool is not None else []
        if self._tried_ids:
            candidates = [e for e in candidates if e.id not in self._tried_ids]
        if not candidates or len(self._tried_ids) > RETRIES_MAX:
            return None
        decision = core.policy.choose(candidates, UNKNOWN_NEED, now=now, explains=self.head.wants_explanation)
        endpoint = decision.endpoint
        endpoint.in_flight += 1
        endpoint.dispatched_total += 1
        self._decision, self.endpoint = decision, endpoint
        self.record.endpoint = endpoint.id
        self._tried_ids = (*self._tried_ids, endpoint.id)
        self._error_head = None
        self._collected = b""
        self.last_progress_at = now
        return endpoint

    # ------------------------------------------------------------------ going on elsewhere

    def _go_elsewhere(
        self,
        reason: str,
        now: float,
        outcome: Outcome = "upstream_error",
        *,
        counts: bool = True,
        first: bytes = b"",
    ) -> bytes | Reply | Dispatch | None:
        """The endpoint is lost after its answer began: resumes the stream at another, or ends it honestly. `first`
        goes to the client before that."""
        answer, endpoint = self._answer, self.endpoint
        if counts and endpoint is not None:
            self._core.endpoints.failed(endpoint, reason, now)
        if self._held is not None:
            return self._dispatch(reason, now)
        if answer is None:
            return None
        if self.phase == "resuming":
            return self._resume(reason, now)
        if self._course(answer) == "replay" and self._has_alternative(now, self._tried_ids[-1:]):
            self._tried_ids = self._tried_ids[-1:]
            self.record.resumes += 1
            resumed = self._resume(reason, now)
            if isinstance(resumed, Dispatch):
                resumed.first = first
            return resumed
        if answer.fault and not answer.is_replay:
            out = first + answer.let_fault_pass()
            if answer.is_done:
                self._finish_relay(answer, now)
            return out
        return first + (self._cut(reason, now, outcome) or b"")

    def _course(self, answer: Answer) -> str:
        """What the table says of this loss."""
        delivered = answer.settle()
        self._stuck = self._stuck + 1 if self.record.resumes and delivered.chars == self._told else 0
        self._told = delivered.chars
        loss = Loss(
            path=self.head.path,
            request=json_object(self._body_bytes),
            is_stream=answer.is_stream,
            has_text=delivered.has_text,
            is_readable=delivered.is_readable,
            resumes=self.record.resumes,
            stuck=self._stuck,
        )
        return choose(loss).course

    def _resume(self, reason: str, now: float) -> bytes | Dispatch | None:
        """Sends the request of a stream under way to an endpoint that has not failed it since its last word."""
        lost_id = self.endpoint.id if self.endpoint is not None else ""
        endpoint = self._next_endpoint(now)
        if endpoint is None or self._answer is None:
            return self._cut(reason, now, endpoint_id=lost_id)
        self.phase = "resuming"
        self._answer.suspend()
        return Dispatch(endpoint, self._upstream_request(endpoint))

    def _resume_answer(self, head: ResponseHead, rest: bytes, now: float) -> bytes | Reply | Dispatch | None:
        """Another endpoint answers the request of a stream under way."""
        before, endpoint = self._answer, self.endpoint
        if before is None or endpoint is None:
            return None
        if head.status != 200 or not head.content_type.startswith(b"text/event-stream"):
            endpoint.last_error = f"answered {head.status}"
            return self._resume(f"answered {head.status}", now)
        self.phase = "relaying"
        self._answer = answer = self._make_answer(head, before)
        return self._relay(answer, rest, now) if rest or head.body.is_done else b""

    def _upstream_request(self, endpoint: Endpoint) -> tuple[bytes, bytes]:
        route = self._route
        if route is None:
            raise AssertionError("a request without a route is never dispatched")
        head = request_head(
            route.upstream_path,
            endpoint.authority,
            content_type=self.head.content_type,
            content_length=len(self._body_bytes),
            request_id=self.request_id,
            forwarded=self.head.forwarded,
        )
        return head, self._body_bytes

    def _release(self) -> None:
        if self.endpoint is not None:
            self.endpoint.in_flight -= 1
            self.endpoint = None

    # ------------------------------------------------------------------ the answer

    def _read_head(self, data: bytes, now: float) -> bytes | Reply | Dispatch | None:
        if self._collected:
            data = self._collected + data
        head = parse_head(data)
        if head is None:
            self._collected = data
            return None
        endpoint = self.endpoint
        if endpoint is None:
            return None
        if 300 <= head.status < 400:
            raise ResponseError(f"answered {head.status}, which sends the request elsewhere")
        self._collected = b""
        rest = data[head.size :] if len(data) > head.size else b""
        if self.phase == "resuming":
            return self._resume_answer(head, rest, now)
        if head.status in _RETRIED_STATUSES and self._has_alternative(now):
            endpoint.last_error = f"answered {head.status}"
            return self._dispatch(f"answered {head.status}", now)
        if head.status >= 400:
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
        is_news = endpoint.health != "ready" or endpoint.consecutive_failures
        if is_news and not endpoint.is_stalled and self.endpoint is endpoint:
            self._core.endpoints.succeeded(endpoint)
        return out

    def _has_alternative(self, now: float, tried_ids: tuple[str, ...] | None = None) -> bool:
        tried_ids = self._tried_ids if tried_ids is None else tried_ids
        pool = self._core.endpoints.pools.get(self._model)
        if pool is None or len(tried_ids) > RETRIES_MAX:
            return False
        return any(e.id not in tried_ids for e in pool.candidates(now))

    def _begin_answer(self, head: ResponseHead) -> tuple[bytes, Answer]:
        """Settles how the answer is framed for this client and makes its head."""
        self._answer = answer = self._make_answer(head)
        if answer.framing == "eof":
            self.is_client_kept = False
        extra = head.passed
        if answer.is_stream and b"cache-control" not in extra:
            extra += _STREAM_HEADERS
        if self.head.wants_explanation:
            extra += explanation(self._decision, self.record, self._model)
        begun = answer_head(
            head.status,
            date=self._core.date,
            content_type=head.content_type,
            request_id=self.request_id,
            content_length=head.content_length if answer.framing == "counted" else -1,
            is_chunked=answer.framing == "chunked",
            is_keep_alive=self.is_client_kept,
            extra=extra,
        )
        return begun, answer

    def _make_answer(self, head: ResponseHead, before: Answer | None = None) -> Answer:
        request, route = self._request, self._route
        if request is None or route is None:
            raise AssertionError("an answer belongs to a request that was dispatched")
        return Answer(
            head,
            dialect=route.dialect,
            is_http_1_0=self.head.is_http_1_0,
            strips_usage=route.has_stream_options and not request.wants_usage,
            has_last_event=route.has_stream_options or route.dialect == "anthropic",
            ends_in_choices=route.has_stream_options,
            before=before,
        )

    def _relay(self, answer: Answer, data: bytes, now: float, first: bytes = b"") -> bytes | Reply | Dispatch | None:
        """A read that `Answer.takes` did not settle. `first` goes to the client before what comes of it."""
        out = first + answer.feed(data)
        if answer.is_progress:
            self.last_progress_at = now
        if self.record.ttft_ms < 0 and answer.has_begun:
            self.record.ttft_ms = (now - self._started_at) * 1e3
        if answer.has_begun and self.endpoint is not None and self.endpoint.is_stalled:
            self._core.endpoints.succeeded(self.endpoint)
        if answer.fault:
            return self._go_elsewhere(answer.fault, now, first=out)
        if answer.is_done:
            self._finish_relay(answer, now)
        if self._held is not None:
            self._held += out
            return self._held if answer.is_done else b""
        return out

    def _finish_relay(self, answer: Answer, now: float) -> None:
        """The answer is complete: what it said at its end is read."""
        self._note_answer(answer)
        self.is_upstream_kept = answer.leaves_connection_usable
        endpoint, record = self.endpoint, self.record
        self._over(now, *answer.ending)
        if endpoint is not None and not record.resumes and (tpot_ms := record.tpot_ms) > 0:
            endpoint.itl_s = learned_itl_s(endpoint.itl_s, tpot_ms / 1e3)

    def _note_answer(self, answer: Answer) -> None:
        record, usage = self.record, answer.usage
        record.bytes_out = answer.payload_bytes
        if usage is not None:
            record.prompt_tokens, record.output_tokens, record.cached_tokens = usage

    def _collect(self, head: ResponseHead, data: bytes, now: float) -> Reply | Dispatch | None:
        """A read of an engine's error answer, which is sent on whole."""
        self._error_head = head
        if data:
            self._collected += head.body.feed(data)
        is_enough = head.body.is_done or len(self._collected) > ERROR_BYTES_MAX
        return self._finish_collect(head, now) if is_enough else None

    def _finish_collect(self, head: ResponseHead, now: float) -> Reply | Dispatch:
        """The engine's error answer is whole: sends it on in the one shape, unless it is the engine that is at its end
        and another may answer."""
        endpoint = self.endpoint
        if endpoint is not None and ENGINE_DIED.search(self._collected) and self._has_alternative(now):
            self._core.endpoints.failed(endpoint, f"answered {head.status}", now)
            return self._dispatch(f"answered {head.status}", now)
        self.record.status = head.status
        self.is_upstream_kept = head.is_keep_alive and head.body.is_done and not head.body.is_overrun
        if self.endpoint is not None:
            self._core.endpoints.succeeded(self.endpoint)
        body = normalise_engine_error(head.status, self._collected, self._dialect)
        outcome: Outcome = "client_error" if head.status < 500 else "upstream_error"
        if head.status == 429:
            outcome = "limited"
        return self._reply(head.status, body, now, (outcome, f"engine_{head.status}"), head.passed)

    def _cut(
        self,
        reason: str,
        now: float,
        outcome: Outcome = "upstream_error",
        *,
        code: str = "stream_interrupted",
        endpoint_id: str = "",
    ) -> bytes | None:
        """The answer can't be finished after it began: an SSE error event, or a connection cut where there is no
        honest way to say it."""
        answer = self._answer
        if answer is None:
            return None
        self._note_answer(answer)
        if self.endpoint is not None:
            endpoint_id = self.endpoint.id
        out = answer.cut(code, f"The stream ended early: endpoint {endpoint_id} {reason}.", outcome)
        if out is None:
            self.is_client_kept = False
        self._over(now, outcome, "answer_cut" if out is None else code)
        return out

    # ------------------------------------------------------------------ the end

    @property
    def _dialect(self) -> Dialect:
        return self._route.dialect if self._route is not None else "openai"

    def _reply(self, status: int, body: bytes, now: float, ended: tuple[Outcome, str], extra: bytes = b"") -> Reply:
        head = answer_head(
            status,
            date=self._core.date,
            content_type=b"application/json",
            request_id=self.request_id,
            content_length=len(body),
            is_chunked=False,
            is_keep_alive=self.is_client_kept,
            extra=extra,
        )
        self.record.status = status
        self.record.bytes_out = len(body)
        self._over(now, *ended)
        return Reply(head if self.head.method == "HEAD" else head + body)

    def _over(self, now: float, outcome: Outcome, reason: str) -> None:
        self._release()
        self._answer = None
        self.phase = "over"
        self._core.in_flight -= 1
        record = self.record
        record.outcome, record.reason = outcome, reason
        record.total_ms = (now - self._started_at) * 1e3
