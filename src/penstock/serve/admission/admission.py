"""One request on its way from its body to an endpoint, and what it holds until it is over. Pure.

    body ─▶ model ─▶ prompt ─▶ bounds ─▶ limits ─▶ queue ─▶ endpoint
              ▲         └ counted └ asked   └ waits
              └ a rule or a fallback may say another model

A step returns a `Failure` (refuse), an `Endpoint` (send it there) or None (wait): then `proceed` is called with what
was waited for. Guarantees: what was reserved is settled once and what was queued leaves the queue, whatever way the
request ends; a fallback is never silent (`headers` says which model answers), and no model is tried twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, inf
from typing import Any, Literal

from penstock.serve.admission.bounds import needs_count, shape_request
from penstock.serve.admission.dialects import OWN_WAYS
from penstock.serve.admission.fallbacks import Needs, ProviderCall, TlsHost, Why, call_provider, next_fallback
from penstock.serve.admission.prompt import Prompt, read_prompt
from penstock.serve.admission.rules import Asked, wants_json
from penstock.serve.admission.taking import Step, Taking, Then
from penstock.serve.admission.tokens import NARROW_PRIOR
from penstock.serve.commands import Copy
from penstock.serve.config import FREE, GatewayConfig, ServedModel
from penstock.serve.core import Core
from penstock.serve.deadline import DEADLINE_HEADERS, NO_DEADLINE, deadline_of
from penstock.serve.failover import needs_seed, wants_ids
from penstock.serve.flow import Ask, Reservation, Ticket, Usage, Verdict
from penstock.serve.flow.limit_words import limit_failure, ratelimit_headers
from penstock.serve.flow.scopes import affordable
from penstock.serve.gate import examine
from penstock.serve.local import no_endpoint, unknown_model
from penstock.serve.record import RequestRecord
from penstock.serve.routing import Decision, Endpoint, Need
from penstock.serve.routing.blocks import block_tokens_of, blocks_of
from penstock.serve.shelf import Found
from penstock.serve.wire.errors import Failure
from penstock.serve.wire.heads import RequestHead, request_head
from penstock.serve.wire.messages import CHAT_PATHS, to_chat
from penstock.serve.wire.requests import ApiRequest, json_object, read_json, read_multipart, upstream_body
from penstock.serve.wire.routes import LOCAL_PATHS, ROUTES, Route
from penstock.spec import TrafficClass

__all__ = ["Admission", "Step", "Then"]

RETRIES_MAX = 2
"""Further endpoints that are tried when one fails before its first byte."""
LATER_S = 60
"""`Retry-After` where there is no endpoint and nobody brings one: until a person has looked."""
WAITS_MAX = 2
"""Times that a request goes back into the queue after its endpoints failed it: one that kills engines stops there."""
REQUESTED_MODEL_CHARS_MAX = 200
"""Characters kept of a model's name as the client sent it."""
_NOTHING_RAN = Usage(has_run=False)
_NO_EDITS: Mapping[str, Any] = {}
_COUNTS = frozenset({"/v1/messages/count_tokens", "/tokenize", "/v1/tokenize", "/detokenize", "/v1/detokenize"})
"""Paths that ask how long a prompt is: it may be of any length, and nothing is written."""
_NO_HEADERS: Mapping[bytes, bytes] = {}
_NEEDS = {"/v1/messages": "chat", "/v1/messages/count_tokens": "tokenize"}
"""What a fallback must serve instead, as these can be translated to it."""
_SHED_OUTCOMES = {"no_endpoint": "upstream_error", "deadline": "timeout"}


