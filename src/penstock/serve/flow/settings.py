"""What the queue is told: its bounds, from the fleet file, and what an endpoint of each model holds."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["UNKNOWN_CAPACITY", "Capacity", "QueueSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """Bounds of one model's queue; the fields and defaults are those of `gateway.queue` in the fleet file."""

    is_on: bool = True
    requests_max: int = 2_000
    bytes_max: int = 268_435_456
    tenant_share_max: float = 0.5
    """Share of places and of bytes that one tenant may hold while others wait."""
    starvation_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What each endpoint of a model can hold; None where it is not known."""

    requests_max: int | None = None
    """The engine's `max_num_seqs`."""
    kv_tokens: int | None = None
    """Tokens of KV cache."""
    start_s: float | None = None
    """Measured seconds from nothing to the first answer."""


UNKNOWN_CAPACITY = Capacity()
