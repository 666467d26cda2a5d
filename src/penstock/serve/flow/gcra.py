"""How much of its limits a minute one scope has used: GCRA, and the minute that began with its first request. Pure.

    burst ── a tenth of the limit at once (of small request limits up to 10 requests), then as fast as the limit refills
    minute ─ never more than the limit between the first request and 60 seconds later; the next one begins a new minute

Guarantees: in any 60 seconds at most the limit and one burst is charged, whoever asks how; and whoever asks without a
pause is given the limit in each 60 seconds, no more and no less. GCRA alone gives limit and burst in the first minute
and minutes alone give twice the limit at their edge; together they do neither.

A request that is larger than the burst waits until the whole burst is free and is then in debt, so that no tenth of a
limit keeps long prompts out; one that is larger than the limit can never pass. What counts is the level in units, which
drains with time, not GCRA's arrival time: the same decisions, no loss of precision where limits are large, and a level
keeps its meaning when the limit is changed. `serve/io/limits/limits.lua` does the same arithmetic in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from penstock.serve.flow.quota import Headroom, Limit, Quota

__all__ = [
    "MINUTE_LIMITS",
    "WINDOW_S",
    "Amounts",
    "Meter",
    "Rate",
    "Share",
    "burst_of",
    "headrooms",
    "part_of",
    "rates_of",
]

WINDOW_S = 60.0
"""Seconds of the minute that limits a minute speak of."""
BURST_SHARE = 0.1
"""Part of a limit that may be used at once: six seconds' worth. Larger, and a client that stops and goes gets more than
its limit in some minute; smaller, and programs that send a few requests at once are refused for nothing."""
BURST_REQUESTS_MIN = 10
"""Requests that may begin at once even where a tenth of the limit is fewer; never more than the limit."""
SLACK = 1e-9
"""Part of a limit that rounding may hide: who waits as long as it was told is not refused for the last bit."""
MINUTE_LIMITS: tuple[Limit, ...] = (
    "requests_per_minute",
    "tokens_per_minute",
    "input_tokens_per_minute",
    "output_tokens_per_minute",
)
"""In the order of `Amounts`."""

Amounts = tuple[int, int, int, int]
"""What one request takes of each limit a minute: requests, tokens, input tokens, output tokens."""
Rate = tuple[int, float, float, float]
"""One limit a minute: its place in `Amounts`, the limit, the burst, and units that come back each second."""
Share = tuple[int, int]
"""Which part of the limits this gateway holds by itself: its place from 0, and how many hold the others."""


def burst_of(place: int, limit: int) -> float:
    """Units that may be used at once of a limit."""
    least = BURST_REQUESTS_MIN if place == 0 else 1
    return min(float(limit), max(limit * BURST_SHARE, least))


def part_of(limit: int | None, share: Share) -> int | None:
    """The share of a limit; the shares add up to the limit."""
    index, count = share
    return limit if limit is None or count <= 1 else (limit + count - 1 - index) // count


def rates_of(quota: Quota, share: Share = (0, 1)) -> tuple[Rate, ...]:
    """The limits a minute that are given."""
    given = (
        quota.requests_per_minute,
        quota.tokens_per_minute,
        quota.input_tokens_per_minute,
        quota.output_tokens_per_minute,
    )
    rates: list[Rate] = []
    for place, limit in enumerate(given):
        part = part_of(limit, share)
        if limit is not None and part is not None:
            rates.append((place, float(part), burst_of(place, limit) / share[1], part / WINDOW_S))
    return tuple(rates)


class Meter:
    """What one scope has used. Owned by its limiter; `now` and all times are the limiter's monotonic seconds."""

    __slots__ = ("at", "fill", "quota", "rates", "running", "since", "used")

    def __init__(self, quota: Quota, rates: tuple[Rate, ...], now: float) -> None:
        self.quota = quota
        """Which `rates` were made of: another one, and they are made anew."""
        self.rates = rates
        self.at = now
        """When `fill` was true."""
        self.fill = [0.0, 0.0, 0.0, 0.0]
        """Level of each limit: 0 is idle, a burst is full, more is debt."""
        self.since = -inf
        """When the minute began."""
        self.used = [0.0, 0.0, 0.0, 0.0]
        """Charged in that minute."""
        self.running = 0
        """Reservations that are not settled."""

    def drain(self, now: float) -> None:
        """Brings the levels to `now`. A clock that went back changes nothing."""
        elapsed = now - self.at
        if elapsed > 0:
            fill = self.fill
            for place, _, _, per_s in self.rates:
                level = fill[place]
                if level:
                    level -= elapsed * per_s
                    fill[place] = level if level > 0.0 else 0.0
            self.at = now

    def wait(self, amounts: Amounts, now: float) -> tuple[float, int]:
        """Seconds until the request can pass, and the place of the limit that says so; (0, -1): now."""
        worst, which = 0.0, -1
        fill, used = self.fill, self.used
        elapsed = now - self.at
        if elapsed > 0:
            self.at = now
        else:
            elapsed = 0.0
        left_s = WINDOW_S - (now - self.since)
        for place, limit, burst, per_s in self.rates:
            level, amount = fill[place], amounts[place]
            if level:
                level -= elapsed * per_s
                fill[place] = level = level if level > 0.0 else 0.0
            if level + amount <= burst and used[place] + amount <= limit and limit:
                continue  # nothing is in its way, as most often
            if amount > limit or limit == 0.0:
                worst, which = inf, place
                continue
            lacks = (amount if amount < burst else burst) - burst + level
            if lacks > limit * SLACK and lacks / per_s > worst:
                worst, which = lacks / per_s, place
            if left_s > worst and used[place] + amount > limit:
                worst, which = left_s, place
        return worst, which

    def charge(self, amounts: Amounts, now: float) -> None:
        """Takes what `wait` let pass."""
        fill, used = self.fill, self.used
        if now - self.since >= WINDOW_S:
            self.since = now
            used[0] = used[1] = used[2] = used[3] = 0.0
        for place, _, _, _ in self.rates:
            amount = amounts[place]
            fill[place] += amount
            used[place] += amount
        self.running += 1

    def correct(self, deltas: Amounts, now: float) -> None:
        """Charges what was used beyond the reservation, or gives back what was not."""
        elapsed = now - self.at
        if elapsed > 0:
            self.at = now
        else:
            elapsed = 0.0
        fill, used = self.fill, self.used
        for place, _, _, per_s in self.rates:
            delta, level = deltas[place], fill[place]
            if level:
                level -= elapsed * per_s
                level = level if level > 0.0 else 0.0
            if delta:
                level += delta
                level = level if level > 0.0 else 0.0
                count = used[place] + delta
                used[place] = count if count > 0.0 else 0.0
            fill[place] = level

    def is_idle(self, now: float) -> bool:
        """Whether a new meter would decide alike: this one can be forgotten."""
        elapsed = now - self.at
        return (
            self.running == 0
            and now - self.since >= WINDOW_S
            and all(self.fill[place] <= elapsed * per_s for place, _, _, per_s in self.rates)
        )


