"""One replica's life as a table: its phases, what moves it from one to the next, and when it is started again.

Guarantees that a signal without a row changes nothing (late news of an old process does no harm) and that restarts are
ever further apart until the replica has proven itself. Leaves to the supervisor which replicas should exist, and to
`operate/io` what a phase asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from penstock.operate.engines import EnginePlan
from penstock.serve.routing import EndpointAddress

__all__ = ["STABLE_S", "TRANSITIONS", "Phase", "Replica", "Signal", "restart_delay_s"]

STABLE_S = 60.0
"""Ready this long, and an exit counts as the first again: no less than any back-off, so a crash loop stays one."""
RESTART_DELAY_MAX_S = 60.0
"""Longest wait before a restart: a mended machine is used again within a minute."""
KILL_GRACE_S = 10.0
"""From SIGTERM to SIGKILL, requests already drained: an engine needs seconds to free GPU and shared memory."""


class Phase(StrEnum):
    """Where a replica is in its life. `draining`, `stopping` and `killing` end in its removal."""

    STARTING = "starting"
    READY = "ready"
    RECYCLING = "recycling"
    """Being killed because it never became ready; started again afterwards."""
    BACKOFF = "backoff"
    """Its process died; waits to be started again."""
    DRAINING = "draining"
    """Gets nothing new, finishes what it has."""
    STOPPING = "stopping"
    """Told to exit (SIGTERM)."""
    KILLING = "killing"
    """SIGKILL sent; waits for the process to be gone."""
    GONE = "gone"


class Signal(StrEnum):
    """What can happen to a replica."""

    PROVEN = "proven"
    """It answered ready."""
    EXITED = "exited"
    TIMED_OUT = "timed out"
    """The phase's deadline passed."""
    RETIRED = "retired"
    """It is no longer wanted."""
    DRAINED = "drained"
    """Nothing is in flight on it."""
    HURRIED = "hurried"
    """Everything must end now."""


TRANSITIONS: Mapping[tuple[Phase, Signal], Phase] = {
    (Phase.STARTING, Signal.PROVEN): Phase.READY,
    (Phase.STARTING, Signal.EXITED): Phase.BACKOFF,
    (Phase.STARTING, Signal.TIMED_OUT): Phase.RECYCLING,
    (Phase.STARTING, Signal.RETIRED): Phase.STOPPING,
    (Phase.STARTING, Signal.HURRIED): Phase.KILLING,
    (Phase.READY, Signal.EXITED): Phase.BACKOFF,
    (Phase.READY, Signal.RETIRED): Phase.DRAINING,
    (Phase.READY, Signal.HURRIED): Phase.KILLING,
    (Phase.RECYCLING, Signal.EXITED): Phase.BACKOFF,
    (Phase.RECYCLING, Signal.RETIRED): Phase.KILLING,
    (Phase.RECYCLING, Signal.HURRIED): Phase.KILLING,
    (Phase.BACKOFF, Signal.TIMED_OUT): Phase.STARTING,
    (Phase.BACKOFF, Signal.RETIRED): Phase.GONE,
    (Phase.BACKOFF, Signal.HURRIED): Phase.GONE,
    (Phase.DRAINING, Signal.DRAINED): Phase.STOPPING,
    (Phase.DRAINING, Signal.TIMED_OUT): Phase.KILLING,  # told to stop, vLLM 0.32 hangs its streams and says nothing
    (Phase.DRAINING, Signal.EXITED): Phase.GONE,
    (Phase.DRAINING, Signal.HURRIED): Phase.KILLING,
    (Phase.STOPPING, Signal.EXITED): Phase.GONE,
    (Phase.STOPPING, Signal.TIMED_OUT): Phase.KILLING,
    (Phase.STOPPING, Signal.HURRIED): Phase.KILLING,
    (Phase.KILLING, Signal.EXITED): Phase.GONE,
}
"""Every move there is."""

_RETIRED = frozenset({Phase.DRAINING, Phase.STOPPING, Phase.KILLING, Phase.GONE})


def restart_delay_s(failures: int) -> float:
    """Seconds to wait after the `failures`-th exit in a row: 1, 2, 4 … up to a minute."""
    return min(RESTART_DELAY_MAX_S, 2.0 ** (min(failures, 16) - 1))


@dataclass(slots=True, kw_only=True)
class Replica:
    """One engine that should run, or is on its way out. Owned and changed by the `Supervisor` only."""

    id: str
    """Unique in the fleet, as in `chat-0`."""
    model: str
    slot: int
    plan: EnginePlan
    start_timeout_s: float
    stop_timeout_s: float
    phase: Phase
    since: float
    """Monotonic seconds when the phase began."""
    deadline: float | None = None
    """Monotonic seconds when the phase times out; None where it can last."""
    attempt: int = 1
    """Which of its processes is meant; news of an earlier one is stale."""
    failures: int = 0
    """Exits in a row without a stable run between."""
    restarts: int = 0
    address: EndpointAddress | None = None
    last_error: str = ""
    last_lines: tuple[str, ...] = ()
    """What its process said last, before it died."""

    @property
    def is_retired(self) -> bool:
        """Whether it is on its way out for good."""
        return self.phase in _RETIRED

    @property
    def is_crash_looping(self) -> bool:
        """Whether it died three times in a row: no accident, somebody should look."""
        return self.failures >= 3 and self.phase in (Phase.BACKOFF, Phase.STARTING)

    def apply(self, signal: Signal, now: float) -> Phase | None:
        """Moves along the table; returns the phase entered, None where the signal means nothing now."""
        entered = TRANSITIONS.get((self.phase, signal))
        if entered is None:
            return None
        if entered is Phase.BACKOFF:
            if self.phase is Phase.READY and now - self.since >= STABLE_S:
                self.failures = 0
            self.failures += 1
        elif entered is Phase.STARTING:
            self.attempt += 1
            self.restarts += 1
        if entered is not Phase.READY and entered is not Phase.DRAINING:
            self.address = None
        self.phase, self.since = entered, now
        self.deadline = self._deadline(entered, now)
        return entered

    def _deadline(self, phase: Phase, now: float) -> float | None:
        match phase:
            case Phase.STARTING:
                return now + self.start_timeout_s
            case Phase.BACKOFF:
                return now + restart_delay_s(self.failures)
            case Phase.DRAINING:
                return now + self.stop_timeout_s
            case Phase.STOPPING:
                return now + KILL_GRACE_S
            case _:
                return None
