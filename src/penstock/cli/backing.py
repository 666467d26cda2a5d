"""What a gateway leans on besides its engines: shared limits, the usage ledger, exact prompt lengths, kept responses.

    begin ─▶ run (until cancelled) ─▶ close

Guarantees: none of it keeps the gateway from starting or from serving; what is away is told (`state`, the log) and
tried again by whoever it is. `close` ships what the ledger and the shelf still have.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from penstock.cli.key_store import StorePlace, open_ledger, open_shelf, secret_reader, store_password
from penstock.cli.output import warn
from penstock.facts import find_model
from penstock.serve.flow.balance import Balance
from penstock.serve.flow.limits_state import LimitsState
from penstock.serve.io.gateway import Gateway
from penstock.serve.io.ledger import Ledger, LedgerState
from penstock.serve.io.limits import RedisLimiter, make_limiter
from penstock.serve.io.tokenizing import TokenizerSource, Tokenizing
from penstock.serve.routing import CostPolicy, Endpoint, ModelTiming
from penstock.spec import Fleet

if TYPE_CHECKING:  # the performance model is imported where a calibration is given
    from penstock.perf import Calibration

__all__ = ["Backing", "BackingState"]

BEAT_S = 1.0
"""Seconds between looks at how many gateways share the engines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackingState:
    """How well it is all there."""

    limits: LimitsState | None
    """None where limits are this gateway's own."""
    ledger: LedgerState


class Backing:
    """Belongs to one gateway and its event loop. `folder` is where the fleet file's relative paths begin."""

    def __init__(
        self,
        gateway: Gateway,
        fleet: Fleet,
        store: StorePlace,
        folder: Path,
        *,
        gateways: int = 1,
        calibrations: Mapping[str, Calibration] | None = None,
    ) -> None:
        """`gateways`: how many there are, until they have counted each other. `calibrations`: measured times by GPU.

        Raises:
            UsageError: the password of Redis can't be read.
        """
        self._gateway = gateway
        core, spec = gateway.core, fleet.spec.gateway
        limiter = make_limiter(
            spec.limits,
            fleet.metadata.name,
            env=os.environ,
            secret=secret_reader(),
            unix_offset_s=time.time() - monotonic(),
            gateways_expected=gateways,
        )
        self._shared = limiter if isinstance(limiter, RedisLimiter) else None
        self._local = None if isinstance(limiter, RedisLimiter) else limiter
        self._tokenizing = Tokenizing(base=folder)
        self._fleet = fleet
        self._calibrations = calibrations or {}
        self._has_changed = asyncio.Event()
        self.ledger: Ledger = open_ledger(store, fleet.metadata.name, lambda: store_password(spec))
        core.limiter, core.counter, gateway.ledger = limiter, self._tokenizing, self.ledger
        self._shelf = open_shelf(store, fleet.metadata.name, lambda: store_password(spec))
        if self._shelf is not None:
            core.shelf = self._shelf
        if self._shared is not None:
            self._shared.balance = Balance(core.flow)

    @property
    def state(self) -> BackingState:
        """How well it is all there now."""
        return BackingState(limits=self._shared.state if self._shared is not None else None, ledger=self.ledger.state)

    async def begin(self, fleet: Fleet, *, has_store: bool) -> None:
        """Makes it ready for the first request: limits as far as Redis answers within a second, and this month's use,
        where somebody may have a budget: a tenant of the file, or a key of a store (`has_store`)."""
        await self.ledger.start()
        if has_store or _has_budgets(fleet):
            self._begin_month(await self.ledger.month_to_date())
        if self._shared is not None:
            await self._shared.begin()

    def _begin_month(self, used: Mapping[str, tuple[int, int]]) -> None:
        """What was used this month before counts: for the limits held here, and for a Redis that came back empty."""
        now = monotonic()
        if self._local is not None:
            for scope_id, (tokens, cost_micros) in used.items():
                self._local.seed_month(scope_id, tokens, cost_micros, now)
        if self._shared is not None:
            scopes = {s.id: s for caller in self._gateway.core.config.callers.values() for s in caller.scopes}
            for scope_id in used.keys() & scopes.keys():
                self._shared.seed_month(scopes[scope_id], *used[scope_id])

    async def run(self) -> None:
        """Keeps it going until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._learn_models())
            port = self._fleet.spec.gateway.routing.kv_events_port
            if port is not None:
                from penstock.serve.io.kv_events import KvFollower  # noqa: PLC0415 — start-up time

                tasks.create_task(KvFollower(self._gateway.endpoints, port, self._take_cache).run())
            if self._shelf is not None:
                tasks.create_task(self._shelf.run())
            if self._shared is not None:
                tasks.create_task(self._shared.run())
                tasks.create_task(self._count_gateways(self._shared))

    def _take_cache(self, endpoint: Endpoint, tokens: int, is_lost: bool) -> None:
        """What an engine says that its prefix cache holds, for the policy that follows prompts."""
        policy = self._gateway.core.policy
        if isinstance(policy, CostPolicy):
            policy.cache_seen(endpoint, tokens, is_lost)

    def follow(self, fleet: Fleet, calibrations: Mapping[str, Calibration]) -> None:
        """A changed fleet file was taken."""
        self._fleet, self._calibrations = fleet, calibrations
        self._has_changed.set()

    async def close(self) -> None:
        """The last request is over: ships what the ledger has and lets go of the rest."""
        await self.ledger.stop()
        if self._shelf is not None:
            await self._shelf.close()
        self._tokenizing.close()

    async def _count_gateways(self, limiter: RedisLimiter) -> None:
        """Each gateway takes its share of the engines' room."""
        while True:
            self._gateway.core.flow.gateways = limiter.gateways
            await asyncio.sleep(BEAT_S)

    async def _learn_models(self) -> None:
        """What takes a while to know of the file's models, again after each change: step times, and tokenizers."""
        while True:
            self._has_changed.clear()
            fleet = self._fleet
            if fleet.spec.gateway.routing.policy == "cost":
                self._gateway.core.take_timing(await asyncio.to_thread(_timings, fleet, self._calibrations))
            for model in fleet.spec.models:
                source = TokenizerSource(model=model.name, source=model.source_or_name, revision=model.revision)
                told = await self._tokenizing.load(source)
                if "can't be used" in told or "took more" in told:
                    warn(told)
            await self._has_changed.wait()


def _timings(fleet: Fleet, calibrations: Mapping[str, Calibration]) -> dict[str, ModelTiming]:
    """Step times of the models whose hardware is known, by the performance model that `plan` uses."""
    from penstock.serve.routing.hardware import timing_of  # noqa: PLC0415 — start-up time

    found = {}
    for model in fleet.spec.models:
        timing = timing_of(model, find_model(model.source_or_name), calibrations)
        if timing is not None:
            found[model.name] = timing
    return found


def _has_budgets(fleet: Fleet) -> bool:
    """Whether somebody of the file has a monthly budget; keys of the store may have one too."""
    tenants = fleet.spec.gateway.tenants
    limits = [t.limits for t in tenants] + [k.limits for t in tenants for k in t.keys]
    return any(q.tokens_per_month is not None or q.cost_per_month is not None for q in limits)
