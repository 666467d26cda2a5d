"""Which endpoints are slow beside their pool. Pure.

Slow is not broken: such an endpoint answers, so it stays in and gets a smaller share (`Guard.share`). What it has to
compare with are the others' times, so that a model that is slow everywhere makes nobody slow.
"""

from __future__ import annotations

from statistics import median

from penstock.serve.routing.endpoint import Endpoint, Pool

__all__ = ["SLOW_FACTOR", "judge"]

SLOW_FACTOR = 3.0
"""Times the median of the pool from which an endpoint is slow. Batches of different size make steps differ by two: a
Llama 3.1 8B on an H200 takes 4.6 ms alone and 8.6 ms in a batch of 256."""
FAST_FACTOR = 2.0
"""Times below which it is no longer."""
SLOW_AFTER_S = 10.0
"""Seconds for which it has to look so: a burst of long prompts passes sooner."""
TTFT_MIN_S = 0.5
"""Seconds below which a first token is not late, however fast the others are."""
TTFT_COUNT_MIN = 20
"""Answers from which the usual time to the first token is known."""


def judge(pool: Pool, now: float) -> None:
    """Compares the endpoints of a pool by their usual times between tokens and to the first token."""
    known = [e for e in pool.endpoints if e.health == "ready"]
    itl_s = _usual([e.itl_s for e in known if e.itl_s > 0])
    ttft_s = _usual([e.guard.ttft_s for e in known if e.guard.ttft_count >= TTFT_COUNT_MIN])
    for endpoint in pool.endpoints:
        _judge(endpoint, itl_s, ttft_s, now)


def _usual(values: list[float]) -> float:
    """Median; of two the lesser, as one of them may be the slow one. 0 with nothing to compare."""
    if len(values) < 2:
        return 0.0
    return min(values) if len(values) == 2 else median(values)


def _judge(endpoint: Endpoint, itl_s: float, ttft_s: float, now: float) -> None:
    guard = endpoint.guard
    factor = FAST_FACTOR if guard.is_slow else SLOW_FACTOR
    is_late = guard.ttft_count >= TTFT_COUNT_MIN and guard.ttft_s > max(TTFT_MIN_S, factor * ttft_s) and ttft_s > 0
    looks_slow = endpoint.health == "ready" and (is_late or (itl_s > 0 and endpoint.itl_s > factor * itl_s))
    if not looks_slow:
        guard.slow_from, guard.is_slow = None, False
    elif guard.slow_from is None or now < guard.slow_from:
        guard.slow_from = now
    elif now - guard.slow_from >= SLOW_AFTER_S:
        guard.is_slow = True
