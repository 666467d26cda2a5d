"""When an endpoint goes out and when it comes back. Pure: acts on the endpoint's state alone.

Guarantees: what can't answer (`gone`, `hung`) goes out whatever is left; what answers some (`bad`) only while half of
its pool, and one at least, stays in, and only where it is worse than the others. Failures of requests that were under
way when it went out change nothing more: one crash is one ejection, however many streams it cut.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from penstock.serve.routing.endpoint import Endpoint, Pool
from penstock.serve.routing.health import EJECTED_SHARE_MAX, RAMP_OUT_S, RECOVERED_S, back_off_s
from penstock.serve.routing.signals import SIGNALS, Fault, Signal

__all__ = ["close", "fail", "is_outlier", "may_lose_one", "open_", "prove", "readmit"]

CONSECUTIVE_MAX = 5
"""Errors in a row from which an endpoint is looked at as an outlier, as in Envoy's `consecutive_5xx`."""
VOLUME_MIN = 10
"""Answers from which its share of errors is looked at."""
ERROR_SHARE_MIN = 0.2
"""Share of errors below which nobody is an outlier: users' own mistakes that surface as 500s."""
WORSE_FACTOR = 2.0
WORSE_SHARE = 0.1
"""An outlier's share of errors is over this many times the others' and this much more."""
LIVES_TRUSTED = 3
"""Times in a row that an answer of `/metrics` ends a failure to connect. One whose requests still fail each time then
waits for a trial. Tries that failed before anything answered do not count: it was still starting."""
_GRAVITY: dict[Fault, int] = {"": 0, "bad": 1, "hung": 2, "gone": 3}


def fail(pool: Pool, endpoint: Endpoint, signal: Signal, now: float, *, is_trial: bool, words: str) -> None:
    """A signal that counts against the endpoint. `is_trial`: it is what came of trying one that is out."""
    meaning, guard = SIGNALS[signal], endpoint.guard
    guard.count(now, bad=1)
    if meaning.effect != "share":
        endpoint.failures_total += 1
        endpoint.consecutive_failures += 1
    endpoint.last_error = words or meaning.what
    if endpoint.health == "draining":
        return
    if endpoint.health == "down":
        if is_trial:
            open_(pool, endpoint, signal, now)
        elif meaning.effect == "out" and _GRAVITY[meaning.fault] >= _GRAVITY[guard.fault]:
            _rename(endpoint, signal, now)
    elif meaning.fault != "bad" or (
        may_lose_one(pool) and (meaning.effect == "out" or is_outlier(pool, endpoint, now))
    ):
        open_(pool, endpoint, signal, now)


def prove(endpoint: Endpoint, signal: Signal, now: float) -> None:
    """A sign of life that is no answer: makes an unproven endpoint ready, and ends what it disproves."""
    guard = endpoint.guard
    if endpoint.health == "unproven":
        endpoint.health, guard.since = "ready", now
    elif endpoint.health == "down":
        why = guard.signal
        is_ended = why is None or signal in SIGNALS[why].until
        if is_ended and not (why == "connect_failed" and guard.revivals >= LIVES_TRUSTED):
            guard.revivals += 1
            close(endpoint, now)


def open_(pool: Pool, endpoint: Endpoint, signal: Signal, now: float) -> None:
    """Puts the endpoint out, or keeps it out after a trial that failed."""
    guard = endpoint.guard
    is_again = endpoint.health == "down" or (guard.streak and now - guard.since < RECOVERED_S)
    guard.streak = guard.streak + 1 if is_again else 1
    if endpoint.health != "down":
        guard.since = now
        guard.ejections_total += 1
    endpoint.health = "down"
    endpoint.retry_at = now + back_off_s(SIGNALS[signal].fault, guard.streak)
    _rename(endpoint, signal, now)
    pool.is_calm = False
    readmit(pool, now)


def close(endpoint: Endpoint, now: float) -> None:
    """Takes the endpoint in again, slowly if it was out for long."""
    guard = endpoint.guard
    if guard.signal == "no_progress" and guard.progress.quiet_looks:
        guard.progress.is_doubted = True  # it answers, and its counters still stand
    guard.ramp_from, guard.is_ramping = now, now - guard.since >= RAMP_OUT_S
    guard.since, guard.signal, guard.fault, guard.trial = now, None, "", 0
    guard.forget()
    endpoint.health, endpoint.last_error = "ready", ""
    endpoint.consecutive_failures, endpoint.is_stalled = 0, False


def may_lose_one(pool: Pool) -> bool:
    """Whether enough of the pool stays in without one more."""
    return pool.ready_count - 1 >= _kept(pool)


def readmit(pool: Pool, now: float) -> None:
    """Takes in again what answers some, the least bad first, while too little of the pool is in."""
    while pool.ready_count < _kept(pool):
        bad = [e for e in pool.endpoints if e.health == "down" and e.guard.fault == "bad"]
        if not bad:
            return
        close(min(bad, key=lambda e: e.guard.error_share(now)), now)


def is_outlier(pool: Pool, endpoint: Endpoint, now: float) -> bool:
    """Whether the endpoint fails so often, and so much oftener than the others, that the fault is its own."""
    good, bad = endpoint.guard.counts(now)
    many = endpoint.consecutive_failures >= CONSECUTIVE_MAX or good + bad >= VOLUME_MIN
    share = bad / (good + bad) if bad else 0.0
    if bad < CONSECUTIVE_MAX or not many or share < ERROR_SHARE_MIN:
        return False
    others = _share_of_others((e for e in pool.endpoints if e is not endpoint), now)
    return share > WORSE_FACTOR * others + WORSE_SHARE


def _share_of_others(others: Iterable[Endpoint], now: float) -> float:
    good = bad = 0
    for endpoint in others:
        one_good, one_bad = endpoint.guard.counts(now)
        good, bad = good + one_good, bad + one_bad
    return bad / (good + bad) if bad else 0.0


def _kept(pool: Pool) -> int:
    """Endpoints that stay in, as far as it is ours to say."""
    total = sum(e.health != "draining" for e in pool.endpoints)
    return max(1, ceil(total * (1.0 - EJECTED_SHARE_MAX))) if total else 0


def _rename(endpoint: Endpoint, signal: Signal, now: float) -> None:
    """Says why it is out."""
    guard = endpoint.guard
    guard.signal, guard.fault = signal, SIGNALS[signal].fault
    if guard.fault == "hung" and not endpoint.is_stalled:
        endpoint.stalled_at = now
    endpoint.is_stalled = guard.fault == "hung"
