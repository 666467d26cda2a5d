"""The gateways of the simulated fleet: each with its own view of the endpoints, its own queue and policy. Pure.

    request ──▶ one of the gateways ──▶ its limits ──▶ its queue ──▶ its policy, on what it sent and what engines say

Everything here is what a gateway runs: `Flow` with its windows, `EndpointTable`, the policies, `LocalLimiter`,
`TokenEstimator`. Left out are bodies: a prompt is known by its exact length, and its bytes by a mean.

Guarantees: gateways know of one another only what the engines' metrics show, and, where the fleet file says so, the
limits that they count together and what each says of its tenants' shares.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random

from penstock.serve.admission.outputs import reserved_tokens
from penstock.serve.admission.prompt import Prompt
from penstock.serve.admission.tokens import TokenEstimator
from penstock.serve.flow import Flow, Ticket
from penstock.serve.flow.balance import Balance
from penstock.serve.flow.limits import LocalLimiter
from penstock.serve.flow.quota import Ask, Reservation, Usage, Verdict
from penstock.serve.flow.scopes import affordable
from penstock.serve.flow.ticket import CLASSES
from penstock.serve.routing import Endpoint, EndpointAddress, EndpointTable, EngineSample, Need
from penstock.serve.routing.hardware import timing_of_steps
from penstock.simulate.engine.core import make_timing
from penstock.simulate.fleet.policies import make_policy
from penstock.simulate.fleet.prefix import chained
from penstock.simulate.fleet.scenario import Scenario, TenantRules
from penstock.simulate.workload.request import BLOCK_TOKENS, TraceRequest
from penstock.spec import TrafficClass

__all__ = ["Gateway", "class_of", "gateways_of", "need_of", "talk"]

BYTES_PER_TOKEN = 4
"""Of English text, as the queue's bound counts bodies."""


