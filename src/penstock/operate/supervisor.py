"""Decides which replicas exist: a small Deployment controller for each model, in one synchronous function.

Events in, actions out, `now` as an argument; nothing here runs anything. Guarantees: never more than desired + 1
replicas of a model are started; in a roll a ready replica of the old revision leaves only when as many as desired stay
ready; a replica is in its pool exactly while it is ready (and, marked, while it drains); every change is reported as a
value. Leaves processes, clocks and waiting to `operate/io`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import assert_never

from penstock.operate.engines import EnginePlan
from penstock.operate.events import (
    Action,
    DesiredChanged,
    DrainReplica,
    Event,
    KillReplica,
    ModelTarget,
    PublishPool,
    RemovePool,
    ReplicaChanged,
    ReplicaDrained,
    ReplicaExited,
    ReplicaProven,
    StartReplica,
    StopReplica,
    StopRequested,
    TimePassed,
    Wait,
)
from penstock.operate.replicas import Phase, Replica, Signal
from penstock.serve.routing import EndpointAddress

__all__ = ["SURGE", "Supervisor"]

SURGE = 1
"""Replicas that may exist beyond the desired number, in a roll or while old ones stop."""


class Supervisor:
    """What is wanted, and what is known of every replica. The one owner of both."""

    def __init__(self) -> None:
        self.targets: dict[str, ModelTarget] = {}
        self.replicas: dict[str, Replica] = {}
        self._published: dict[str, tuple[EndpointAddress, ...]] = {}
        self._actions: list[Action] = []
        self._is_stopping = False

    @property
    def is_idle(self) -> bool:
        """Whether no replica is left."""
        return not self.replicas

    def of_model(self, model: str) -> list[Replica]:
        """Replicas of a model, by slot."""
        return sorted((r for r in self.replicas.values() if r.model == model), key=lambda r: r.slot)

    def handle(self, event: Event, now: float) -> list[Action]:
        """Takes one event; returns what to do, in order; a `Wait` comes last where time alone can change things."""
        self._actions = []
        self._observe(event, now)
        for replica in list(self.replicas.values()):
            if replica.deadline is not None and replica.deadline <= now and not self._lacks_room(replica):
                self._time_out(replica, now)
        for model in sorted({*self.targets, *(r.model for r in self.replicas.values())}):
            self._reconcile(model, now)
        actions = [*self._publish(), *self._actions]
        # A deadline that has passed belongs to a replica that lacks room: the exit of another wakes it.
        deadlines = [r.deadline for r in self.replicas.values() if r.deadline is not None and r.deadline > now]
        return [*actions, Wait(until=min(deadlines))] if deadlines else actions

    def _observe(self, event: Event, now: float) -> None:
        match event:
            case DesiredChanged(models=models):
                self.targets = {m.name: m for m in models}
                self._take_timeouts()
            case ReplicaProven():
                self._proven(event, now)
            case ReplicaExited():
                self._exited(event, now)
            case ReplicaDrained(id=replica_id):
                if (replica := self.replicas.get(replica_id)) is not None:
                    self._apply(replica, Signal.DRAINED, now, "nothing is in flight any more")
            case StopRequested(is_hurried=is_hurried):
                self.targets = {name: replace(target, replicas=0) for name, target in self.targets.items()}
                self._is_stopping = True
                for replica in list(self.replicas.values()) if is_hurried else ():
                    self._apply(replica, Signal.HURRIED, now, "told to end at once")
            case TimePassed():
                pass
            case _:
                assert_never(event)

    def _lacks_room(self, replica: Replica) -> bool:
        """Whether its back-off must go on because too many processes of its model run: others are still stopping."""
        if replica.phase is not Phase.BACKOFF:
            return False
        target = self.targets.get(replica.model)
        running = sum(r.phase is not Phase.BACKOFF for r in self.of_model(replica.model))
        return running >= (target.replicas if target is not None else 0) + SURGE

    def _take_timeouts(self) -> None:
        """Time limits are not part of the revision: they hold for running replicas from now on."""
        for replica in self.replicas.values():
            if (target := self.targets.get(replica.model)) is not None:
                replica.start_timeout_s, replica.stop_timeout_s = target.start_timeout_s, target.stop_timeout_s

    def _proven(self, event: ReplicaProven, now: float) -> None:
        replica = self.replicas.get(event.id)
        if replica is None or replica.attempt != event.attempt:
            return
        took_s = now - replica.since
        if self._apply(replica, Signal.PROVEN, now, f"answers after {took_s:.1f} s"):
            replica.address = EndpointAddress(id=replica.id, host=event.host, port=event.port)

    def _exited(self, event: ReplicaExited, now: float) -> None:
        replica = self.replicas.get(event.id)
        if replica is None or replica.attempt != event.attempt:
            return
        replica.last_lines = event.last_lines
        if replica.phase is Phase.RECYCLING:
            reason = replica.last_error
        else:
            reason = f"{event.reason} {now - replica.since:.1f} s after it was {_AFTER[replica.phase]}"
        if not replica.is_retired:
            replica.last_error = reason
        self._apply(replica, Signal.EXITED, now, reason)

    def _time_out(self, replica: Replica, now: float) -> None:
        match replica.phase:
            case Phase.STARTING:
                reason = f"not ready {replica.start_timeout_s:g} s after its start (engine.startTimeoutS)"
                replica.last_error = reason
            case Phase.DRAINING:
                reason = f"requests were still in flight after {replica.stop_timeout_s:g} s (engine.stopTimeoutS)"
            case Phase.STOPPING:
                reason = "did not exit when told to"
            case _:
                reason = "back-off is over"
        self._apply(replica, Signal.TIMED_OUT, now, reason)

    def _apply(self, replica: Replica, signal: Signal, now: float, reason: str) -> bool:
        """Moves a replica along the table, and asks for what the phase it enters needs. False where nothing moved."""
        entered = replica.apply(signal, now)
        if entered is None:
            return False
        self._report(replica, reason, now)
        match entered:
            case Phase.STARTING:
                self._actions.append(_start(replica))
            case Phase.DRAINING:
                self._actions.append(DrainReplica(id=replica.id))
            case Phase.STOPPING:
                self._actions.append(StopReplica(id=replica.id))
            case Phase.RECYCLING | Phase.KILLING:
                self._actions.append(KillReplica(id=replica.id))
            case Phase.GONE:
                del self.replicas[replica.id]
            case Phase.READY | Phase.BACKOFF:
                pass
            case _:
                assert_never(entered)
        return True

    def _report(self, replica: Replica, reason: str, now: float) -> None:
        is_failure = replica.phase in (Phase.BACKOFF, Phase.RECYCLING)
        self._actions.append(
            ReplicaChanged(
                id=replica.id,
                model=replica.model,
                phase=replica.phase,
                reason=reason,
                attempt=replica.attempt,
                restart_in_s=replica.deadline - now if replica.phase is Phase.BACKOFF and replica.deadline else None,
                is_crash_looping=replica.is_crash_looping,
                last_lines=replica.last_lines if is_failure else (),
            )
        )

    def _reconcile(self, model: str, now: float) -> None:
        """Retires what is too much, then starts what is missing, within desired + SURGE."""
        target = self.targets.get(model)
        desired = target.replicas if target is not None and target.plan is not None else 0
        revision = target.plan.revision if target is not None and target.plan is not None else None
        live = [r for r in self.of_model(model) if not r.is_retired]
        why = "the fleet stops" if self._is_stopping else "the file changed" if target else "the model was removed"
        for replica in _surplus(live, revision, desired):
            self._apply(replica, Signal.RETIRED, now, why)
        if target is None or target.plan is None:
            return
        present = self.of_model(model)
        fresh = sum(not r.is_retired and r.plan.revision == revision for r in present)
        room = min(desired - fresh, desired + SURGE - len(present))
        for slot in _free_slots({r.slot for r in present}, room):
            self._add(target, target.plan, slot, now)

    def _add(self, target: ModelTarget, plan: EnginePlan, slot: int, now: float) -> None:
        replica = Replica(
            id=f"{target.name}-{slot}",
            model=target.name,
            slot=slot,
            plan=plan,
            start_timeout_s=target.start_timeout_s,
            stop_timeout_s=target.stop_timeout_s,
            phase=Phase.STARTING,
            since=now,
            deadline=now + target.start_timeout_s,
        )
        self.replicas[replica.id] = replica
        self._report(replica, f"revision {plan.revision}", now)
        self._actions.append(_start(replica))

    def _publish(self) -> list[Action]:
        """Pools that changed since they were last told. A removed model's goes at once; its replicas still drain."""
        removed = sorted(self._published.keys() - self.targets.keys())
        for model in removed:
            del self._published[model]
        actions: list[Action] = [RemovePool(model=model) for model in removed]
        for model, target in sorted(self.targets.items()):
            pool = target.addresses if target.plan is None else tuple(_addresses(self.of_model(model)))
            if self._published.get(model) != pool:
                self._published[model] = pool
                actions.append(PublishPool(model=model, addresses=pool))
        return actions


