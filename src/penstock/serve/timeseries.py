"""The last fifteen minutes, second by second, of each model: what the dashboard draws.

Guarantees: every array of an answer has the length of `t`; a model that came later is padded in front with nulls;
memory is fixed per model. Leaves measuring to `telemetry`, which appends one point a model each second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any

__all__ = ["Point", "TimeSeries"]

RING_TICKS = 900
"""Points kept: fifteen minutes, what an on-call engineer scrolls back before opening Prometheus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One second of one model. None where nothing was measured."""

    requests_per_s: float
    tokens_per_s: float
    errors_per_s: float
    in_flight: int
    waiting: int
    ttft_p50_ms: float | None
    ttft_p95_ms: float | None


_FIELDS = tuple(f.name for f in fields(Point))


class TimeSeries:
    """A ring of points for each model on one shared time axis. Owned by `Telemetry`."""

    def __init__(self, ticks: int = RING_TICKS) -> None:
        self._at: deque[float] = deque(maxlen=ticks)
        self._points: dict[str, deque[Point | None]] = {}

    def append(self, points: Mapping[str, Point], now: float) -> None:
        """Adds one tick. A model that is not in `points` is forgotten."""
        for gone in self._points.keys() - points.keys():
            del self._points[gone]
        for model, point in points.items():
            ring = self._points.get(model)
            if ring is None:
                ring = self._points[model] = deque([None] * len(self._at), maxlen=self._at.maxlen)
            ring.append(point)
        self._at.append(now)

    def last(self, model: str, ticks: int) -> list[Point]:
        """The newest points of `model`, newest first, as far as it has any."""
        return [point for point in islice(reversed(self._points.get(model, ())), ticks) if point is not None]

    def window(self, window_s: float, now: float, unix_now: float) -> dict[str, Any]:
        """The points of the last `window_s` seconds as arrays; `t` in Unix seconds."""
        skipped = sum(at <= now - window_s for at in self._at)
        times = [round(unix_now - (now - at), 3) for at in islice(self._at, skipped, None)]
        models = {name: _columns(islice(ring, skipped, None)) for name, ring in self._points.items()}
        return {"interval_s": 1.0, "t": times, "models": models}


def _columns(points: Iterable[Point | None]) -> dict[str, list[float | None]]:
    rows = list(points)
    return {name: [None if row is None else getattr(row, name) for row in rows] for name in _FIELDS}
