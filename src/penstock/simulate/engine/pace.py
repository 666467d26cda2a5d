"""How quick a process is from moment to moment: its virtual CPU is half of a core, whose other half is busy or not.

On the measured host, scheduling, launches and delivery slow down together, to twice as slow, for a second or so, with
shorter spells in between. Imitated by even sequences instead of a random stream, so that the same moments are always
as slow. Guarantees: a factor depends on the time and on `phase` alone; it is 1 or more.
"""

from __future__ import annotations

import math

from penstock.perf.overheads import slowed

__all__ = ["Pace"]

_GOLDEN = 0.6180339887498949
"""Multiples of it, less their whole part, fill 0 to 1 evenly."""
_SLOT_S = 0.1
_SPELL_SLOTS = 6
"""A host that is slow stays so for a while: launches 0.1 s apart correlate by 0.5 to 0.8 on the measured one."""
_OWN_SLOTS = 8
"""One slot in so many is as quick or slow as itself, not as its spell."""


class Pace:
    """Owns nothing but the slot that it was last asked for. `phase` tells processes apart."""

    def __init__(self, slowest: float, *, phase: float = 0.0, speed: float = 1.0) -> None:
        self._slowest = slowest
        self._phase = phase
        self._slots_per_s = speed / _SLOT_S
        self._factor = 1.0
        self._from = self.until = math.inf
        """The factor holds from the first to the second of these times."""

    def at(self, now: float) -> float:
        """How many times as long the process takes at this time."""
        if not self._from <= now < self.until:
            slot = math.floor(now * self._slots_per_s)
            self._from, self.until = slot / self._slots_per_s, (slot + 1) / self._slots_per_s
            place = slot if slot % _OWN_SLOTS == 0 else slot // _SPELL_SLOTS
            self._factor = slowed(self._slowest, (place * _GOLDEN + self._phase) % 1.0)
        return self._factor
