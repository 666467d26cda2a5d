"""Limits held by one gateway in its own memory: the `Limiter` of a gateway without Redis, and of one that lost it.

Guarantees: a request is admitted by all of its scopes or charged to none; memory is that of the scopes which used
something in the last minute, and of those with a monthly limit. Months begin at zero with the process: whoever keeps
the ledger tells what was used before (`seed_month`). Pure: `now` is monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from penstock.serve.flow.gcra import MINUTE_LIMITS, WINDOW_S, Amounts, Meter, Share, headrooms, part_of, rates_of
from penstock.serve.flow.months import month_of
from penstock.serve.flow.quota import Ask, Limit, Reservation, Scope, Usage, Verdict

__all__ = ["CONCURRENT_RETRY_S", "LocalLimiter", "deltas_of"]

CONCURRENT_RETRY_S = 1.0
"""Seconds after which one who has too many requests at once may try again: nobody knows when one of them ends."""
SWEEP = 2
"""Meters looked at for each request: two, and those that came and went are gone before twice as many have come."""


def deltas_of(ask: Ask, usage: Usage) -> Amounts:
    """What settling changes in each limit a minute."""
    given, made = usage.input_tokens - ask.input_tokens, usage.output_tokens - ask.output_tokens
    return (0 if usage.has_run else -1, given + made, given, made)


class LocalLimiter:
    """Holds limits, or a share of them. Belongs to one event loop.

    `unix_offset_s` is Unix time less monotonic time. `opened` is told of each meter that begins, and may fill it.
    """

    def __init__(
        self, *, unix_offset_s: float, share: Share = (0, 1), opened: Callable[[Scope, Meter], None] | None = None
    ) -> None:
        self._offset = unix_offset_s
        self._share = share
        self._opened = opened
        self._meters: dict[str, Meter] = {}
        self._order: list[str] = []
        """The same ids: the sweep goes round them."""
        self._cursor = 0
        self._months: dict[str, list[int]] = {}
        """Tokens and micro-dollars of this month."""
        self._month = ""
        self._month_ends = -inf
        """Monotonic seconds."""

    def __len__(self) -> int:
        """Meters held."""
        return len(self._meters)

    @property
    def months(self) -> dict[str, list[int]]:
        """Tokens and micro-dollars of this month, by scope; the limiter's own: read only."""
        return self._months

    @property
    def month(self) -> str:
        """Label of the month that `months` counts; empty before the first request."""
        return self._month

    def meters(self) -> dict[str, Meter]:
        """What each scope used; the limiter's own: read only."""
        return self._meters

    def seed_month(self, scope_id: str, tokens: int, cost_micros: int, now: float) -> None:
        """Says what a scope used this month before: at least so much counts."""
        self._turn_month(now)
        used = self._months.setdefault(scope_id, [0, 0])
        used[0], used[1] = max(used[0], tokens), max(used[1], cost_micros)

    def reserve(self, ask: Ask, now: float, then: Callable[[Verdict, float], None]) -> Verdict | None:
        """The verdict, at once."""
        scopes = ask.scopes
        if not scopes:
            return Verdict(reservation=Reservation(ask=ask, at=now))
        if now >= self._month_ends:
            self._turn_month(now)
        self._sweep(now)  # before any meter is opened: one that is not charged yet looks idle
        given, made = ask.input_tokens, ask.output_tokens
        amounts = (1, given + made, given, made)
        worst, which, whose, month = 0.0, -1, None, ""
        slow: Limit | None = None
        meters = []
        for scope in scopes:
            meter = self._meters.get(scope.id)
            if meter is None or meter.quota is not scope.quota:
                meter = self._open(scope, meter, now)
            meters.append(meter)
            wait, place = meter.wait(amounts, now)
            if wait > worst:
                worst, which, whose, slow = wait, place, scope, None
            if scope.quota.is_slow:
                month = self._month if scope.quota.is_monthly else month
                wait, name = self._slow_wait(scope, meter, ask, now)
                if wait > worst:
                    worst, whose, slow = wait, scope, name
        if whose is not None:
            limit = slow if slow is not None else MINUTE_LIMITS[which]
            requests, tokens = headrooms(meters, now)
            return Verdict(None, limit, whose, worst, False, requests, tokens)
        for meter in meters:
            meter.charge(amounts, now)
        if month:
            self._charge_months(scopes, given + made, ask.cost_micros)
        requests, tokens = headrooms(meters, now)
        return Verdict(Reservation(ask, now, (meters, month)), None, None, 0.0, False, requests, tokens)

    def settle(self, reservation: Reservation, usage: Usage, now: float) -> None:
        """Charges what was used in place of what was reserved; a second time changes nothing."""
        if reservation.token is None:
            return
        meters, month = reservation.token
        reservation.token = None
        ask = reservation.ask
        deltas = deltas_of(ask, usage)
        for meter in meters:
            meter.correct(deltas, now)
            meter.running -= 1
        if month and month == self._month:
            self._charge_months(ask.scopes, deltas[1], usage.cost_micros - ask.cost_micros)

    # ------------------------------------------------------------------ what is not a minute's

    def _slow_wait(self, scope: Scope, meter: Meter, ask: Ask, now: float) -> tuple[float, Limit | None]:
        quota, worst = scope.quota, 0.0
        which: Limit | None = None
        most = part_of(quota.concurrent_requests, self._share)
        if most is not None and meter.running >= most:
            worst, which = (CONCURRENT_RETRY_S if most else inf), "concurrent_requests"
        if not quota.is_monthly:
            return worst, which
        tokens, cost = self._months.get(scope.id, (0, 0))
        asked = ask.input_tokens + ask.output_tokens
        budgets: tuple[tuple[int | None, int, int, Limit], ...] = (
            (quota.tokens_per_month, tokens, asked, "tokens_per_month"),
            (quota.cost_per_month_micros, cost, ask.cost_micros, "cost_per_month"),
        )
        for whole, used, amount, name in budgets:
            limit = part_of(whole, self._share)
            if limit is not None and (limit == 0 or (amount > 0 and used + amount > limit)):
                wait = inf if amount > limit or limit == 0 else self._month_ends - now
                if wait > worst:
                    worst, which = wait, name
        return worst, which

    def _charge_months(self, scopes: tuple[Scope, ...], tokens: int, cost_micros: int) -> None:
        for scope in scopes:
            if scope.quota.is_monthly:
                used = self._months.get(scope.id)
                if used is None:
                    used = self._months[scope.id] = [0, 0]
                used[0] += tokens
                used[1] += cost_micros

    def _turn_month(self, now: float) -> None:
        month = month_of(now + self._offset)
        if month.label != self._month:
            self._months = {}
        self._month, self._month_ends = month.label, month.ends - self._offset

    # ------------------------------------------------------------------ meters

    def _open(self, scope: Scope, meter: Meter | None, now: float) -> Meter:
        """A new meter, or the old one for limits that were changed: what was used stays used."""
        rates = rates_of(scope.quota, self._share)
        if meter is not None:
            meter.drain(now)
            meter.quota, meter.rates = scope.quota, rates
            return meter
        meter = self._meters[scope.id] = Meter(scope.quota, rates, now)
        self._order.append(scope.id)
        if self._opened is not None:
            self._opened(scope, meter)
        return meter

    def _sweep(self, now: float) -> None:
        order, meters, cursor = self._order, self._meters, self._cursor
        for _ in range(SWEEP):
            if cursor >= len(order):
                cursor = 0
                if not order:
                    break
            scope_id = order[cursor]
            meter = meters[scope_id]
            if now - meter.since >= WINDOW_S and meter.is_idle(now):
                del meters[scope_id]
                order[cursor] = order[-1]
                order.pop()
            else:
                cursor += 1
        self._cursor = cursor
