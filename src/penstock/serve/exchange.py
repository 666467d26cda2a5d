"""One client request from first byte in to last byte out, as a pure state machine.

Events come in as method calls with `now`; each returns the command for the edge: bytes for the client, a `Reply` (a
whole answer), a `Dispatch` (send this to that endpoint), or nothing. The edge performs it and reports what happens.

    RECEIVING ── request ──▶ WAITING ── head ──▶ RELAYING ── body ends ──▶ OVER
        │                     │  ▲ │  ▲            │ endpoint lost: SSE error event, or the connection is cut
        │ refused             │  └─┘  └ retry      ▼
        └───────▶ OVER ◀──────┘ no endpoint left  OVER          (engine error: COLLECTING its body, then OVER)

There is one event per read from the endpoint, not per token, and nothing is parsed per token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from penstock.serve.answer import Answer
from penstock.serve.config import ANONYMOUS, Caller, GatewayConfig
from penstock.serve.core import Core
from penstock.serve.local import (
    bad_key,
    local_answer,
    no_endpoint,
    not_allowed,
    too_large,
    unknown_model,
    unknown_path,
)
from penstock.serve.record import Outcome, RequestRecord
from penstock.serve.routing import Decision, Endpoint
from penstock.serve.wire.errors import Failure, error_body, normalise_engine_error
from penstock.serve.wire.heads import RequestHead, answer_head, clean_request_id, request_head
from penstock.serve.wire.requests import ApiRequest, read_json, read_multipart, upstream_body
from penstock.serve.wire.responses import EofBody, ResponseError, ResponseHead, parse_head
from penstock.serve.wire.routes import LOCAL_PATHS, ROUTES, Dialect, Route

__all__ = ["Dispatch", "Exchange", "Phase", "Reply"]

Phase = Literal["receiving", "waiting", "relaying", "collecting", "over"]

RETRIES_MAX = 2
"""Further endpoints that are tried when one fails before its first byte."""
ERROR_BYTES_MAX = 262_144
"""Bytes of an engine's error body that are kept."""
REQUESTED_MODEL_CHARS_MAX = 200
"""Characters kept of a model's name as the client sent it."""
_RETRIED_STATUSES = frozenset({502, 503, 504})
_STREAM_HEADERS = b"cache-control: no-cache\r\nx-accel-buffering: no\r\n"


@dataclass(slots=True)
class Reply:
    """Send this whole answer to the client; the exchange is over."""

    data: bytes


