"""Whether a request that waits long for its first token is sent to a second endpoint as well. Pure.

The one that answers first is kept, the other cancelled. It cuts the tail where one endpoint is slow for a moment, and
costs a second prefill. Off unless somebody asks for it. Guarantees: never more than `SHARE` of the requests, plus
`BALANCE_MAX` at once; never for a request whose answer began, that was hedged or retried before, or while no other
endpoint has room; nothing before `SAMPLES_MIN` answers have shown what is late.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["Hedge"]

SHARE = 0.05
"""Hedges for each request: those that are later than 95 % are one in twenty."""
BALANCE_MAX = 5.0
SAMPLES_MAX = 256
"""Times to first token that are kept, the latest."""
SAMPLES_MIN = 50
LATE_SHARE = 0.95
FLOOR_S = 0.05
"""Seconds below which nothing is late: a second request costs more than that."""
_LEARN_EVERY = 32


class Hedge:
    """The hedging of one pool. Owned by the gateway's core; called from the event loop."""

    __slots__ = ("_balance", "_count", "_samples", "hedged_total", "late_s")

    def __init__(self) -> None:
        self.late_s = float("inf")
        """Seconds without a first token from which a request is late: the 95th percentile of the latest answers."""
        self.hedged_total = 0
        self._samples: list[float] = []
        self._count = 0
        self._balance = 0.0

    def request(self) -> None:
        """A request was sent for the first time."""
        self._balance = min(BALANCE_MAX, self._balance + SHARE)

    def began(self, ttft_s: float) -> None:
        """An answer's first token came that long after its request was sent. Not for the second of two."""
        if len(self._samples) < SAMPLES_MAX:
            self._samples.append(ttft_s)
        else:
            self._samples[self._count % SAMPLES_MAX] = ttft_s
        self._count += 1
        if self._count >= SAMPLES_MIN and (self._count == SAMPLES_MIN or self._count % _LEARN_EVERY == 0):
            self.late_s = max(FLOOR_S, _percentile(self._samples, LATE_SHARE))

    def should(self, waited_s: float, *, has_begun: bool, is_second: bool, has_room: bool) -> bool:
        """Whether to send it to another endpoint too; takes it from the budget.

        `waited_s`: seconds since it was sent. `is_second`: it was hedged, retried or resumed before. `has_room`:
        another endpoint could begin with it at once.
        """
        if waited_s < self.late_s or has_begun or is_second or not has_room or self._balance < 1.0:
            return False
        self._balance -= 1.0
        self.hedged_total += 1
        return True


def _percentile(values: Sequence[float], share: float) -> float:
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]
