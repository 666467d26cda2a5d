"""Virtual time: what is to happen, in order. Pure.

Two things due at the same moment happen in the order in which they were planned, so that a seed always tells the same
story.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

__all__ = ["Clock", "Planned"]


class Planned:
    """Something that is to happen, unless it is cancelled."""

    __slots__ = ("act",)

    def __init__(self, act: Callable[[], None]) -> None:
        self.act: Callable[[], None] | None = act

    def cancel(self) -> None:
        self.act = None


class Clock:
    """The time of one world, seconds."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.events = 0
        """That happened so far."""
        self._heap: list[tuple[float, int, Planned]] = []
        self._count = 0

    def at(self, when: float, act: Callable[[], None]) -> Planned:
        """Plans `act` for `when`, or for now if that has passed."""
        planned = Planned(act)
        self._count += 1
        heappush(self._heap, (max(when, self.now), self._count, planned))
        return planned

    def after(self, seconds: float, act: Callable[[], None]) -> Planned:
        """Plans `act`."""
        return self.at(self.now + seconds, act)

    def step(self) -> bool:
        """Lets the next thing happen; False when nothing is planned."""
        while self._heap:
            when, _, planned = heappop(self._heap)
            if planned.act is not None:
                self.now = when
                self.events += 1
                planned.act()
                return True
        return False

    def run_until(self, when: float) -> None:
        """Lets everything happen up to `when`."""
        while self._heap and self._heap[0][0] <= when:
            self.step()
        self.now = max(self.now, when)
