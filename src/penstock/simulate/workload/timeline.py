"""A run of load over time: what was sent, answered, failed and streamed in each interval.

Guarantees: all columns have one length, at most 600 intervals of at least a second; counts add up to the run's totals.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["POINTS_MAX", "Timeline", "draw_timeline"]

POINTS_MAX = 600  # more is neither readable in a plot nor wanted in JSON
_STEPS_S = (1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0)


class Seen(Protocol):
    """What a timeline needs to know of one request."""

    @property
    def due_s(self) -> float: ...
    @property
    def sent_s(self) -> float: ...
    @property
    def first_s(self) -> float | None: ...
    @property
    def done_s(self) -> float: ...
    @property
    def output_tokens(self) -> int: ...
    @property
    def ttft_ms(self) -> float | None: ...
    @property
    def e2e_ms(self) -> float: ...
    @property
    def failure(self) -> object | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Columns by interval. A request counts as sent where it was sent, and as ok or failed where it ended; its TTFT and
    E2E belong to the interval in which it was due, its output tokens are spread evenly over its stream."""

    interval_s: float = 1.0
    t_s: tuple[float, ...] = ()
    sent: tuple[int, ...] = ()
    ok: tuple[int, ...] = ()
    failed: tuple[int, ...] = ()
    in_flight: tuple[int, ...] = ()
    output_tokens_per_s: tuple[float, ...] = ()
    ttft_p50_ms: tuple[float | None, ...] = ()
    ttft_p95_ms: tuple[float | None, ...] = ()
    e2e_p50_ms: tuple[float | None, ...] = ()
    e2e_p95_ms: tuple[float | None, ...] = ()


def draw_timeline(samples: Sequence[Seen]) -> Timeline:
    """The timeline of a run; empty when nothing was sent."""
    if not samples:
        return Timeline()
    end_s = max(s.done_s for s in samples)
    step_s = next((s for s in _STEPS_S if end_s / s < POINTS_MAX), math.ceil(end_s / (POINTS_MAX - 1)))
    n = int(end_s / step_s) + 1
    sent, ok, failed = [0] * n, [0] * n, [0] * n
    tokens = [0.0] * n
    ttft: list[list[float]] = [[] for _ in range(n)]
    e2e: list[list[float]] = [[] for _ in range(n)]
    for s in samples:
        sent[int(s.sent_s / step_s)] += 1
        (ok if s.failure is None else failed)[int(s.done_s / step_s)] += 1
        if s.failure is None:
            due = int(s.due_s / step_s)
            e2e[due].append(s.e2e_ms)
            if s.ttft_ms is not None:
                ttft[due].append(s.ttft_ms)
        _spread(tokens, s.output_tokens, s.done_s if s.first_s is None else s.first_s, s.done_s, step_s)
    in_flight, flying = [], 0
    for k in range(n):
        flying += sent[k] - ok[k] - failed[k]
        in_flight.append(flying)
    return Timeline(
        interval_s=step_s,
        t_s=tuple(k * step_s for k in range(n)),
        sent=tuple(sent),
        ok=tuple(ok),
        failed=tuple(failed),
        in_flight=tuple(in_flight),
        output_tokens_per_s=tuple(round(count / step_s, 1) for count in tokens),
        ttft_p50_ms=_ranks(ttft, 50),
        ttft_p95_ms=_ranks(ttft, 95),
        e2e_p50_ms=_ranks(e2e, 50),
        e2e_p95_ms=_ranks(e2e, 95),
    )


def _spread(into: list[float], amount: int, start_s: float, end_s: float, step_s: float) -> None:
    """Add an amount evenly over the intervals from start to end."""
    first, last = int(start_s / step_s), int(end_s / step_s)
    if first == last or end_s <= start_s:
        into[last] += amount
        return
    for k in range(first, last + 1):
        inside_s = min(end_s, (k + 1) * step_s) - max(start_s, k * step_s)
        into[k] += amount * inside_s / (end_s - start_s)


def _ranks(columns: Iterable[list[float]], p: int) -> tuple[float | None, ...]:
    return tuple(
        round(sorted(values)[math.ceil(len(values) * p / 100.0) - 1], 3) if values else None for values in columns
    )
