"""One request under way through the simulated fleet, and the moments that a run goes through. Plain values."""

from __future__ import annotations

import math
from dataclasses import dataclass

from penstock.serve.flow import Ticket
from penstock.serve.flow.quota import Reservation
from penstock.simulate.fleet.gateways import Gateway
from penstock.simulate.fleet.replica import Answer, Replica
from penstock.simulate.workload.request import Session, TraceRequest

__all__ = ["Began", "Done", "Due", "Event", "Look", "Stop", "Talk", "Tick", "Turn"]


@dataclass(slots=True, kw_only=True, eq=False)
class Turn:
    """One request. As an event: the engine sees it."""

    id: str
    session: Session
    place: int
    due_s: float
    gateway: Gateway
    reservation: Reservation | None = None
    ticket: Ticket | None = None
    replica: Replica | None = None
    sent_s: float = -1.0
    """When it left the gateway's queue; -1 while it waits."""
    give_up_s: float = math.inf
    has_waited: bool = False
    is_seen: bool = False
    """By the engine."""
    is_answered: bool = False
    """The engine is through with it."""
    is_over: bool = False

    @property
    def request(self) -> TraceRequest:
        return self.session.turns[self.place]


@dataclass(frozen=True, slots=True)
class Due:
    """A request comes."""

    session: Session
    place: int
    """Of the turn."""


@dataclass(frozen=True, slots=True)
class Began:
    """The client has the first token."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Done:
    """The client has the whole answer."""

    turn: Turn
    answer: Answer


@dataclass(frozen=True, slots=True)
class Look:
    """Gateways read the metrics of the engine in this place."""

    place: int


@dataclass(frozen=True, slots=True)
class Tick:
    """A second is over."""

    number: int


@dataclass(frozen=True, slots=True)
class Talk:
    """Gateways tell each other what tenants had."""

    number: int
    """Of the round."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The simulation ends here."""


Event = Due | Turn | Began | Done | Look | Tick | Talk | Stop
