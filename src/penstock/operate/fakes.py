"""A machine in virtual time: does what the supervisor asks for, without processes and without a clock.

Ships with the product, because the fleet simulation and the tests drive the real supervisor with it. Guarantees that
the same calls give the same history. How an engine behaves is asked of `behave` at each start.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import assert_never

from penstock.operate.events import (
    Action,
    DrainReplica,
    Event,
    KillReplica,
    PublishPool,
    RemovePool,
    ReplicaChanged,
    ReplicaDrained,
    ReplicaExited,
    ReplicaProven,
    StartReplica,
    StopReplica,
    TimePassed,
    Wait,
)
from penstock.operate.supervisor import Supervisor
from penstock.serve.routing import EndpointAddress

__all__ = ["Behaviour", "FakeMachine", "FakeProcess"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What one process will do. Seconds from its start; `drain_s` and `exit_s` from when it is asked. None: never."""

    ready_s: float | None = 2.0
    dies_s: float | None = None
    drain_s: float | None = 0.0
    exit_s: float | None = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeProcess:
    """A process that lives."""

    start: StartReplica
    behaviour: Behaviour
    port: int


@dataclass(slots=True)
class FakeMachine:
    """Processes and pools in virtual time. Owns the clock; the supervisor is driven through `post` and `run_until`."""

    supervisor: Supervisor
    behave: Callable[[StartReplica], Behaviour] = field(default=lambda _: Behaviour())
    now: float = 0.0
    processes: dict[str, FakeProcess] = field(default_factory=dict)
    pools: dict[str, tuple[EndpointAddress, ...]] = field(default_factory=dict)
    history: list[tuple[float, Action]] = field(default_factory=list)
    after_each: Callable[[], None] = field(default=lambda: None)
    """Called after every event: where a test checks its invariants."""
    _due: list[tuple[float, int, FakeProcess | None, Event]] = field(default_factory=list)
    _count: int = 0

    def post(self, event: Event) -> None:
        """Hands the supervisor an event now, and does what it asks for."""
        for action in self.supervisor.handle(event, self.now):
            if not isinstance(action, Wait):
                self.history.append((self.now, action))
            self._do(action)
        self.after_each()

    def run_until(self, moment: float) -> None:
        """Lets time pass, event by event."""
        while self._due and self._due[0][0] <= moment:
            due, _, process, event = heapq.heappop(self._due)
            self.now = max(self.now, due)
            if process is not None and self.processes.get(process.start.id) is not process:
                continue  # it died meanwhile
            if isinstance(event, ReplicaExited):
                del self.processes[event.id]
            self.post(event)
        self.now = max(self.now, moment)

    def run_for(self, seconds: float) -> None:
        """Lets this much time pass."""
        self.run_until(self.now + seconds)

    def crash(self, replica_id: str, reason: str = "was killed by SIGKILL") -> None:
        """The process of a replica dies now."""
        process = self.processes.pop(replica_id)
        self.post(ReplicaExited(id=replica_id, attempt=process.start.attempt, reason=reason))

    def changes(self) -> list[ReplicaChanged]:
        """Every change reported so far."""
        return [action for _, action in self.history if isinstance(action, ReplicaChanged)]

    def _later(self, seconds: float | None, process: FakeProcess | None, event: Event) -> None:
        if seconds is not None:
            self._count += 1
            heapq.heappush(self._due, (self.now + seconds, self._count, process, event))

    def _do(self, action: Action) -> None:
        match action:
            case StartReplica():
                self._start(action)
            case DrainReplica(id=replica_id):
                process = self.processes[replica_id]
                self._later(process.behaviour.drain_s, process, ReplicaDrained(id=replica_id))
            case StopReplica(id=replica_id):
                self._end(replica_id, self.processes[replica_id].behaviour.exit_s, "exited with code 0")
            case KillReplica(id=replica_id):
                self._end(replica_id, 0.0, "was killed by SIGKILL")
            case PublishPool(model=model, addresses=addresses):
                self.pools[model] = addresses
            case RemovePool(model=model):
                del self.pools[model]
            case Wait(until=until):
                self._later(until - self.now, None, TimePassed())
            case ReplicaChanged():
                pass
            case _:
                assert_never(action)

    def _start(self, action: StartReplica) -> None:
        assert action.id not in self.processes, f"{action.id} runs already"
        process = FakeProcess(start=action, behaviour=self.behave(action), port=40000 + self._count)
        self.processes[action.id] = process
        what = process.behaviour
        ready = ReplicaProven(id=action.id, attempt=action.attempt, host="127.0.0.1", port=process.port)
        self._later(what.ready_s, process, ready)
        lines = (f"{action.id}: out of luck",)
        died = ReplicaExited(id=action.id, attempt=action.attempt, reason="exited with code 1", last_lines=lines)
        self._later(what.dies_s, process, died)

    def _end(self, replica_id: str, seconds: float | None, reason: str) -> None:
        process = self.processes[replica_id]
        self._later(seconds, process, ReplicaExited(id=replica_id, attempt=process.start.attempt, reason=reason))
