"""What holds the limits while the store that gateways share is away: this gateway's share of them. Pure.

    Redis answers ─▶ saw ──▶ ... away ─▶ begin ─▶ LocalLimiter of the share ─▶ back ─▶ end: what Redis must be told

Guarantees: from one holder to the other nobody is given a burst anew. All shares begin without any burst and with no
more than their part of what the minute has left, taking it that the other gateways went on at full speed since Redis
last spoke; on the way back the store is told what it may have forgotten and, once, what was used meanwhile.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from penstock.serve.flow.gcra import WINDOW_S, Meter, Share, rates_of
from penstock.serve.flow.limits import LocalLimiter
from penstock.serve.flow.quota import Quota, Scope

__all__ = ["Merge", "StandIn"]

Four = tuple[float, float, float, float]
_NOTHING: Four = (0.0, 0.0, 0.0, 0.0)
FORGET = 4
"""Meters looked at for each one that is heard of."""


@dataclass(slots=True)
class Merge:
    """What the store is told of one scope on the way back: at least `known`, and `added` on top of it."""

    scope_id: str
    quota: Quota
    known_fill: Four = _NOTHING
    known_used: Four = _NOTHING
    known_age_s: float = -1.0
    """Seconds since its minute began; -1 where it is over."""
    added_fill: Four = _NOTHING
    added_used: Four = _NOTHING
    added_age_s: float = -1.0
    known_month: tuple[int, int] = (0, 0)
    """Tokens and micro-dollars."""
    added_month: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class _Seed:
    """What a share's meter began with, which is not to be told as used."""

    fill: list[float]
    used: list[float]
    since: float


