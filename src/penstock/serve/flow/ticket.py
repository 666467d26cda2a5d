"""One request that wants an endpoint: what the queue and the routing policies know of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from penstock.serve.routing.endpoints import Endpoint
from penstock.serve.routing.policy import Decision, Need
from penstock.spec import TrafficClass

__all__ = ["CLASSES", "Shed", "Ticket", "TicketState"]

CLASSES: tuple[TrafficClass, ...] = ("interactive", "batch", "experimental")
"""In order of precedence."""
TicketState = Literal["new", "queued", "granted", "shed", "over"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shed:
    """Why a request does not wait (any longer). `status` is the HTTP status that says so."""

    reason: Literal["queue_full", "queue_timeout", "evicted", "no_endpoint", "deadline", "model_gone"]
    status: int
    retry_after_s: float
    """From the measured drain rate, or the measured start-up time where nothing can serve."""
    message: str


@dataclass(slots=True, eq=False)  # not keyword-only: one is made for each request, and keywords cost time
class Ticket:
    """One request in the flow. Owned by its exchange; the flow alone changes `state` and what stands below it."""

    model: str
    tenant: str
    need: Need
    weight: float = 1.0
    traffic_class: TrafficClass = "interactive"
    body_bytes: int = 0
    arrived_at: float = 0.0
    deadline_at: float | None = None
    """Monotonic seconds at which the answer must be whole; None for no bound."""
    wait_s: float = 60.0
    """Longest wait in the queue."""
    tried_ids: tuple[str, ...] = ()
    """Endpoints that failed it."""
    explains: bool = False
    is_stream: bool = False
    """Its first token will be told of by `Flow.began`, or its end comes without one."""
    owner: Any = None
    """The exchange; the flow only hands it back."""
    state: TicketState = "new"
    endpoint: Endpoint | None = None
    decision: Decision | None = None
    shed: Shed | None = None
    trial: int = 0
    """What `EndpointTable.sent` said of its endpoint, to be given back with what is heard of it."""
    token: Any = field(default=None, repr=False)
    """The flow's own."""
