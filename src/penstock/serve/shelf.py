"""Where a gateway puts its responses and finds them again: the port, and the shelf of one gateway alone. Pure.

A shelf guarantees that what was put is found at once by this gateway, that a response is found by its own tenant and by
nobody else, and that it is bounded. What asks a store takes a moment: then the answer is handed over later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from penstock.serve.kept import KeptResponses
from penstock.serve.stored import Stored
from penstock.serve.wire.errors import Failure

__all__ = ["Found", "LocalShelf", "Shelf", "ShelfState"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a look for a response has come to."""

    stored: Stored | None = None
    """None: the tenant has no such response."""
    failure: Failure | None = None
    """Nobody can tell, as the store is away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShelfState:
    """How a shelf does, as people and metrics are told."""

    kept: int
    """Responses in this process's memory: all of them, or with a store those that it does not have yet."""
    kept_bytes: int
    dropped_total: int
    """That found no room, or made room for others: lost."""
    has_store: bool = False
    is_connected: bool = True
    """Whether the store takes what is put."""
    written_total: int = 0
    """That the store has taken."""
    failures_total: int = 0
    """Times that the store did not answer."""


Then = Callable[[Found, float], None]
"""Called once, later, in the event loop, with what was found and monotonic seconds."""


class Shelf(Protocol):
    """`now` is Unix seconds. `find` and `take_away` return None where the answer comes by `then`, and raise nothing."""

    def put(self, stored: Stored, now: float) -> None:
        """Keeps a response. Never waits."""
        ...

    def find(self, tenant: str, response_id: str, now: float, then: Then) -> Found | None:
        """A tenant's response."""
        ...

    def take_away(self, tenant: str, response_id: str, now: float, then: Then) -> Found | None:
        """The same, and it is gone afterwards."""
        ...

    @property
    def state(self) -> ShelfState:
        """How it does now."""
        ...


class LocalShelf:
    """Responses in the memory of this process alone, within the bounds of `KeptResponses`."""

    def __init__(self, kept: KeptResponses | None = None) -> None:
        self.kept = kept if kept is not None else KeptResponses()

    def put(self, stored: Stored, now: float) -> None:
        """See `Shelf`."""
        self.kept.put(stored, now)

    def find(self, tenant: str, response_id: str, now: float, then: Then) -> Found | None:
        """See `Shelf`."""
        return Found(stored=self.kept.get(tenant, response_id, now))

    def take_away(self, tenant: str, response_id: str, now: float, then: Then) -> Found | None:
        """See `Shelf`."""
        stored = self.kept.get(tenant, response_id, now)
        self.kept.take(tenant, response_id)
        return Found(stored=stored)

    @property
    def state(self) -> ShelfState:
        """See `Shelf`."""
        kept = self.kept
        return ShelfState(kept=len(kept), kept_bytes=kept.bytes, dropped_total=kept.dropped_total)
