"""Follows the store's keys, so that a change holds in this gateway within a second.

PostgreSQL tells of changes; besides, and for SQLite alone, one row is looked at twice a second. While the store is away
the last known keys hold, and the snapshot keeps them over a restart. One watch belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import replace

from penstock.errors import PenstockError, StartError
from penstock.serve.io.stores.keys import KeyStore, Reading
from penstock.serve.io.stores.snapshot import KnownKeys, Snapshot
from penstock.serve.keys import KeyRecord, Standing, next_change, standing
from penstock.serve.platform import StoreState

__all__ = ["KeyWatch"]

LOOK_S = 0.5
"""Seconds between looks, also at a store that is away: half of what a change may take."""
FIRST_S = 10.0
"""Longest that a start waits for the first reading where nothing is known yet: a database's own restart."""
FIRST_WITH_SNAPSHOT_S = 2.0
"""Longest that it waits where a snapshot could stand in."""
_CLOCK_S = 30.0
"""Longest wait for an expiry without a look at the clock, which may be set."""


class KeyWatch:
    """Knows the store's keys. `changed` is told all of them whenever any begins or ends to be valid."""

    def __init__(
        self,
        store: KeyStore,
        snapshot: Snapshot,
        changed: Callable[[KnownKeys], None],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._snapshot = snapshot
        self._changed = changed
        self._clock = clock
        self._records: dict[str, KeyRecord] = {}
        self._has_keys = False
        self._told_at = clock()
        """When the gateway last heard which keys are valid."""
        self._wake = asyncio.Event()
        self._replan = asyncio.Event()
        self._state = StoreState(kind=store.address.kind, where=store.address.shown)

    @property
    def state(self) -> StoreState | None:
        """How well the keys are known; None while there is no store."""
        state = self._state
        return state if self._store.address.is_asked or state.source or state.error else None

    @property
    def known(self) -> KnownKeys:
        """The keys as last heard."""
        return KnownKeys(records=tuple(self._records.values()), has_keys=self._has_keys)

    async def begin(self) -> None:
        """Learns the keys once, so that no valid key is refused: from the store, or else from the snapshot.

        Raises:
            StartError: neither can be read.
        """
        if self._is_absent():
            return
        saved = await asyncio.to_thread(self._snapshot.load)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_S if saved is None else FIRST_WITH_SNAPSHOT_S):
                while not await self._read_once():
                    await self._pause()
        if self._state.source:
            return
        why = self._state.error or f"The store {self._store.address.shown} did not answer."
        if saved is None:
            raise StartError(
                f"{why} Without its keys every valid one would be refused, so the gateway did not start.",
                hint="mend the store; once a gateway has read it, it starts without it too",
            )
        self._records = {record.id: record for record in saved.records}
        self._has_keys = saved.has_keys
        self._state = replace(self._state, source="snapshot", error=why)
        self._tell()

    async def run(self) -> None:
        """Follows the store until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            tasks.create_task(self._expire())

    # ------------------------------------------------------------------ the store

    async def _read_once(self) -> bool:
        try:
            async with self._store.reading(self._wake.set) as reader:
                await self._take(await reader.read())
        except PenstockError as error:
            self._lose(error)
            return False
        return True

    async def _follow(self) -> None:
        while True:
            if not self._is_absent():
                try:
                    async with self._store.reading(self._wake.set) as reader:
                        while True:
                            self._wake.clear()
                            await self._take(await reader.read())
                            await self._pause()
                except PenstockError as error:
                    self._lose(error)
            await self._pause()

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await self._wake.wait()

    def _is_absent(self) -> bool:
        """Whether this is the store that the file does not name, and nobody has made it."""
        address = self._store.address
        return not (address.is_asked or self._state.source or (address.path is not None and address.path.exists()))

    async def _take(self, reading: Reading | None) -> None:
        is_first = self._state.source != "store"
        self._state = replace(self._state, is_connected=True, error="", source="store", read_at=time.monotonic())
        if reading is None:
            return
        read = {record.id: record for record in reading.records}
        records = read if reading.is_whole else {**self._records, **read}
        if records == self._records and not is_first:
            return
        self._records, self._has_keys = records, bool(records)
        self._state = replace(self._state, changes_total=self._state.changes_total + 1)
        self._tell()
        await self._save()

    def _lose(self, error: PenstockError) -> None:
        failures = self._state.failures_total + 1
        self._state = replace(self._state, is_connected=False, error=error.message, failures_total=failures)

    async def _save(self) -> None:
        now = self._clock()
        valid = tuple(r for r in self._records.values() if standing(r, now) is Standing.VALID)
        try:
            await asyncio.to_thread(self._snapshot.save, KnownKeys(records=valid, has_keys=self._has_keys))
        except OSError as error:
            words = f"{self._snapshot.path} can't be written: {error.strerror or error}"
            self._state = replace(self._state, snapshot_error=words)
        else:
            self._state = replace(self._state, snapshot_error="")

    # ------------------------------------------------------------------ the clock

    async def _expire(self) -> None:
        while True:
            at = next_change(self._records.values(), self._told_at)  # since it was told, not since now: none is missed
            wait_s = _CLOCK_S if at is None else min(_CLOCK_S, max(0.0, at - self._clock()))
            self._replan.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._replan.wait()
            if at is not None and self._clock() >= at:
                self._tell()

    def _tell(self) -> None:
        now = self._clock()
        count = sum(standing(record, now) is Standing.VALID for record in self._records.values())
        self._state = replace(self._state, keys=count)
        self._told_at = now
        self._changed(self.known)
        self._replan.set()
