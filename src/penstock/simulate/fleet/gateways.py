"""The gateways of the simulated fleet: each with its own view of the endpoints and its own policy, as in life. Pure.

    request ──▶ one of the gateways, as a load balancer picks ──▶ its policy, on what it sent and what engines say

Guarantees: gateways know of one another only what the engines' metrics show; which one takes a request depends on the
seed alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from penstock.serve.routing import Decision, Ended, Endpoint, EndpointAddress, EndpointTable, EngineSample, Need
from penstock.serve.routing.hardware import timing_of_steps
from penstock.simulate.engine.core import make_timing
from penstock.simulate.fleet.policies import make_policy
from penstock.simulate.fleet.prefix import chained
from penstock.simulate.fleet.scenario import Scenario
from penstock.simulate.workload.request import BLOCK_TOKENS, TraceRequest

__all__ = ["Gateway", "gateways_of", "need_of"]


class Gateway:
    """One gateway: endpoints as it sees them, and its policy."""

    def __init__(self, scenario: Scenario, names: Sequence[str], number: int) -> None:
        self._table = EndpointTable()
        addresses = [EndpointAddress(id=name, host="127.0.0.1", port=n + 1) for n, name in enumerate(names)]
        self._table.set_pool(scenario.model, addresses)
        self._pool = self._table.pools[scenario.model]
        engine = scenario.engine
        timing = timing_of_steps(
            make_timing(engine), seqs_max=engine.max_num_seqs, batched_tokens=engine.max_num_batched_tokens
        )
        stream = f"{scenario.seed}:{scenario.policy}:{number}" if number else f"{scenario.seed}:{scenario.policy}"
        self._policy = make_policy(scenario.policy, Random(stream), timing={scenario.model: timing})

    @property
    def endpoints(self) -> list[Endpoint]:
        """As this gateway sees them."""
        return self._pool.endpoints

    def send(self, need: Need, now: float) -> Decision:
        """Chooses an endpoint and sends the request there."""
        decision = self._policy.choose(self._pool.candidates(now), need, now=now)
        endpoint = decision.endpoint
        endpoint.in_flight += 1
        endpoint.dispatched_total += 1
        self._policy.sent(endpoint, need, now)
        return decision

    def end(self, endpoint: Endpoint, need: Need, outcome: Ended) -> None:
        """It is over there."""
        endpoint.in_flight -= 1
        self._policy.ended(endpoint, need, outcome)

    def observe(self, name: str, sample: EngineSample) -> None:
        """Reads an engine's metrics."""
        self._table.observe(name, sample)


def gateways_of(scenario: Scenario, names: Sequence[str]) -> list[Gateway]:
    """All gateways of a scenario."""
    return [Gateway(scenario, names, number) for number in range(scenario.gateways)]


def need_of(request: TraceRequest) -> Need:
    """What a gateway knows of a request before it runs: its prompt, counted, and how it begins."""
    return Need(
        prompt_tokens=max(1, request.prompt_tokens),
        blocks=chained(request.prefix_blocks, request.prompt_tokens),
        block_tokens=BLOCK_TOKENS,
    )
