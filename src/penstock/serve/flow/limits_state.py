"""How limits are held now: what `/readyz`, metrics and the queue are told of the store that gateways share."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LimitsState"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsState:
    """A picture of one moment. Counters only grow."""

    where: str = ""
    """Redis's address without any credentials; empty where this gateway holds the limits by itself."""
    is_connected: bool = False
    source: str = "memory"
    """Who holds the limits now: `redis`; `share`, this gateway's part of them, as Redis is away; or `memory`, this
    gateway alone, as none is named."""
    error: str = ""
    """Why Redis is away, in words."""
    gateways: int = 1
    """Gateways that share the limits, as last heard."""
    index: int = 0
    """This one's place among them, from 0."""
    heard_at: float = 0.0
    """Monotonic seconds when Redis last answered."""
    asks_total: int = 0
    """Requests that Redis decided."""
    batches_total: int = 0
    """Calls that it took."""
    degraded_total: int = 0
    """Requests decided by this gateway's share."""
    failures_total: int = 0
    """Times that Redis could not be reached or did not answer."""
    settles_dropped_total: int = 0
    """Requests whose reservation stayed charged, as too many corrections waited or Redis went away."""