_AFTER: Mapping[Phase, str] = {
    Phase.STARTING: "started",
    Phase.READY: "ready",
    Phase.DRAINING: "told to drain",
    Phase.STOPPING: "told to stop",
    Phase.KILLING: "killed",
}


def _start(replica: Replica) -> StartReplica:
    return StartReplica(id=replica.id, model=replica.model, attempt=replica.attempt, plan=replica.plan)


def _free_slots(taken: set[int], count: int) -> list[int]:
    """The lowest `count` slots that are free, so that names stay few and metrics' labels bounded."""
    free = (slot for slot in range(len(taken) + max(0, count)) if slot not in taken)
    return [slot for slot, _ in zip(free, range(count), strict=False)]


def _surplus(live: Iterable[Replica], revision: str | None, desired: int) -> list[Replica]:
    """Which replicas to retire now. What is not ready goes at once; what is ready, while enough stay."""
    live = list(live)
    old = [r for r in live if r.plan.revision != revision]
    new = sorted((r for r in live if r.plan.revision == revision), key=_worth)
    extra = max(0, len(new) - desired)
    useless = [r for r in old if r.phase is not Phase.READY]
    useless += [r for r in new[:extra] if r.phase is not Phase.READY]
    spare = sum(r.phase is Phase.READY for r in live) - desired
    ready = [r for r in (*old, *new[:extra]) if r.phase is Phase.READY]
    return [*useless, *ready[: max(0, spare)]]


def _worth(replica: Replica) -> tuple[bool, bool, int]:
    """Sorts the replica that is missed least first."""
    return (replica.phase is Phase.READY, replica.phase is Phase.STARTING, -replica.slot)


def _addresses(replicas: Iterable[Replica]) -> list[EndpointAddress]:
    """What of a model's replicas can be reached: ready ones, and draining ones marked so."""
    found: list[EndpointAddress] = []
    for replica in replicas:
        if replica.address is not None:
            at, is_draining = replica.address, replica.phase is Phase.DRAINING
            found.append(EndpointAddress(id=at.id, host=at.host, port=at.port, is_draining=is_draining))
    return found
