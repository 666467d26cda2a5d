"""What all exchanges of one gateway share: configuration, endpoints, routing policy, counters, request ids.

One `Core` belongs to one gateway and is used only from its event loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any, Protocol

from penstock.serve.admission.dialects import Lacking
from penstock.serve.admission.tokens import Counter, TokenEstimator
from penstock.serve.commands import Dispatch
from penstock.serve.config import GatewayConfig
from penstock.serve.flow import Limiter
from penstock.serve.flow.flow import Flow
from penstock.serve.flow.limits import LocalLimiter
from penstock.serve.keys import KeyRecord
from penstock.serve.routing import DecisionRing, EndpointTable, ModelTiming, Policy, make_policy
from penstock.serve.routing.hedging import Hedging
from penstock.serve.routing.retries import RetryBudget
from penstock.serve.shelf import LocalShelf, Shelf

__all__ = ["Carrier", "Core"]


class Carrier(Protocol):
    """Whatever carries an exchange: it performs what an exchange that was woken wants done."""

    def go_on(self, exchange: Any, out: Any) -> None:
        """As if `exchange` had just returned `out`."""

    def go_beside(self, exchange: Any, dispatch: Dispatch) -> None:
        """Sends this beside what is under way; what comes of it goes to `second_data` and `second_lost`."""


class Core:
    """Shared state of a gateway's exchanges.

    `unix_offset_s` is Unix time less monotonic time; `date` is the HTTP date, kept current by the edge once a second.
    `limiter`, `counter` and `shelf` are replaced by the edge where something outside answers for them.
    """

    __slots__ = (
        "_budgets",
        "_estimators",
        "_random",
        "_timing",
        "brings_endpoints",
        "config",
        "counter",
        "created",
        "date",
        "decisions",
        "ended_keys",
        "endpoints",
        "flow",
        "hedging",
        "in_flight",
        "is_draining",
        "is_hedging",
        "is_leaving",
        "lacking",
        "limiter",
        "policy",
        "shelf",
        "unix_offset_s",
    )

    def __init__(
        self,
        config: GatewayConfig,
        *,
        random: Random,
        unix_offset_s: float = 0.0,
        endpoints: EndpointTable | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.config = config
        self._timing: Mapping[str, ModelTiming] = {}
        self.endpoints = endpoints if endpoints is not None else EndpointTable()
        self.policy: Policy = policy if policy is not None else self._make_policy(config)
        self.flow = Flow(self.endpoints, self.policy)
        self.limiter: Limiter = LocalLimiter(unix_offset_s=unix_offset_s)
        self.counter: Counter | None = None  # nobody counts
        self.ended_keys: Mapping[bytes, KeyRecord] = {}  # of the store, valid no more, by SHA-256
        self.lacking = Lacking()
        self.shelf: Shelf = LocalShelf()
        self.brings_endpoints = False  # a platform starts endpoints, and says when they come
        self.decisions = DecisionRing(config.routing.decisions_kept)
        self.hedging = Hedging(config.hedging.share_max)
        self.is_hedging = config.hedging.is_on
        self.unix_offset_s = unix_offset_s
        self.created = int(unix_offset_s)  # of every model in the list: fixed, while clocks drift
        self.date = b"Thu, 01 Jan 1970 00:00:00 GMT"
        self.in_flight = 0
        self.is_leaving = False  # the gateway stops: each connection brings one more request at most
        self.is_draining = False  # nothing new is served any more
        self._budgets: dict[str, RetryBudget] = {}
        self._estimators: dict[str, TokenEstimator] = {}
        self._random = random
        self._tell_flow()

    def configure(self, config: GatewayConfig) -> None:
        """Takes a new configuration for new requests; those under way and those that wait keep theirs."""
        before, self.config = self.config, config
        if before.routing != config.routing:
            self.policy = self._make_policy(config)
            self.decisions = DecisionRing(config.routing.decisions_kept)
        self.is_hedging = config.hedging.is_on
        self.hedging.configure(config.hedging.share_max)
        self._tell_flow()

    def take_timing(self, timing: Mapping[str, ModelTiming]) -> None:
        """What the performance model says of the models' steps, where their hardware is known. A policy that had begun
        without it begins anew."""
        if timing != self._timing:
            self._timing = timing
            self.policy = self._make_policy(self.config)
            self._tell_flow()

    def _make_policy(self, config: GatewayConfig) -> Policy:
        routing = config.routing
        return make_policy(
            routing.policy,
            timing=self._timing,
            blocks_max=routing.prefix_blocks_max,
            weighs=routing.decisions_kept > 0,
        )

    def _tell_flow(self) -> None:
        capacities = {name: target.capacity for name, target in self.config.targets.items()}
        self.flow.configure(queue=self.config.queue, capacities=capacities, policy=self.policy)

    def retry_budget(self, model: str, now: float) -> RetryBudget:
        """How much may be sent once more to this model's endpoints. Only for names of the configuration."""
        budget = self._budgets.get(model)
        if budget is None:
            budget = self._budgets[model] = RetryBudget(now)
        return budget

    @property
    def retries_refused_total(self) -> int:
        """Retries that a budget did not allow."""
        return sum(budget.refused_total for budget in self._budgets.values())

    def estimator(self, model: str) -> TokenEstimator:
        """What has been learned of the sizes of this model's prompts. Only for names of the configuration."""
        estimator = self._estimators.get(model)
        if estimator is None:
            estimator = self._estimators[model] = TokenEstimator()
        return estimator

    def new_request_id(self) -> bytes:
        """A fresh request id: 16 hexadecimal digits, as vLLM's own are."""
        return b"%016x" % self._random.getrandbits(64)

    def new_seed(self) -> int:
        """A seed for sampling: 31 bits, which every engine takes, also with a choice's index added."""
        return self._random.getrandbits(31)