class Gateway:
    """One gateway. `limit`, then `submit`; `began` and `ended` tell of what was granted; `pump` whenever `is_due`."""

    def __init__(self, scenario: Scenario, names: Sequence[str], number: int, limiter: LocalLimiter) -> None:
        self._scenario = scenario
        self._limiter = limiter
        self._table = EndpointTable()
        addresses = [EndpointAddress(id=name, host="127.0.0.1", port=n + 1) for n, name in enumerate(names)]
        self._table.set_pool(scenario.model, addresses)
        engine = scenario.engine
        timing = timing_of_steps(
            make_timing(engine), seqs_max=engine.max_num_seqs, batched_tokens=engine.max_num_batched_tokens
        )
        stream = f"{scenario.seed}:{scenario.policy}:{number}" if number else f"{scenario.seed}:{scenario.policy}"
        policy = make_policy(scenario.policy, Random(stream), timing={scenario.model: timing})
        self._flow = Flow(self._table, policy, gateways=scenario.gateways)
        self._flow.configure(queue=scenario.queue, capacities={scenario.model: scenario.capacity})
        self._table.changed = self._flow.endpoints_changed
        self.balance = Balance(self._flow)
        self._estimator = TokenEstimator()
        self._is_generating = engine.model.task == "generate"
        self._context = engine.max_model_len or engine.model.context
        """What it tells of its tenants' shares."""
        self.due_at = math.inf
        """When `pump` is due though nothing happens."""

    @property
    def endpoints(self) -> list[Endpoint]:
        """As this gateway sees them."""
        return self._table.pools[self._scenario.model].endpoints

    # One request -----------------------------------------------------------------------------------------------------

    def limit(self, request: TraceRequest, rules: TenantRules, name: str, now: float) -> Verdict:
        """What the tenant's limits say."""
        prompt = max(1, request.prompt_tokens)
        most = self._most(prompt)
        if self._scenario.output_tokens_default is None:
            most = affordable(rules.scopes, prompt, most)
        verdict = self._limiter.reserve(Ask(name, rules.scopes, prompt, most), now, _never)
        assert verdict is not None, "a limiter in memory answers at once"
        return verdict

    def settle(self, reservation: Reservation, usage: Usage, now: float) -> None:
        """What was used in place of what was reserved."""
        self._limiter.settle(reservation, usage, now)

    def submit(self, request: TraceRequest, rules: TenantRules, owner: object, now: float) -> Ticket:
        """To the queue, and through it where there is room: the ticket is granted, queued or shed."""
        need = need_of(request)
        if self._is_generating:
            need.output_tokens = request.expected_output or self._expected(need.prompt_tokens)
        traffic_class = class_of(request, rules)
        ticket = Ticket(
            model=self._scenario.model,
            tenant=request.tenant or self._scenario.tenant,
            need=need,
            weight=rules.weight,
            traffic_class=traffic_class,
            body_bytes=BYTES_PER_TOKEN * need.prompt_tokens,
            arrived_at=now,
            wait_s=self._scenario.wait_s[traffic_class],
            is_stream=self._is_generating,
            owner=owner,
        )
        self._flow.submit(ticket, now)
        if ticket.state == "queued":
            self._look_ahead()
        return ticket

    def began(self, ticket: Ticket, now: float) -> None:
        """Its first token is there."""
        self._flow.began(ticket, now)

    def ended(self, ticket: Ticket, now: float, *, ttft_s: float, cached_tokens: int, output_tokens: int) -> None:
        """It was answered. `cached_tokens`: -1 where nobody knows."""
        prompt = ticket.need.prompt_tokens
        self._flow.ended(
            ticket,
            now,
            ttft_s=ttft_s,
            prompt_tokens=prompt,
            cached_tokens=cached_tokens,
            output_tokens=output_tokens,
        )
        if self._is_generating:
            told = Prompt(pieces=[], narrow_bytes=BYTES_PER_TOKEN * prompt, messages=1)
            self._estimator.reported(told, prompt, output_tokens)

    def failed(self, ticket: Ticket, now: float) -> None:
        """It got no answer."""
        self._flow.ended(ticket, now, is_ok=False)

    def _most(self, prompt: int) -> int:
        """Output tokens that are reserved for an answer which the client does not bound."""
        room = max(1, self._context - prompt)
        limit = self._scenario.output_tokens_default
        return reserved_tokens(limit, room, int(self._is_generating), self._estimator.expected_output)

    def _expected(self, prompt: int) -> int:
        expected, most = math.ceil(self._estimator.expected_output), self._most(prompt)
        return expected if 0 < expected < most else most

    # Those who wait --------------------------------------------------------------------------------------------------

    def is_due(self, now: float) -> bool:
        """Whether `pump` may have something to do."""
        return self._flow.is_dirty or self.due_at <= now

    def pump(self, now: float) -> list[Ticket]:
        """Lets go who can go: the tickets that were granted, shed or evicted."""
        changed = self._flow.pump(now)
        self._look_ahead()
        return changed

    def _look_ahead(self) -> None:
        due_at = self._flow.next_due
        self.due_at = math.inf if due_at is None else due_at

    def observe(self, name: str, sample: EngineSample) -> None:
        """Reads an engine's metrics."""
        self._table.observe(name, sample)


def talk(gateways: Sequence[Gateway], number: int, before: Mapping[str, bytes], now: float) -> dict[str, bytes]:
    """Each heeds the words of the round before, and then tells its own of this one, as through Redis. Returns those."""
    words: dict[str, bytes] = {}
    for place, gateway in enumerate(gateways):
        name = f"gateway-{place}"
        gateway.balance.heed(number - 1, before, name, now)
        if word := gateway.balance.word(now):
            words[name] = word
    return words


def gateways_of(scenario: Scenario, names: Sequence[str]) -> list[Gateway]:
    """All gateways of a scenario."""
    shared = LocalLimiter(unix_offset_s=0.0)
    return [
        Gateway(scenario, names, number, shared if scenario.has_shared_limits else LocalLimiter(unix_offset_s=0.0))
        for number in range(scenario.gateways)
    ]


def need_of(request: TraceRequest) -> Need:
    """What a gateway knows of a request before it runs: its prompt, counted, and how it begins."""
    return Need(
        prompt_tokens=max(1, request.prompt_tokens),
        blocks=chained(request.prefix_blocks, request.prompt_tokens),
        block_tokens=BLOCK_TOKENS,
    )


def class_of(request: TraceRequest, rules: TenantRules) -> TrafficClass:
    """The request's own class, else its tenant's."""
    for name in CLASSES:
        if name == request.traffic_class:
            return name
    return rules.traffic_class


def _never(_verdict: Verdict, _now: float) -> None:
    raise AssertionError("a limiter in memory answers at once")
