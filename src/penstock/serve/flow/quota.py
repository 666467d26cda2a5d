"""What a tenant or a key may use, and what one request asks of it: the port between the exchange and the limits.

    ask ──▶ reserve ──▶ Verdict: refused (why, until when), or a Reservation ──▶ settle with what was used, exactly once

Guarantees asked of every `Limiter`: a request is admitted by all of its scopes or charged to none; `settle` with the
true usage leaves each scope charged with exactly that; what never ran is refunded whole. Pure: `now` is an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

__all__ = ["LIMITLESS", "Ask", "Headroom", "Limit", "Limiter", "Quota", "Reservation", "Scope", "Usage", "Verdict"]

Limit = Literal[
    "requests_per_minute",
    "tokens_per_minute",
    "input_tokens_per_minute",
    "output_tokens_per_minute",
    "concurrent_requests",
    "tokens_per_month",
    "cost_per_month",
]
"""Which limit, by its name in the fleet file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """Limits of one scope; None does not limit, 0 allows nothing. Money is integer micro-dollars."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    input_tokens_per_minute: int | None = None
    output_tokens_per_minute: int | None = None
    concurrent_requests: int | None = None
    tokens_per_month: int | None = None
    cost_per_month_micros: int | None = None
    is_monthly: bool = field(init=False, repr=False, compare=False)
    """Whether it limits a month."""
    is_slow: bool = field(init=False, repr=False, compare=False)
    """Whether it limits anything but a minute."""

    def __post_init__(self) -> None:
        is_monthly = self.tokens_per_month is not None or self.cost_per_month_micros is not None
        object.__setattr__(self, "is_monthly", is_monthly)
        object.__setattr__(self, "is_slow", is_monthly or self.concurrent_requests is not None)


LIMITLESS = Quota()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whose use is counted: one tenant, or one key of it. Scopes without any limit are left out."""

    id: str
    """Stable over restarts and the same in every gateway: `t:search`, `k:key_0a1b2c3d4e5f`."""
    words: str
    """Who that is, for people: `tenant 'search'`, `key 'ci'`."""
    quota: Quota


@dataclass(slots=True)  # not keyword-only: made for each request, keywords cost time
class Ask:
    """What one request wants. Tokens are estimates before it runs: the prompt's size, and a bound of the output."""

    request_id: str
    scopes: tuple[Scope, ...]
    """The tenant's first."""
    input_tokens: int
    output_tokens: int
    cost_micros: int = 0


@dataclass(slots=True)  # not keyword-only: made for each request, keywords cost time; nor frozen
class Usage:
    """What a request used in the end. All zero, with `has_run` false: it never reached an engine."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_micros: int = 0
    has_run: bool = True


@dataclass(slots=True)  # not keyword-only: made for each request, keywords cost time; nor frozen
class Headroom:
    """One limit as `x-ratelimit-*` headers tell it: how much, how much is left, seconds until it is whole again."""

    limit: int
    remaining: int
    reset_s: float


@dataclass(slots=True)  # not keyword-only: made for each request, keywords cost time
class Reservation:
    """What was charged. Made by a limiter, given back to it once by `settle`."""

    ask: Ask
    at: float
    token: Any = None
    """The limiter's own."""


@dataclass(slots=True)  # not keyword-only: made for each request, keywords cost time
class Verdict:
    """Admitted, with a reservation; or refused, by which limit of whom, and after how many seconds a retry can pass
    (`inf`: never, as the request is larger than the limit; a calendar month's end otherwise)."""

    reservation: Reservation | None = None
    limit: Limit | None = None
    scope: Scope | None = None
    retry_after_s: float = 0.0
    is_degraded: bool = False
    """The shared store was away: this gateway's share of the last known limits was held."""
    requests: Headroom | None = None
    """Of the tightest requests-a-minute limit; None where there is none."""
    tokens: Headroom | None = None
    """Of the tightest tokens-a-minute limit."""


class Limiter(Protocol):
    """Holds limits. `reserve` is called once a request, from the event loop, and must not block."""

    def reserve(self, ask: Ask, now: float, then: Callable[[Verdict, float], None]) -> Verdict | None:
        """The verdict, or None: then `then(verdict, now)` is called later, exactly once, in the event loop. `now` is
        monotonic seconds. Raises nothing: a store that is away is a degraded verdict."""
        ...

    def settle(self, reservation: Reservation, usage: Usage, now: float) -> None:
        """The request is over: charges what it used in place of what was reserved."""
        ...
