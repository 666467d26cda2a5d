"""The shelf of a gateway that shares a store of responses with others: `serve.shelf.Shelf` over `ResponseShelf`.

Guarantees: every look ends, also when the gateway does, and whoever asked hears of it once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from time import monotonic

from penstock.errors import PenstockError
from penstock.serve.io.stores.responses import ResponseShelf
from penstock.serve.io.tasks import Tasks
from penstock.serve.shelf import Found, ShelfState
from penstock.serve.stored import Stored
from penstock.serve.wire.errors import Failure

__all__ = ["SharedShelf"]

_log = logging.getLogger("penstock.responses")

RETRY_AFTER_S = 2
"""Seconds after which a client may ask again while the store is away."""
LOOKS_MAX = 256
"""Looks under way at once; past it 503, as they would only wait for each other."""
LOOK_S_MAX = 10.0
"""Seconds after which a look is given up."""
FLUSH_S_MAX = 5.0
"""Seconds that a gateway's end may take for what was not written yet."""
_AWAY = Failure(
    status=503,
    code="store_unavailable",
    message="The store of responses can't be reached now, so nobody can tell whether this one is there. Ask again.",
    outcome="upstream_error",
    retry_after_s=RETRY_AFTER_S,
)


class SharedShelf:
    """Belongs to one gateway and its event loop."""

    def __init__(self, shelf: ResponseShelf) -> None:
        self._shelf = shelf
        self._tasks = Tasks()
        self._looks = 0

    def put(self, stored: Stored, now: float) -> None:
        """See `Shelf`."""
        self._shelf.put(stored)

    def find(self, tenant: str, response_id: str, now: float, then: Callable[[Found, float], None]) -> Found | None:
        """See `Shelf`."""
        held = self._shelf.held(tenant, response_id)
        if held is not None:
            return Found(stored=held)
        return self._later(self._shelf.get(tenant, response_id), then)

    def take_away(
        self,
        tenant: str,
        response_id: str,
        now: float,
        then: Callable[[Found, float], None],
    ) -> Found | None:
        """See `Shelf`."""
        return self._later(self._taken(tenant, response_id), then)

    async def _taken(self, tenant: str, response_id: str) -> Stored | None:
        stored = await self._shelf.get(tenant, response_id)
        if stored is not None:
            await self._shelf.delete(tenant, response_id)
        return stored

    def _later(self, look: Coroutine[None, None, Stored | None], then: Callable[[Found, float], None]) -> Found | None:
        if self._looks >= LOOKS_MAX:
            look.close()
            return Found(failure=_AWAY)
        self._looks += 1
        self._tasks.spawn(self._look(look, then))
        return None

    async def _look(self, look: Coroutine[None, None, Stored | None], then: Callable[[Found, float], None]) -> None:
        found = Found(failure=_AWAY)
        try:
            async with asyncio.timeout(LOOK_S_MAX):
                found = Found(stored=await look)
        except (PenstockError, TimeoutError) as error:
            self._shelf.failures_total += 1
            _log.warning("a stored response can't be read: %s", error)
        finally:
            self._looks -= 1
            then(found, monotonic())

    @property
    def state(self) -> ShelfState:
        """See `Shelf`."""
        shelf = self._shelf
        return ShelfState(
            kept=len(shelf.kept),
            kept_bytes=shelf.kept.bytes,
            dropped_total=shelf.kept.dropped_total,
            has_store=True,
            is_connected=not shelf.is_store_away,
            written_total=shelf.written_total,
            failures_total=shelf.failures_total,
        )

    async def run(self) -> None:
        """Writes what was put until cancelled."""
        await self._shelf.run()

    async def close(self) -> None:
        """Ends the looks, and writes what waits as far as the store takes it now."""
        await self._tasks.close()
        try:
            async with asyncio.timeout(FLUSH_S_MAX):
                await self._shelf.flush()
        except (PenstockError, TimeoutError) as error:
            _log.warning("%d stored responses were not written: %s", len(self._shelf.kept), error)
