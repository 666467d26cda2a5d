"""Was the fleet large enough, in a word and a sentence with the numbers. Pure.

Judged by how long requests waited before their first step, in gateways' and engines' queues together: a queue is what a
fleet that is too small has, whatever its GPUs are called. An engine decides several steps a second, so a wait of a
second is a queue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["QUEUED_S", "Level", "Pressure", "Verdict", "judge"]

QUEUED_S = 1.0
"""A wait for the first step that counts as queueing."""
_OVERLOADED_SHARE = 0.2
_SATURATED_SHARE = 0.01
_DRAIN_S = 120.0
"""A fleet that needs this long after the last arrival was behind, unless its answers are that long."""
_FULL = 0.95
_NEARLY = 0.9

Level = Literal["comfortable", "slow", "busy", "saturated", "overloaded", "idle"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressure:
    """What the verdict is judged by."""

    requests: int
    queued: int
    """Requests that waited longer than `QUEUED_S` for their first step."""
    queue_max_s: float
    waiting_max: int
    """At once, in gateways and engines."""
    running_max: int
    """At once, of one replica."""
    running_limit: int
    kv_max: float
    preemptions: int
    lost: int
    """Requests that were shed or timed out."""
    unfinished: int
    still_waiting: int
    """Waiting in gateways and engines when the simulation ended."""
    drain_s: float
    """From the last arrival to the last answer."""
    e2e_p99_s: float
    missed: tuple[str, ...] = ()
    """Objectives that are not held, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """For people."""

    level: Level
    words: str


def judge(seen: Pressure) -> Verdict:
    """How the fleet stood up to its load."""
    if not seen.requests:
        return Verdict(level="idle", words="Nothing came.")
    share = seen.queued / seen.requests
    is_behind = seen.drain_s > max(_DRAIN_S, 2 * seen.e2e_p99_s) and seen.queued > 0
    if seen.lost or share > _OVERLOADED_SHARE or is_behind or seen.still_waiting > seen.running_limit:
        return Verdict(level="overloaded", words=f"Overloaded: {_queue(seen, share)}{_lost(seen)}{_bound(seen)}.")
    if share > _SATURATED_SHARE:
        return Verdict(level="saturated", words=f"Saturated at its peaks: {_queue(seen, share)}{_bound(seen)}.")
    if seen.missed and share <= _SATURATED_SHARE / 10:
        return Verdict(
            level="slow",
            words=f"Too slow for {' and '.join(seen.missed)}, though hardly anything queues: more replicas help only as"
            " far as smaller batches are faster; faster GPUs or tensor parallelism do.",
        )
    if seen.queued or seen.preemptions or seen.kv_max > _NEARLY:
        return Verdict(level="busy", words=f"Busy at its peaks: {_queue(seen, share)}{_bound(seen)}.")
    return Verdict(
        level="comfortable",
        words=f"Comfortable: nothing waited {QUEUED_S:g} s for its first step; read once a second, no replica ran more"
        f" than {seen.running_max:,} requests, and no KV cache was more than {_percent(seen.kv_max)} full.",
    )


def _queue(seen: Pressure, share: float) -> str:
    if not seen.queued:
        return "nothing waited long"
    return (
        f"{_percent(share)} of the requests waited over {QUEUED_S:g} s for their first step,"
        f" the longest {seen.queue_max_s:,.0f} s, up to {seen.waiting_max:,} at once"
    )


def _lost(seen: Pressure) -> str:
    words = f"; {seen.lost:,} got no answer (shed or timed out)" if seen.lost else ""
    if seen.still_waiting:
        return f"{words}; {seen.still_waiting:,} still waited at the end"
    if seen.drain_s > _DRAIN_S:
        return f"{words}; the last answer came {seen.drain_s:,.0f} s after the last arrival"
    return words


def _bound(seen: Pressure) -> str:
    """What filled up first."""
    if seen.kv_max >= _FULL:
        preempted = f", {seen.preemptions:,} preemptions" if seen.preemptions else ""
        return f"; the KV cache was {_percent(seen.kv_max)} full{preempted}"
    if seen.running_max >= seen.running_limit:
        return f"; the limit of {seen.running_limit:,} requests at once was reached"
    return f"; the KV cache was at most {_percent(seen.kv_max)} full: it is the GPU's speed that ends it"


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %" if share >= 0.1 else f"{share * 100:.2g} %"
