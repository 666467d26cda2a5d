"""The process that a gateway runs in: one event loop, which may stand still or be killed. Pure.

Everything that happens in a gateway happens in a turn: what came, then what that put off until the turn's end. While
the host is frozen, what comes waits for it in the sockets; timers are late.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from penstock.simulate.system.clock import Clock

__all__ = ["Host"]

Act = Callable[[], None]


class Host:
    """One process. `turned` is called after each turn."""

    def __init__(self, clock: Clock, turned: Act) -> None:
        self.clock = clock
        self.is_dead = False
        self.soon: deque[Act] = deque()
        """What is left for the end of the turn."""
        self._turned = turned
        self._frozen_until = 0.0
        self._backlog: deque[Act] = deque()

    @property
    def is_frozen(self) -> bool:
        return self.clock.now < self._frozen_until

    def enter(self, act: Act) -> None:
        """Something comes: from a socket, or from a timer of the loop."""
        if self.is_dead:
            return
        if self.is_frozen or self._backlog:
            self._backlog.append(act)
            return
        self._run(act)

    def _run(self, act: Act) -> None:
        act()
        while self.soon:
            self.soon.popleft()()
        self._turned()

    def freeze(self, seconds: float) -> None:
        """The process stands still."""
        self._frozen_until = max(self._frozen_until, self.clock.now + seconds)
        self.clock.at(self._frozen_until, self._thaw)

    def _thaw(self) -> None:
        while self._backlog and not (self.is_frozen or self.is_dead):
            self._run(self._backlog.popleft())

    def every(self, seconds: float, act: Act) -> None:
        """A timer of the loop."""

        def fire() -> None:
            if self.is_dead:
                return
            if self.is_frozen:
                self.clock.at(self._frozen_until, fire)
                return
            self.clock.after(seconds, fire)
            self._run(act)

        self.clock.after(seconds, fire)

    def kill(self) -> None:
        """The process is no more."""
        self.is_dead = True
        self.soon.clear()
        self._backlog.clear()
