"""Latency histograms: exact counts in fixed log-spaced buckets, and percentiles over the last minute from them.

Guarantees: recording is one bisect and two additions; a percentile is at most one bucket (15 %) off; memory is fixed.
One `Histogram` is owned by one `Telemetry`. The hot path writes `counts` and `sum_ms` itself, without a call, and never
touches the window: `tick` keeps what the counts were, once a second. Leaves rendering to others.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from operator import sub

__all__ = ["BOUNDS_MS", "Histogram", "percentile"]

_R20 = (1.0, 1.12, 1.25, 1.4, 1.6, 1.8, 2.0, 2.24, 2.5, 2.8, 3.15, 3.55, 4.0, 4.5, 5.0, 5.6, 6.3, 7.1, 8.0, 9.0)
"""The preferred numbers R20 of ISO 3: twenty steps a decade, with 1, 2, 2.5, 4 and 5 among them as round bounds."""

BOUNDS_MS: tuple[float, ...] = (*(round(m * 10.0**d, 6) for d in range(-1, 6) for m in _R20), 1_000_000.0)
"""Upper bounds, inclusive, in milliseconds: 0.1 ms to 1,000 s. One more bucket takes what is above."""

WINDOW_TICKS = 60
"""Ticks (seconds) that a percentile of the present looks back: steady, and still quick to show trouble."""


class Histogram:
    """Counts since the start, and what they were at each of the last 60 ticks. Owned by `Telemetry`."""

    __slots__ = ("_past", "counts", "sum_ms")

    def __init__(self) -> None:
        self.counts: list[int] = [0] * (len(BOUNDS_MS) + 1)
        self.sum_ms = 0.0
        self._past: deque[list[int]] = deque([self.counts.copy()], maxlen=WINDOW_TICKS + 1)

    def record(self, value_ms: float) -> None:
        """Counts one value."""
        self.counts[bisect_left(BOUNDS_MS, value_ms)] += 1
        self.sum_ms += value_ms

    def tick(self) -> None:
        """Keeps the counts of this moment; an idle histogram shares one copy over all its ticks."""
        last = self._past[-1]
        self._past.append(last if last == self.counts else self.counts.copy())

    def window(self, ticks: int = WINDOW_TICKS) -> list[int]:
        """Counts of what was recorded since `ticks` ticks ago, or since the start where that is later."""
        past = self._past[max(0, len(self._past) - 1 - ticks)]
        return list(map(sub, self.counts, past))

    def cumulative(self, bounds_ms: Sequence[float]) -> list[int]:
        """For each of `bounds_ms` (each one of `BOUNDS_MS`), how many values were at or below it; then the total."""
        running = list(accumulate(self.counts))
        return [*(running[bisect_left(BOUNDS_MS, bound)] for bound in bounds_ms), running[-1]]


def percentile(counts: Sequence[int], share: float) -> float | None:
    """The value below which `share` (0 to 1) of what `counts` holds lies, milliseconds; None where it holds nothing.

    Linear inside a bucket. What lies above the last bound reads as the last bound.
    """
    total = sum(counts)
    if not total:
        return None
    rank = share * total
    below = 0
    for index, count in enumerate(counts):
        if count and below + count >= rank:
            if index == len(BOUNDS_MS):
                break
            low = BOUNDS_MS[index - 1] if index else 0.0
            return low + (BOUNDS_MS[index] - low) * max(0.0, rank - below) / count
        below += count
    return BOUNDS_MS[-1]
