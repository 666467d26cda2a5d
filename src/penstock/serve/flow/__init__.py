"""Who may ask, who goes next, and who must wait: limits and fair queues. Pure."""

from penstock.serve.flow.flow import Flow, LineState
from penstock.serve.flow.quota import (
    LIMITLESS,
    Ask,
    Headroom,
    Limit,
    Limiter,
    Quota,
    Reservation,
    Scope,
    Usage,
    Verdict,
)
from penstock.serve.flow.settings import Capacity, QueueSettings
from penstock.serve.flow.ticket import CLASSES, Shed, Ticket, TicketState

__all__ = [
    "CLASSES",
    "LIMITLESS",
    "Ask",
    "Capacity",
    "Flow",
    "Headroom",
    "Limit",
    "Limiter",
    "LineState",
    "QueueSettings",
    "Quota",
    "Reservation",
    "Scope",
    "Shed",
    "Ticket",
    "TicketState",
    "Usage",
    "Verdict",
]
