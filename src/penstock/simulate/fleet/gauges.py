"""What is seen once a second: running, waiting and KV of the fleet and of each replica, and the gateways' queues.

Guarantees: one reading for each tick, idle ones too; 20 bytes a tick.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from penstock.simulate.engine import EngineStats

__all__ = ["TICK_S", "Gauges", "ReplicaGauges", "columns"]

TICK_S = 1.0
"""Between two readings: as often as the gateway's scraper reads."""

_Number = TypeVar("_Number", int, float)


@dataclass(slots=True, kw_only=True)
class ReplicaGauges:
    """One replica over the run."""

    running_sum: int = 0
    busy_ticks: int = 0
    running_max: int = 0
    waiting_max: int = 0
    kv_max: float = 0.0


class Gauges:
    """Owned by one run. `read` each replica, then `close` the tick."""

    def __init__(self, replicas: int) -> None:
        self.running = array("i")
        """Of all replicas."""
        self.waiting = array("i")
        self.queued = array("i")
        """In all gateways."""
        self.kv = array("d")
        """Of the fullest replica, 0 to 1."""
        self.replicas = [ReplicaGauges() for _ in range(replicas)]
        self._now: tuple[int, int, float] = (0, 0, 0.0)

    def read(self, place: int, stats: EngineStats) -> None:
        """One replica's gauges now."""
        running, waiting, kv = self._now
        self._now = (running + stats.running, waiting + stats.waiting, max(kv, stats.kv_usage))
        one = self.replicas[place]
        one.running_sum += stats.running
        one.busy_ticks += stats.running > 0
        one.running_max = max(one.running_max, stats.running)
        one.waiting_max = max(one.waiting_max, stats.waiting)
        one.kv_max = max(one.kv_max, stats.kv_usage)

    def close(self, queued: int = 0) -> None:
        """The tick is over; a replica that was not read is idle. `queued`: requests that wait in gateways."""
        running, waiting, kv = self._now
        self.running.append(running)
        self.waiting.append(waiting)
        self.kv.append(kv)
        self.queued.append(queued)
        self._now = (0, 0, 0.0)


def columns(
    values: Sequence[_Number], interval_s: float, count: int, of: Callable[[Sequence[_Number]], float]
) -> tuple[float, ...]:
    """Ticks drawn together by interval: `of` each interval's readings, 0 where it has none."""
    found: list[float] = []
    for k in range(count):
        part = values[round(k * interval_s / TICK_S) : round((k + 1) * interval_s / TICK_S)]
        found.append(of(part) if len(part) else 0.0)
    return tuple(found)
