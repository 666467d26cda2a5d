"""One request at two endpoints: who may still win, and what the loser gives back. Pure.

    one attempt, watched ── late ──▶ two attempts ── one of them says something ──▶ over
            │                             └ one of them fails ──▶ one attempt, not watched
            └ it says something, or fails ──▶ over

What is decided is `hedged`'s. Guarantees: each attempt's place is given back once; what the loser did is charged to
nobody, and tells nothing against its endpoint but how long it was waited for.
"""

from __future__ import annotations

from typing import Any

from penstock.serve.core import Core
from penstock.serve.flow import Ticket
from penstock.serve.opening import Opening
from penstock.serve.routing.hedging import Hedge, Usual
from penstock.serve.routing.signals import Signal

__all__ = ["Race", "Second"]


class Second:
    """The attempt that came later. Owned by its race."""

    __slots__ = ("opening", "sent_at", "ticket")

    def __init__(self, ticket: Ticket, now: float) -> None:
        self.ticket = ticket
        self.opening = Opening()
        self.sent_at = now


class Race:
    """The attempts at one request before its answer begins. Owned by its exchange."""

    __slots__ = ("has_second_won", "hedge", "opening", "second", "sent_at", "usual")

    def __init__(self, hedge: Hedge, usual: Usual, now: float) -> None:
        self.hedge = hedge
        self.usual = usual
        self.sent_at = now
        """When the request was first sent."""
        self.opening = Opening()
        """Of the attempt that the exchange is at."""
        self.second: Second | None = None
        self.has_second_won = False
        """The attempt that the exchange is at was the second, as the first failed."""

    def begin(self, ticket: Ticket, now: float) -> None:
        """The request was sent to a second endpoint."""
        self.second = Second(ticket, now)

    def unwatch(self, owner: Any) -> None:
        """It can't become late any more."""
        self.usual.waiting.pop(owner, None)

    def drop(self, core: Core, now: float, signal: Signal = "cancelled", words: str = "") -> str:
        """The second attempt is over, where there is one: its place is given back, and its endpoint heard of. Returns
        that endpoint's id."""
        second, self.second = self.second, None
        if second is None or second.ticket.endpoint is None:
            return ""
        ticket, endpoint = second.ticket, second.ticket.endpoint
        core.endpoints.heard(endpoint, signal, now, trial=ticket.trial, words=words)
        core.flow.ended(ticket, now, is_ok=False)
        return endpoint.id

    def swap(self, core: Core, ticket: Ticket, now: float) -> Second | None:
        """The request goes on in the second's place, where there is one, and the first's is given back. What was heard
        of the first's endpoint is the caller's to tell."""
        second, self.second = self.second, None
        if second is None:
            return None
        core.flow.swap(ticket, second.ticket)
        core.flow.ended(second.ticket, now, is_ok=False)
        self.opening, self.has_second_won = second.opening, True
        return second