class Admission(Taking):
    """The way of one request to its endpoint. Owned by its exchange.

    Attributes:
        tokens: of the prompt, estimated or counted; -1 where it can't be told.
    """

    __slots__ = (
        "_arrived_at",
        "_edits",
        "_expected_output",
        "_output_tokens",
        "_prompt",
        "_provider_call",
        "_reservation",
        "_tried_models",
        "_waits",
        "_waits_until",
        "copy",
        "deadline",
        "shadow",
        "ticket",
        "tokens",
        "traffic_class",
    )

    def __init__(
        self, core: Core, config: GatewayConfig, head: RequestHead, record: RequestRecord, arrived_at: float
    ) -> None:
        super().__init__(core, config, head, record)
        self._arrived_at = arrived_at
        self._edits = _NO_EDITS
        self._expected_output = 0
        self._output_tokens = 0
        self._prompt: Prompt | None = None
        self._provider_call: ProviderCall | None = None
        self._reservation: Reservation | None = None
        self._tried_models: tuple[str, ...] = ()
        self._waits = 0
        self._waits_until = inf  # when waiting once more is no use
        self.deadline = NO_DEADLINE
        self.copy: Copy | None = None
        self.shadow = ""
        self.ticket: Ticket | None = None
        self.tokens = -1
        self.traffic_class: TrafficClass = "interactive"

    @property
    def decision(self) -> Decision | None:
        """Why the request went where it went last."""
        return self.ticket.decision if self.ticket is not None else None

    # ------------------------------------------------------------------ the request

    def check_head(self) -> Failure | None:
        """Refuses now what needs no body to be refused. None when the body should be read."""
        head, record = self._head, self._record
        self.route = route = ROUTES.get(head.path) or self._azures_route()
        if route is not None or head.path in LOCAL_PATHS:
            record.route = head.path
        elif (kept := self.asks_for_kept) is not None:
            record.route = kept.pattern
        caller, failure = examine(self._core, self._config, head, route, record.at)
        if caller is not None:
            self.caller = caller
            record.tenant, record.key, record.key_id = caller.tenant, caller.key, caller.key_id
            self.traffic_class = record.traffic_class = caller.traffic_class
        return failure

    def begin(self, body: bytes, now: float, then: Then) -> Step:
        """The body is there. Only for a route of the API."""
        route, head, record, config = self.route, self._head, self._record, self._config
        assert route is not None
        if route.body == "json":
            body = self._named(body) if self.deployment else body
            request = read_json(route, body)
        else:
            request = read_multipart(body, head.content_type.decode("latin-1"))
        if isinstance(request, Failure):
            return request
        name = request.model
        if head.fields is not None and config.model_header:
            name = head.fields.get(config.model_header, b"").decode("latin-1") or name
        record.requested_model, record.is_stream = name[:REQUESTED_MODEL_CHARS_MAX], request.is_stream
        model = config.names.get(name)
        if model is None or not self.caller.may_call(model.name):
            return unknown_model(self._core, name, self.caller)
        self.request, self._asked_model, self._client_body = request, name, body
        if request.fields is None or route.schema not in OWN_WAYS:
            return self._enter(now, then)
        return self._go_own_way(request.fields, route, model, now, then)

    def _enter(self, now: float, then: Then) -> Step:
        """The body is such as an engine takes it: which model it is for."""
        request, route, config, name = self.request, self.route, self._config, self._asked_model
        assert request is not None
        assert route is not None
        model, fields = config.names[name], request.fields
        if fields is not None:
            self._prompt = read_prompt(route.schema, fields)
            if config.rules.rules:
                model = self._ruled(model, fields, self._prompt)
        if not self.caller.may_call(model.name):
            return unknown_model(self._core, name, self.caller)
        return self._aim(model, now, then)

    def _ruled(self, model: ServedModel, fields: dict[str, Any], prompt: Prompt) -> ServedModel:
        """The model that the rules say, which may be the one that was asked for."""
        record, caller, rules = self._record, self.caller, self._config.rules
        asked = Asked(
            name=self._asked_model,
            model=model.name,
            headers=self._head.fields or _NO_HEADERS,
            tenant=caller.tenant,
            traffic_class=self.traffic_class,
            models=caller.models,
            prompt_tokens=self._core.estimator(model.name).estimate(prompt) if rules.reads_prompt else -1,
            has_tools=prompt.tools > 0,
            has_json=wants_json(fields),
        )
        routed = rules.route(asked, record.request_id, self._session)
        record.rule, self.shadow = routed.rule, routed.shadow
        self.traffic_class = record.traffic_class = routed.traffic_class
        return self._config.models[routed.model]

    def _aim(self, model: ServedModel, now: float, then: Then) -> Step:
        """The request is for this model: the one asked for, or a rule's, or a fallback's."""
        self.model, self._record.model = model, model.name
        self._tried_models = (*self._tried_models, model.name)
        request, route, prompt = self.request, self.route, self._prompt
        assert request is not None
        assert route is not None
        fields = request.fields
        if fields is None or prompt is None or self._head.path in _COUNTS:
            return self._reserve(now, then)
        counter = self._core.counter
        if (
            counter is not None
            and counter.knows(model.name, route.schema)
            and needs_count(
                route.schema,
                fields,
                prompt,
                model.bounds,
                self._core.estimator(model.name),
                limits=self.caller.limits,
            )
        ):
            counted = counter.count(model.name, route.schema, fields, prompt, then)
            return None if counted is None else self._shape(counted, now, then)
        return self._shape(None, now, then)

    def _shape(self, counted: int | None, now: float, then: Then) -> Step:
        """Bounds and parameters; `counted` is the prompt's exact length, where that was needed."""
        request, route, model, prompt = self.request, self.route, self.model, self._prompt
        assert request is not None
        assert route is not None
        assert model is not None
        if request.fields is None or prompt is None:
            return self._reserve(now, then)
        estimator = self._core.estimator(model.name)
        shaped = shape_request(
            route.schema,
            request.fields,
            prompt,
            model.bounds,
            estimator,
            limits=self.caller.limits,
            counted=counted,
        )
        if isinstance(shaped, Failure):
            return shaped
        self.tokens, self._edits, self._output_tokens = shaped.prompt_tokens, shaped.edits, shaped.output_tokens
        expected, most = ceil(estimator.expected_output), shaped.output_tokens
        self._expected_output = expected if 0 < expected < most else most
        if shaped.output_limit is None and self.caller.scopes:
            self._output_tokens = affordable(self.caller.scopes, self.tokens, most)
        if shaped.stripped or shaped.clamped:
            self._notes = shaped.headers
        return self._reserve(now, then)

    def _reserve(self, now: float, then: Then) -> Step:
        """Asks the limits of the tenant and the key."""
        record, model, tokens = self._record, self.model, self.tokens
        record.estimated_tokens = tokens
        tokens = tokens if tokens > 0 else 0
        record.reserved_tokens = tokens + self._output_tokens
        if model is not None and model.prices != FREE:
            record.reserved_micros = model.cost_micros(tokens, 0, self._output_tokens)
        if not self.caller.scopes or self._reservation is not None:
            return self._submit(now, then)
        verdict = self._core.limiter.reserve(self._ask(), now, then)
        return None if verdict is None else self._judged(verdict, now, then)

    def _ask(self) -> Ask:
        record, tokens = self._record, self.tokens
        tokens = tokens if tokens > 0 else 0
        return Ask(record.request_id, self.caller.scopes, tokens, self._output_tokens, record.reserved_micros)

    def _judged(self, verdict: Verdict, now: float, then: Then) -> Step:
        self._reservation = verdict.reservation
        self._limit_lines = ratelimit_headers(verdict)
        if verdict.reservation is None:
            return limit_failure(verdict, self._ask())
        return self._submit(now, then)

    def _submit(self, now: float, then: Then) -> Step:
        """Takes a place in the queue of the model; of another where waiting would miss the objective or is in vain."""
        model, config = self.model, self._config
        if model is None or not config.fallbacks:
            return self._queue(now)
        pool = self._core.endpoints.pools.get(model.name)
        if pool is not None and pool.is_out(now):
            step = self.fall_back("error", now, then)
            if step is not False:
                return step
            if model.provider is not None:
                here = pool.endpoints[0]  # nobody brings another
                return no_endpoint(model.name, f"{here.id} {here.last_error}", LATER_S)
        elif model.ttft_objective_s is not None:
            wait_s = self._core.flow.expected_wait_s(model.name, self.traffic_class, now)
            step = self.fall_back("objective", now, then) if wait_s > model.ttft_objective_s else False
            if step is not False:
                return step
        return self._queue(now)

    def _queue(self, now: float) -> Step:
        """Takes a place in the queue of the model."""
        request, route, model, caller, core = self.request, self.route, self.model, self.caller, self._core
        assert request is not None
        assert route is not None
        assert model is not None
        pool = core.endpoints.pools.get(model.name)
        has_others = pool is not None and len(pool.endpoints) > 1
        if not core.brings_endpoints and (pool is None or not pool.endpoints):
            return no_endpoint(model.name, "", LATER_S)  # nobody would bring one
        seed = core.new_seed() if has_others and needs_seed(route, request) else None
        self.has_own_seed = seed is not None
        goes_on = (has_others or core.brings_endpoints) and model.provider is None
        self.asks_ids = goes_on and wants_ids(route, request)
        name = self._make_body(route, request, model, seed, now)
        if self.shadow and request.fields is not None:
            self.copy = self._shadow_copy(self._config.models[self.shadow], route, request)
        if not self._config.fallbacks:
            self._client_body = b""  # nobody asks for it again
        request.fields = None  # the parsed body is not needed again; a stream may live for minutes
        self.ticket = ticket = Ticket(
            model.name,
            caller.tenant,
            self._need(model, name),
            caller.weight,
            self.traffic_class,
            len(self.body),
            now,
            self._set_deadline(is_stream=request.is_stream),
            self._config.wait_s[self.traffic_class],
        )
        ticket.is_stream, ticket.explains = request.is_stream, self._head.wants_explanation
        core.flow.submit(ticket, now)
        return self._placed(ticket, now)

    def _shadow_copy(self, model: ServedModel, route: Route, request: ApiRequest) -> Copy:
        body = upstream_body(route, request, self._client_body, model.engine_name(self._asked_model), edits=self._edits)
        need = Need(prompt_tokens=max(0, self.tokens), output_tokens=self._expected_output)
        self.shadow = ""  # one copy, whatever becomes of the request
        return Copy(model=model.name, path=route.upstream_path, body=body, need=need)

    def _make_body(self, route: Route, request: ApiRequest, model: ServedModel, seed: int | None, now: float) -> str:
        """Makes the body that goes to an endpoint of that model; what the model is called there."""
        name, edits, call, way = model.engine_name(self._asked_model), self._edits, self._provider_call, self.way
        if call is not None:
            name = call.edits["model"]
            if way is None or way.path not in CHAT_PATHS:
                edits = {**edits, **call.edits}
        self.body = upstream_body(route, request, self._client_body, name, seed, asks_ids=self.asks_ids, edits=edits)
        if way is not None:
            way.is_translated = False
            if call is not None and way.path in CHAT_PATHS:
                self.body = way.translate(self.body, call.edits)
            elif self._core.lacking(model.name, way.path, now):
                self.body = way.translate(self.body)
        return name

    def _need(self, model: ServedModel, name: str) -> Need:
        tokens, prompt = self.tokens, self._prompt
        need = Need(tokens if tokens > 0 else 0, self._expected_output)
        if model.adapters and name in model.adapters:
            need.adapter = name
        if self._head.fields is not None:
            need.session = self._session
        if prompt is not None:
            need.blocks = blocks_of(prompt.pieces, name)
            if need.blocks:
                need.block_tokens = block_tokens_of(need.prompt_tokens, prompt.narrow_bytes + prompt.wide_bytes)
            prompt.pieces = []
        return need

    @property
    def _session(self) -> str:
        """What the client says holds its requests together."""
        fields = self._head.fields
        return "" if fields is None else fields.get(self._config.session_header, b"").decode("latin-1")

    def _set_deadline(self, *, is_stream: bool) -> float | None:
        """By when the answer must have begun, monotonic seconds; None for no bound."""
        timeout_s, fields = self._config.timeout_s[self.traffic_class], self._head.fields
        if fields is None and timeout_s is None:
            return None
        headers = tuple((n, v) for n, v in (fields or {}).items() if n in DEADLINE_HEADERS)
        self.deadline = deadline = deadline_of(headers, timeout_s, is_stream=is_stream)
        first_s = deadline.first_s if deadline.first_s is not None else deadline.whole_s
        return None if first_s is None else self._arrived_at + first_s

    def _placed(self, ticket: Ticket, now: float) -> Step:
        """Where the queue has put the request."""
        if ticket.endpoint is not None or ticket.shed is None:
            return ticket.endpoint
        shed = ticket.shed
        return Failure(
            status=shed.status,
            code=shed.reason,
            message=shed.message,
            outcome=_SHED_OUTCOMES.get(shed.reason, "shed"),  # type: ignore[arg-type]
            retry_after_s=max(1, ceil(shed.retry_after_s)),
        )

    def proceed(self, came: Any, now: float, then: Then) -> Step:
        """Goes on with what was waited for: a count, a verdict, or the ticket, whose place has changed."""
        if isinstance(came, Verdict):
            return self._judged(came, now, then)
        if isinstance(came, Ticket):
            return self._placed(came, now)
        if isinstance(came, Found):
            return self._go_on_from(came, now, then)
        return self._shape(came, now, then)

    def came_late(self, came: Any, now: float) -> None:
        """What was waited for came after the request was over: what it brought is given back."""
        if isinstance(came, Verdict) and came.reservation is not None:
            self._core.limiter.settle(came.reservation, _NOTHING_RAN, now)

    def fall_back(self, why: Why, now: float, then: Then) -> Step | Literal[False]:
        """Another model, as this one can't answer; False when the file names none."""
        model, request, route, prompt = self.model, self.request, self.route, self._prompt
        config = self._config
        if model is None or request is None or route is None or not config.fallbacks:
            return False
        needs = Needs(schema=_NEEDS.get(self._head.path, route.schema), prompt_tokens=max(0, self.tokens))
        if prompt is not None:
            needs.images, needs.audios, needs.tools = prompt.images, prompt.audios, prompt.tools
        if self._asked_model in model.adapters:
            needs.adapter = self._asked_model
        fallback = next_fallback(
            config.fallbacks, self._tried_models, why, needs, models=self.caller.models, abilities=config.abilities
        )
        if fallback is None:
            return False
        self._leave_queue(now, is_ok=False)
        self._record.fallbacks += 1
        if request.model_span is None:
            request.fields = json_object(self._client_body)
            self._prompt = read_prompt(route.schema, request.fields)
        path, fields = CHAT_PATHS.get(self._head.path, self._head.path), request.fields or {}
        if path != self._head.path and fallback.provider is not None:
            fields = to_chat(fields, is_vllm=False)
        self._provider_call = call_provider(fallback, needs.schema, path, fields, self._asked_model)
        return self._aim(config.targets[fallback.id], now, then)

    # ------------------------------------------------------------------ endpoints

    def elsewhere(self, now: float, *, is_resume: bool = False) -> Endpoint | None:
        """Another endpoint, as the one that it has failed the request; None when there is none. `is_resume`: what was
        done there is lost, so that the retry adds nothing to the load."""
        ticket = self.ticket
        if ticket is None:
            return None
        if len(ticket.tried_ids) >= RETRIES_MAX:  # the one that fails now not counted
            return None
        if not self._core.retry_budget(ticket.model, now).take(now, is_resume=is_resume):
            return None
        return self._core.flow.redirect(ticket, now)

    def can_wait(self, now: float, *, is_new_round: bool = False, is_blameless: bool = False) -> bool:
        """Whether the request may wait once more for an endpoint: somebody brings them, or several are down together
        and one may come back. A stream that goes on has a new round of waits."""
        ticket = self.ticket
        if ticket is None or ticket.state != "granted":
            return False
        if not is_new_round and (self._waits >= WAITS_MAX or now >= self._waits_until):
            return False
        if self._core.brings_endpoints and not self.is_outside:
            return True
        pool = self._core.endpoints.pools.get(ticket.model)
        if pool is None or len(pool.endpoints) < 2:
            return False
        return is_blameless or not self.has_elsewhere(now, is_new_round=True)

    def wait_again(self, now: float, *, is_blameless: bool = False) -> Step | Literal[False]:
        """Back into the queue, as no endpoint is left that did not fail the request: one may come, or come back. False
        where that is no use. `is_blameless`: the request never reached the endpoint, so it can't have killed it. All
        waits together last no longer than one."""
        ticket = self.ticket
        if ticket is None or not self.can_wait(now, is_blameless=is_blameless):
            return False
        if self._waits_until == inf:
            self._waits_until = now + ticket.wait_s
        self._waits += not is_blameless
        ticket.wait_s = self._waits_until - now
        ticket.tried_ids = ()
        self._core.flow.submit(ticket, now)
        return self._placed(ticket, now)

    def has_elsewhere(self, now: float, *, is_new_round: bool = False) -> bool:
        """Whether another endpoint could take the request. A stream that goes on has a new round of tries."""
        ticket = self.ticket
        if ticket is None or ticket.endpoint is None:
            return False
        tried_ids = () if is_new_round else ticket.tried_ids
        if len(tried_ids) >= RETRIES_MAX:
            return False
        pool, here = self._core.endpoints.pools.get(ticket.model), ticket.endpoint.id
        return pool is not None and any(e.id != here and e.id not in tried_ids for e in pool.candidates(now))

    def began(self, sent_at: float, now: float) -> None:
        """The endpoint's answer has begun."""
        ticket = self.ticket
        if ticket is not None:
            self._core.flow.began(ticket, now)
            if ticket.is_stream and ticket.endpoint is not None:
                self._core.endpoints.measured(ticket.endpoint, now - sent_at)

    def begin_round(self) -> None:
        """Endpoints that failed before the stream's last word count no more, nor do waits."""
        self._waits, self._waits_until = 0, inf
        if self.ticket is not None:
            self.ticket.tried_ids = ()

    @property
    def is_outside(self) -> bool:
        """Whether a provider answers."""
        return self.model is not None and self.model.provider is not None

    @property
    def tls_host(self) -> TlsHost | None:
        """Who the endpoint must prove to be; None for plain HTTP."""
        provider = self.model.provider if self.model is not None else None
        return provider.tls_host if provider is not None else None

    def upstream_request(self, endpoint: Endpoint) -> tuple[bytes, bytes]:
        """Head and body for that endpoint."""
        route = self.route
        if route is None:
            raise AssertionError("a request without a route is never dispatched")
        call, forwarded = self._provider_call, self._head.forwarded
        if call is not None:
            forwarded = call.headers  # nothing of the client's but its body leaves the fleet
        head = request_head(
            self.engine_path if call is None else call.path,
            endpoint.authority,
            content_type=b"application/json" if route.body == "json" else self._head.content_type,
            content_length=len(self.body),
            request_id=self._record.request_id.encode(),
            forwarded=forwarded,
        )
        return head, self.body

    # ------------------------------------------------------------------ the end

    def over(self, now: float, chars: int = -1) -> None:
        """The request is over: gives back its place and settles what it used. `chars`: of text that a client got whose
        answer never said its usage."""
        record, model, prompt = self._record, self.model, self._prompt
        self._leave_queue(now, is_ok=record.outcome == "ok")
        if model is None:
            return
        usage = self._usage(model, chars)
        if usage.has_run:
            record.cost_micros = usage.cost_micros
        reservation, self._reservation = self._reservation, None
        if reservation is not None:
            self._core.limiter.settle(reservation, usage, now)
        if record.prompt_tokens > 0 and prompt is not None:
            self._core.estimator(model.name).reported(prompt, record.prompt_tokens, record.output_tokens)

    def _usage(self, model: ServedModel, chars: int) -> Usage:
        record = self._record
        if record.prompt_tokens >= 0:
            prompt, output, cached = record.prompt_tokens, record.output_tokens, record.cached_tokens
            output, cached = output if output > 0 else 0, cached if cached > 0 else 0
        elif not record.endpoint or (record.ttft_ms < 0 and record.outcome in ("upstream_error", "shed")):
            return _NOTHING_RAN
        elif record.outcome in ("client_error", "limited"):
            return Usage()  # the engine refused it: a request, and no tokens
        else:  # ended before the answer said its usage: the prompt was read, and what the client has was generated
            prompt, cached = max(0, self.tokens), 0
            output = ceil(max(0, chars) * NARROW_PRIOR)
        return Usage(prompt, output, model.cost_micros(prompt, cached, output))

    def _leave_queue(self, now: float, *, is_ok: bool) -> None:
        ticket, self.ticket = self.ticket, None
        if ticket is None:
            return
        ticket.owner = None
        record = self._record
        if ticket.state == "queued":
            self._core.flow.withdraw(ticket, now)
            return
        if ticket.state != "granted":
            return
        self._core.flow.ended(
            ticket,
            now,
            is_ok=is_ok,
            ttft_s=record.ttft_ms / 1e3,
            prompt_tokens=record.prompt_tokens,
            cached_tokens=record.cached_tokens,
            output_tokens=record.output_tokens,
        )
