"""Keeps one Fleet: applies what it asks for, wave by wave, and writes how it is into its status.

Guarantees: one apply at a time; a newer generation ends the older one's apply at a step's edge and begins anew; a spec
that cannot be rendered changes nothing that is there; what somebody else changed or deleted comes back; trouble with
the API server is tried again with growing pauses, for ever. Nothing here is kept but in the cluster: a controller that
restarts goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from penstock.errors import PenstockError
from penstock.facts import Architecture
from penstock.operate.apply.failures import Absent, ApiFailure
from penstock.operate.apply.fleet_status import FleetStatus
from penstock.operate.apply.objects import Object
from penstock.operate.apply.planning import ApplyPlan, Options
from penstock.operate.apply.port import KubeApi
from penstock.operate.controller import Desired, Outlook, Phase, desired_of, status_of
from penstock.operate.io.controller.health import Counts
from penstock.operate.io.kubernetes.applying import Outcome, carry_out
from penstock.operate.io.kubernetes.gathering import Target, plan_apply
from penstock.operate.io.kubernetes.observing import watch_status
from penstock.operate.io.kubernetes.together import Together

if TYPE_CHECKING:
    from penstock.operate.io.scaling import Scaler  # it needs grpc, which may be absent

__all__ = ["Pace", "Worker"]

log = logging.getLogger("penstock.controller")


class Pace:
    """Times of a worker, seconds. `calm`: changes that come together are taken together. `resync`: drift that no event
    told of is found after so long. `wait`: the longest that the waves of one apply are waited for."""

    def __init__(
        self,
        *,
        calm: float = 0.3,
        resync: float = 300.0,
        wait: float = 3600.0,
        first: float = 1.0,
        longest: float = 60.0,
    ) -> None:
        self.calm = calm
        self.resync = resync
        self.wait = wait
        self.first = first
        self.longest = longest


class _Superseded(PenstockError):
    """A newer generation of the Fleet is there."""


class Worker:
    """One Fleet. `run` until cancelled; `take` and `wake` from the same event loop."""

    def __init__(
        self,
        api: KubeApi,
        fleet: Object,
        *,
        architecture_of: Callable[[str], Architecture],
        counts: Counts,
        pace: Pace | None = None,
        scaler: Scaler | None = None,
    ) -> None:
        self._api = api
        self._fleet = fleet
        self._architecture_of = architecture_of
        self._counts = counts
        self._pace = pace or Pace()
        self._scaler = scaler
        self._changed = asyncio.Event()
        self._newer = asyncio.Event()
        self._told = asyncio.Event()
        self._outlook = Outlook(generation=_generation(fleet), phase=Phase.APPLYING)
        self._seen: FleetStatus | None = None
        self._names: dict[str, str] | None = None
        self._written: object = None

    @property
    def name(self) -> str:
        return str(self._fleet["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self._fleet["metadata"]["namespace"])

    def take(self, fleet: Object) -> None:
        """Takes the Fleet as it is now; a change of its status alone is none."""
        is_newer = _generation(fleet) != _generation(self._fleet)
        self._fleet = fleet
        if is_newer:
            self._newer.set()
            self._changed.set()

    def wake(self) -> None:
        """Something of the fleet was changed or deleted: look whether it is still as it should be."""
        self._changed.set()

    async def run(self) -> None:
        """Keeps the Fleet until cancelled."""
        self._changed.set()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_applied())
            tasks.create_task(self._keep_watching())
            tasks.create_task(self._keep_reporting())
            if self._scaler is not None:
                tasks.create_task(self._scaler.follow(self._api, self.name))

    # ------------------------------------------------------------------ applying

    async def _keep_applied(self) -> None:
        failures = 0
        while True:
            pause = self._pace.resync if not failures else min(self._pace.first * 2**failures, self._pace.longest)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()
            await asyncio.sleep(self._pace.calm)
            self._changed.clear()
            self._newer.clear()
            try:
                is_done = await self._reconcile()
            except _Superseded:
                failures = 0
            except (ApiFailure, PenstockError) as error:
                failures += 1
                self._say(Phase.BLOCKED, f"{error.message}" + (f" ({error.hint})" if error.hint else ""))
            except Exception as error:  # a fault of ours: the other fleets are kept, this one is tried again
                failures += 1
                log.exception("fleet %s: a fault of the controller", self.name)
                self._counts.fault(self.name)
                self._say(Phase.BLOCKED, f"a fault of the controller ({type(error).__name__}): see its log")
            else:
                failures = 0 if is_done else failures + 1

    async def _reconcile(self) -> bool:
        """Makes the cluster as the Fleet says, as far as it goes now. Whether it came to an end that needs no retry."""
        self._counts.reconciled(self.name)
        desired = desired_of(self._fleet, architecture_of=self._architecture_of)
        self._names = desired.names
        if desired.bundle is None:
            self._say(Phase.REFUSED, "; ".join(desired.problems))
            return True
        if self._scaler is not None:
            self._scaler.take(self.name, desired.policies)
        target = _target(self.name, self.namespace, desired)
        options = Options(may_replace=True)
        plan = await plan_apply(self._api, target, options)
        if plan.problems:
            self._say(Phase.BLOCKED, _problem_words(plan))
            return False
        if plan.writes or self._outlook.generation != _generation(self._fleet):
            self._say(Phase.APPLYING, f"{len(plan.writes)} objects to write" if plan.writes else "")
        outcome = await self._carried_out(target, plan, options)
        if outcome.is_ready is False:
            words = "; ".join(f"{row.ref.short}: {row.readiness.reason}" for row in outcome.unready)
            self._say(Phase.FAILED, words)
            return False
        self._say(Phase.APPLIED, "")
        return True

    async def _carried_out(self, target: Target, plan: ApplyPlan, options: Options) -> Outcome:
        """Carries the plan out, unless a newer generation comes.

        Raises:
            _Superseded: one came.
            ApiFailure: the cluster refused, or did not answer.
        """
        async with Together() as group:
            guard = group.create_task(self._guard())
            outcome = await carry_out(self._api, target, plan, options=options, wait_s=self._pace.wait)
            guard.cancel()
        return outcome

    async def _guard(self) -> None:
        await self._newer.wait()
        raise _Superseded("a newer generation of the fleet is there")

    def _say(self, phase: Phase, message: str) -> None:
        outlook = Outlook(generation=_generation(self._fleet), phase=phase, message=message)
        if outlook != self._outlook:
            level = logging.INFO if phase in (Phase.APPLYING, Phase.APPLIED) else logging.WARNING
            log.log(level, "fleet %s generation=%d phase=%s %s", self.name, outlook.generation, phase, message)
        self._outlook = outlook
        self._counts.phase(self.name, phase)
        self._told.set()

    # ------------------------------------------------------------------ reporting

    async def _keep_watching(self) -> None:
        """Reads how the fleet is, after every change of it."""
        while True:
            with contextlib.suppress(ApiFailure):
                async for seen in watch_status(self._api, self.name, self.namespace):
                    self._seen = seen
                    self._told.set()
            await asyncio.sleep(self._pace.first)

    async def _keep_reporting(self) -> None:
        """Writes the status when it changes, at most once in a while."""
        while True:
            await self._told.wait()
            self._told.clear()
            try:
                await self._report()
            except Absent:
                return  # the Fleet is gone; so will we be
            except ApiFailure as error:
                log.warning("fleet %s status was not written: %s", self.name, error.message)
                await asyncio.sleep(self._pace.first)
                self._told.set()
            await asyncio.sleep(self._pace.calm)

    def _named(self, seen: FleetStatus | None) -> FleetStatus | None:
        """With the models called as the file calls them, once that is known."""
        if seen is None or self._names is None:
            return seen
        rows = (replace(row, name=self._names.get(row.name, row.name)) for row in seen.models)
        return replace(seen, models=tuple(sorted(rows, key=lambda row: row.name)))

    async def _report(self) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        status = status_of(self._fleet, self._outlook, self._named(self._seen), now=now)
        if status == self._written:
            return
        metadata = {"name": self.name, "namespace": self.namespace}
        body = {"apiVersion": self._fleet["apiVersion"], "kind": self._fleet["kind"], "metadata": metadata}
        written = await self._api.apply_status({**body, "status": status})
        self._written = status
        self._counts.ready(
            self.name, is_ready=any(c["type"] == "Ready" and c["status"] == "True" for c in status["conditions"])
        )
        self._fleet = {**self._fleet, "status": written.get("status", status)}


def _target(name: str, namespace: str, desired: Desired) -> Target:
    assert desired.bundle is not None
    return Target(fleet=name, namespace=namespace, bundle=desired.bundle, spared=desired.spared)


def _problem_words(plan: ApplyPlan) -> str:
    return "; ".join(f"{step.ref.short}: {step.reason}" for step in plan.problems)


def _generation(fleet: Object) -> int:
    return int(fleet["metadata"].get("generation", 0))