@dataclass(slots=True)
class Dispatch:
    """Send this request to that endpoint, on a connection of its own if `is_fresh`."""

    endpoint: Endpoint
    data: tuple[bytes, bytes]
    """Head and body."""
    is_fresh: bool = False


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
        "_model",
        "_request",
        "_route",
        "_started_at",
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
        core.in_flight += 1

    # ------------------------------------------------------------------ the client's side

    def check_head(self, now: float) -> Reply | None:
        """The head is complete: refuses now what needs no body to be refused. None when the body should be read."""
        head = self.head
        route = ROUTES.get(head.path)
        self._route = route
        is_local = route is None and (head.path in LOCAL_PATHS or head.path.startswith("/v1/models/"))
        if route is not None or head.path in LOCAL_PATHS:
            self.record.route = head.path
        if is_local and head.path in ("/health", "/ping"):
            return self._only_get(now)
        caller = self.config.caller_of(head.key) if head.key else None
        if caller is None:
            if not self.config.is_anonymous_served:
                return self.refuse(bad_key(head.key), now)
            caller = ANONYMOUS
        self._caller = caller
        self.record.tenant, self.record.key = caller.tenant, caller.key
        if route is None:
            if not is_local:
                return self.refuse(unknown_path(head.method, head.path), now)
            return self._only_get(now)
        if head.method != "POST":
            return self.refuse(not_allowed(head.method, head.path, "POST"), now)
        if head.content_length > self.config.limits.body_bytes_max:
            return self.refuse(too_large(self.config.limits.body_bytes_max), now)
        return self._overload(now)

    def _only_get(self, now: float) -> Reply | None:
        method, path = self.head.method, self.head.path
        return None if method in ("GET", "HEAD") else self.refuse(not_allowed(method, path, "GET, HEAD"), now)

    def _overload(self, now: float) -> Reply | None:
        if self._core.is_draining:
            failure = Failure(
                status=503,
                code="shutting_down",
                message="This gateway is shutting down.",
                outcome="shed",
                retry_after_s=1,
            )
            self.is_client_kept = False
            return self.refuse(failure, now)
        if self._core.in_flight > self.config.limits.in_flight_max:
            message = f"This gateway has {self.config.limits.in_flight_max} requests in flight, its limit."
            return self.refuse(
                Failure(status=503, code="overloaded", message=message, outcome="shed", retry_after_s=1), now
            )
        return None

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
        self._body_bytes = upstream_body(route, request, body, model.engine_name(request.model))
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
        self.last_progress_at = now
        answer = self._answer
        if answer is not None and answer.is_plain and answer.takes(data):
            return data
        try:
            if answer is not None and self.phase == "relaying":
                return self._relay(answer, data, now)
            if self.phase == "waiting":
                return self._read_head(data, now)
            if self.phase == "collecting" and self._error_head is not None:
                return self._collect(self._error_head, data, now)
        except ResponseError as error:
            return self.upstream_lost(str(error), now)
        return None

    def upstream_lost(
        self, reason: str, now: float, *, was_reused: bool = False, is_end: bool = False
    ) -> bytes | Reply | Dispatch | None:
        """The endpoint's connection could not be made, ended, or broke HTTP.

        `was_reused` says that the connection had served before: then an end before the first byte is no failure of the
        endpoint, only an idle connection that it had closed; the request goes there again on a fresh one. `is_end`
        says that the endpoint closed it in order, which is how an answer without a length ends.
        """
        answer, endpoint, error_head = self._answer, self.endpoint, self._error_head
        if self.phase == "over" or endpoint is None:
            return None
        if self.phase == "waiting":
            if was_reused and not self._collected:
                return Dispatch(endpoint, self._upstream_request(endpoint), is_fresh=True)
            self._core.endpoints.failed(endpoint, reason, now)
            return self._dispatch(reason, now)
        if answer is not None and answer.is_whole(is_end=is_end):
            out = answer.end()
            self._finish_relay(answer, now)
            return out
        if error_head is not None and is_end and isinstance(error_head.body, EofBody):
            return self._finish_collect(error_head, now)
        self._core.endpoints.failed(endpoint, reason, now)
        if error_head is not None:
            return self.refuse(no_endpoint(self._model, f"{endpoint.id} {reason}", 1), now)
        return self._cut(reason, now)

    def is_late(self, now: float) -> str:
        """What the endpoint took too long for, in a word; empty when it is in time."""
        timeouts = self.config.timeouts
        quiet_s = now - self.last_progress_at
        if self.phase == "waiting" and quiet_s > timeouts.first_byte_s:
            return "first_byte_timeout"
        return "read_timeout" if self.phase in ("relaying", "collecting") and quiet_s > timeouts.read_s else ""

    def timed_out(self, reason: str, now: float) -> bytes | Reply | None:
        """The endpoint is late (`is_late`): 504, or an SSE error event once the answer has begun."""
        if self.phase == "relaying":
            return self._cut(reason, now, outcome="timeout")
        timeouts = self.config.timeouts
        limit_s = timeouts.first_byte_s if reason == "first_byte_timeout" else timeouts.read_s
        message = f"The engine of '{self._model}' sent nothing for {limit_s:g} s."
        return self.refuse(Failure(status=504, code=reason, message=message, outcome="timeout"), now)

    def shut_down(self, now: float) -> bytes | Reply | None:
        """The gateway ends before the answer does: an honest end for a stream, 503 for what has not begun."""
        if self.phase == "relaying":
            return self._cut("was still answering when the gateway shut down", now, outcome="shed")
        message = "This gateway shut down before the answer was ready. Send the request again."
        return self.refuse(
            Failure(status=503, code="shutting_down", message=message, outcome="shed", retry_after_s=1), now
        )

    def probe(self) -> bytes:
        """Bytes that mean nothing to a client: they show whether it is still there after it sent FIN."""
        if self.phase == "waiting" and not self.head.is_http_1_0:
            return b"HTTP/1.1 100 Continue\r\n\r\n"
        return self._answer.probe() if self.phase == "relaying" and self._answer is not None else b""

    # ------------------------------------------------------------------ dispatch

    def _dispatch(self, tried: str, now: float) -> Reply | Dispatch:
        """Chooses an endpoint that has not failed this request yet; refuses when there is none."""
        self._release()
        core, record = self._core, self.record
        if tried:
            record.retries += 1
        pool = core.endpoints.pools.get(self._model)
        candidates = pool.candidates(now) if pool is not None else []
        if self._tried_ids:
            candidates = [e for e in candidates if e.id not in self._tried_ids]
        if not candidates or len(self._tried_ids) > RETRIES_MAX:
            record.retries -= bool(tried)
            words = f"{self._tried_ids[-1]} {tried}" if tried else ""
            return self.refuse(no_endpoint(self._model, words, 2), now)
        decision = core.policy.choose(candidates, now=now, explains=self.head.wants_explanation)
        endpoint = decision.endpoint
        endpoint.in_flight += 1
        endpoint.dispatched_total += 1
        self._decision, self.endpoint = decision, endpoint
        record.endpoint = endpoint.id
        record.queue_ms = (now - self._started_at) * 1e3
        self._tried_ids = (*self._tried_ids, endpoint.id)
        self._answer = self._error_head = None
        self._collected = b""
        self.phase = "waiting"
        self.last_progress_at = now
        return Dispatch(endpoint, self._upstream_request(endpoint))

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
        endpoint, core = self.endpoint, self._core
        if endpoint is None:
            return None
        if 300 <= head.status < 400:
            raise ResponseError(f"answered {head.status}, which sends the request elsewhere")
        self._collected = b""
        if head.status in _RETRIED_STATUSES and self._has_alternative(now):
            endpoint.last_error = f"answered {head.status}"
            return self._dispatch(f"answered {head.status}", now)
        rest = data[head.size :] if len(data) > head.size else b""
        if head.status >= 400:
            self.phase = "collecting"
            return self._collect(head, rest, now)
        self.phase = "relaying"
        begun, answer = self._begin_answer(head)
        try:
            out = begun + self._relay(answer, rest, now) if rest or head.body.is_done else begun
        except ResponseError:
            self.phase, self._answer = "waiting", None  # nothing was sent yet: another endpoint may answer
            raise
        self.record.status = head.status
        if endpoint.health != "ready" or endpoint.consecutive_failures:
            core.endpoints.succeeded(endpoint)
        return out

    def _has_alternative(self, now: float) -> bool:
        pool = self._core.endpoints.pools.get(self._model)
        if pool is None or len(self._tried_ids) > RETRIES_MAX:
            return False
        return any(e.id not in self._tried_ids for e in pool.candidates(now))

    def _begin_answer(self, head: ResponseHead) -> tuple[bytes, Answer]:
        """Settles how the answer is framed for this client and makes its head."""
        request, route = self._request, self._route
        if request is None or route is None:
            raise AssertionError("an answer belongs to a request that was dispatched")
        self._answer = answer = Answer(
            head,
            dialect=route.dialect,
            is_http_1_0=self.head.is_http_1_0,
            strips_usage=route.has_stream_options and not request.wants_usage,
            has_last_event=route.has_stream_options or route.dialect == "anthropic",
        )
        if answer.framing == "eof":
            self.is_client_kept = False
        extra = head.passed
        if answer.is_stream and b"cache-control" not in extra:
            extra += _STREAM_HEADERS
        if self.head.wants_explanation:
            extra += self._explanation()
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

    def _explanation(self) -> bytes:
        decision = self._decision
        if decision is None:
            return b""
        scores = ",".join(f"{name}={score:g}" for name, score in decision.scores)
        return (
            f"x-penstock-model: {self._model}\r\nx-penstock-endpoint: {decision.endpoint.id}\r\n"
            f"x-penstock-policy: {decision.policy}\r\nx-penstock-scores: {scores}\r\n"
            f"x-penstock-tenant: {self._caller.tenant}\r\nx-penstock-retries: {self.record.retries}\r\n"
        ).encode()

    def _relay(self, answer: Answer, data: bytes, now: float) -> bytes:
        """A read that `Answer.takes` did not settle."""
        out = answer.feed(data)
        if self.record.ttft_ms < 0 and answer.has_begun:
            self.record.ttft_ms = (now - self._started_at) * 1e3
        if answer.is_done:
            self._finish_relay(answer, now)
        return out

    def _finish_relay(self, answer: Answer, now: float) -> None:
        """The answer is complete: what it said at its end is read."""
        self._note_answer(answer)
        self.is_upstream_kept = answer.leaves_connection_usable
        self._over(now, *answer.ending)

    def _note_answer(self, answer: Answer) -> None:
        record, usage = self.record, answer.usage
        record.bytes_out = answer.payload_bytes
        if usage is not None:
            record.prompt_tokens, record.output_tokens, record.cached_tokens = usage

    def _collect(self, head: ResponseHead, data: bytes, now: float) -> Reply | None:
        """A read of an engine's error answer, which is sent on whole."""
        self._error_head = head
        if data:
            self._collected += head.body.feed(data)
        is_enough = head.body.is_done or len(self._collected) > ERROR_BYTES_MAX
        return self._finish_collect(head, now) if is_enough else None

    def _finish_collect(self, head: ResponseHead, now: float) -> Reply:
        """The engine's error answer is whole: sends it on in the one shape."""
        self.record.status = head.status
        self.is_upstream_kept = head.is_keep_alive and head.body.is_done and not head.body.is_overrun
        if self.endpoint is not None:
            self._core.endpoints.succeeded(self.endpoint)
        body = normalise_engine_error(head.status, self._collected, self._dialect)
        outcome: Outcome = "client_error" if head.status < 500 else "upstream_error"
        if head.status == 429:
            outcome = "limited"
        return self._reply(head.status, body, now, (outcome, f"engine_{head.status}"), head.passed)

    def _cut(self, reason: str, now: float, outcome: Outcome = "upstream_error") -> bytes | None:
        """The endpoint is lost after the answer began: an SSE error event, or a connection cut where there is no
        honest way to say it."""
        answer = self._answer
        if answer is None:
            return None
        self._note_answer(answer)
        endpoint_id = self.endpoint.id if self.endpoint is not None else ""
        out = answer.cut("stream_interrupted", f"The stream ended early: endpoint {endpoint_id} {reason}.", outcome)
        if out is None:
            self.is_client_kept = False
        self._over(now, outcome, "answer_cut" if out is None else "stream_interrupted")
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