class StandIn:
    """Remembers what the store last said, holds the share while it is away, and tells what to bring back. Owned by the
    limiter of the shared store."""

    def __init__(self, *, unix_offset_s: float) -> None:
        self._offset = unix_offset_s
        self._known: OrderedDict[str, Meter] = OrderedDict()
        """The least recently heard of first."""
        self._months: dict[str, tuple[Quota, int, int]] = {}
        """Tokens and micro-dollars of this month, as last heard."""
        self._month = ""
        self._late: dict[str, list[int]] = {}
        """Corrections of this month that the store has not been told."""
        self._seeds: dict[str, _Seed] = {}
        self._month_seeds: dict[str, tuple[int, int]] = {}
        self._quotas: dict[str, Quota] = {}
        self._share: Share = (0, 1)
        self._began = -inf
        self._running: Callable[[str], int] = _nobody
        self.limiter: LocalLimiter | None = None
        """Holds the limits; None while the store does."""

    def __len__(self) -> int:
        """Scopes remembered."""
        return len(self._known)

    def saw(self, scope: Scope, state: list[float], month: str, now: float) -> Meter:
        """The store said: four levels, four counts, the minute's age (-1: none), the month's tokens and money."""
        known = self._known.get(scope.id)
        if known is None or known.quota is not scope.quota:
            known = Meter(scope.quota, rates_of(scope.quota), now)
        self._known[scope.id] = known
        self._known.move_to_end(scope.id)
        known.at = now
        known.fill = state[:4]
        known.used = state[4:8]
        known.since = now - state[8] if state[8] >= 0 else -inf
        if scope.quota.tokens_per_month is not None or scope.quota.cost_per_month_micros is not None:
            self._turn(month)
            self._months[scope.id] = (scope.quota, int(state[9]), int(state[10]))
        for _ in range(FORGET):
            oldest = next(iter(self._known))
            if now - self._known[oldest].at < WINDOW_S or not self._known[oldest].is_idle(now):
                break
            del self._known[oldest]
        return known

    def remember(self, scope: Scope, tokens: int, cost_micros: int, month: str) -> None:
        """The ledger says what a scope used in a month: at least so much counts, and the store is told so."""
        self._turn(month)
        if month == self._month:
            _, known_tokens, known_cost = self._months.get(scope.id, (scope.quota, 0, 0))
            self._months[scope.id] = (scope.quota, max(known_tokens, tokens), max(known_cost, cost_micros))

    def late(self, scope: Scope, tokens: int, cost_micros: int, month: str) -> None:
        """A correction that the store could not be told: its month is, later."""
        if scope.quota.tokens_per_month is not None or scope.quota.cost_per_month_micros is not None:
            self._turn(month)
            if month == self._month:
                self._quotas[scope.id] = scope.quota
                sums = self._late.setdefault(scope.id, [0, 0])
                sums[0] += tokens
                sums[1] += cost_micros

    def begin(self, share: Share, running: Callable[[str], int], now: float) -> None:
        """The store is away: `share` of each limit is held here. `running` tells how many of a scope's requests run."""
        self._share, self._began, self._running = share, now, running
        self._seeds, self._month_seeds = {}, {}
        self.limiter = LocalLimiter(unix_offset_s=self._offset, share=share, opened=self._opened)

    def end(self, month: str, now: float) -> list[Merge]:
        """The store is back: what to tell it, before anything else is asked of it."""
        self._turn(month)
        limiter, self.limiter = self.limiter, None
        meters = limiter.meters() if limiter is not None else {}
        merges: dict[str, Merge] = {}
        for scope_id, known in self._known.items():
            if not known.is_idle(now):
                known.drain(now)
                age = now - known.since
                merge = merges[scope_id] = Merge(scope_id, known.quota, _four(known.fill))
                if age < WINDOW_S:
                    merge.known_used, merge.known_age_s = _four(known.used), age
        for scope_id, meter in meters.items():
            merge = merges.setdefault(scope_id, Merge(scope_id, meter.quota))
            self._add(merge, meter, now)
        self._add_months(merges, limiter if limiter is not None and limiter.month == month else None)
        return list(merges.values())

    # ------------------------------------------------------------------ months

    def _turn(self, month: str) -> None:
        if month > self._month:
            self._month = month
            self._months, self._late = {}, {}

    def _add_months(self, merges: dict[str, Merge], limiter: LocalLimiter | None) -> None:
        for scope_id, (quota, tokens, cost) in self._months.items():
            merges.setdefault(scope_id, Merge(scope_id, quota)).known_month = (tokens, cost)
        for scope_id, used in (limiter.months if limiter is not None else {}).items():
            seed = self._month_seeds.get(scope_id, (0, 0))
            late = self._late.setdefault(scope_id, [0, 0])
            late[0] += used[0] - seed[0]
            late[1] += used[1] - seed[1]
        for scope_id, late in self._late.items():
            merge = merges.get(scope_id)
            if merge is None and scope_id in self._quotas:
                merge = merges[scope_id] = Merge(scope_id, self._quotas[scope_id])
            if merge is not None:
                merge.added_month = (late[0], late[1])
        self._late, self._quotas = {}, {}

    # ------------------------------------------------------------------ the share

    def _opened(self, scope: Scope, meter: Meter) -> None:
        """A meter of the share begins as though its burst had been used up when the store went away."""
        now, meter.at = meter.at, self._began
        known = self._known.get(scope.id)
        is_on = known is not None and now - known.since < WINDOW_S
        full = {place: limit for place, limit, _, _ in rates_of(scope.quota)}
        for place, part, burst, _ in meter.rates:
            meter.fill[place] = burst
            if known is not None and is_on:
                limit = full[place]
                used = known.used[place] + max(0.0, self._began - known.at) * limit / WINDOW_S
                meter.used[place] = max(0.0, part - max(0.0, limit - used) / self._share[1])
        if known is not None and is_on:
            meter.since = known.since
        self._seeds[scope.id] = _Seed(list(meter.fill), list(meter.used), meter.since)
        meter.drain(now)
        meter.running = self._running(scope.id)
        if scope.id not in self._month_seeds:
            self._seed_month(scope, now)

    def _seed_month(self, scope: Scope, now: float) -> None:
        quota = scope.quota
        if self.limiter is None or (quota.tokens_per_month is None and quota.cost_per_month_micros is None):
            return
        _, tokens, cost = self._months.get(scope.id, (quota, 0, 0))
        index, count = self._share
        seeds = []
        for limit, used in ((quota.tokens_per_month, tokens), (quota.cost_per_month_micros, cost)):
            part = ((limit or 0) + count - 1 - index) // count
            seeds.append(max(0, part - max(0, (limit or 0) - used) // count))
        self._month_seeds[scope.id] = (seeds[0], seeds[1])
        self.limiter.seed_month(scope.id, seeds[0], seeds[1], now)

    def _add(self, merge: Merge, meter: Meter, now: float) -> None:
        meter.drain(now)
        seed = self._seeds.get(merge.scope_id, _Seed([0.0] * 4, [0.0] * 4, -inf))
        fill, used = [0.0] * 4, [0.0] * 4
        for place, _, _, per_s in meter.rates:
            left = max(0.0, seed.fill[place] - (now - self._began) * per_s)
            fill[place] = max(0.0, meter.fill[place] - left)
            used[place] = max(0.0, meter.used[place] - (seed.used[place] if meter.since == seed.since else 0.0))
        merge.added_fill = _four(fill)
        age = now - meter.since
        if age < WINDOW_S:
            merge.added_used, merge.added_age_s = _four(used), age


def _nobody(_: str) -> int:
    return 0


def _four(values: list[float]) -> Four:
    return (values[0], values[1], values[2], values[3])