def headrooms(meters: Sequence[Meter], now: float) -> tuple[Headroom | None, Headroom | None]:
    """Of the tightest requests-a-minute limit and of the tightest one of tokens; None where there is none. The meters'
    levels must be those of `now`."""
    least, least_tokens = inf, inf
    tight: Meter | None = None
    tight_tokens: Meter | None = None
    for meter in meters:
        fill, used = meter.fill, meter.used
        is_on = now - meter.since < WINDOW_S
        for rate in meter.rates:
            place, limit, burst, _ = rate
            left = limit - used[place] if is_on else limit
            if burst - fill[place] < (1.0 if burst > 1.0 else burst) - limit * SLACK:
                left = 0.0
            if place:
                if left < least_tokens:
                    least_tokens, tight_tokens, rate_tokens = left, meter, rate
            elif left < least:
                least, tight, rate_requests = left, meter, rate
    return (
        None if tight is None else _headroom(tight, rate_requests, least, now),
        None if tight_tokens is None else _headroom(tight_tokens, rate_tokens, least_tokens, now),
    )


def _headroom(meter: Meter, rate: Rate, left: float, now: float) -> Headroom:
    place, limit, _, per_s = rate
    reset = meter.fill[place] / per_s if per_s else 0.0
    minute_s = WINDOW_S - (now - meter.since)
    if minute_s > reset and meter.used[place]:
        reset = minute_s
    return Headroom(int(limit), int(left) if left > 0.0 else 0, reset)
