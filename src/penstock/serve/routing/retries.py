"""How many retries a pool may add to its load: a token bucket that requests fill. Pure.

So that an outage does not double the load of what is left. Guarantees: over any span, retries of choice are at most
`SHARE` of the requests, plus `PER_S` a second, plus `BALANCE_MAX` at once. The resume of a stream whose endpoint is
lost is never refused (it replaces work that ended, and what a client has begun to read would be lost), but charged:
after a crash there is less for retries of choice.
"""

from __future__ import annotations

__all__ = ["RetryBudget"]

SHARE = 0.2
"""Retries for each request, as in Finagle's and Linkerd's budgets (`percentCanRetry`, `retryRatio`)."""
PER_S = 3.0
"""Retries a second whatever the traffic is, so that a quiet pool can retry at all."""
BALANCE_MAX = 30.0
"""Retries that can be saved up: ten quiet seconds' worth."""
DEBT_MAX = 30.0
"""Resumes beyond the balance that are charged."""


class RetryBudget:
    """The budget of one pool. Owned by the gateway's core; called from the event loop."""

    __slots__ = ("_at", "balance", "refused_total", "taken_total")

    def __init__(self, now: float) -> None:
        self.balance = BALANCE_MAX
        self.taken_total = 0
        self.refused_total = 0
        self._at = now

    def request(self) -> None:
        """A request came, which is no retry."""
        self.balance = min(BALANCE_MAX, self.balance + SHARE)

    def take(self, now: float, *, is_resume: bool = False) -> bool:
        """Whether a request may be sent once more; takes it from the budget."""
        passed_s = now - self._at
        if passed_s > 0:
            self.balance = min(BALANCE_MAX, self.balance + PER_S * passed_s)
        self._at = now
        if self.balance < 1.0 and not is_resume:
            self.refused_total += 1
            return False
        self.balance = max(-DEBT_MAX, self.balance - 1.0)
        self.taken_total += 1
        return True
