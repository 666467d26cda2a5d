"""Follows the store's keys, so that a change holds in this gateway within a second, and costs what it changes.

PostgreSQL tells of changes; besides, and for SQLite alone, one row is looked at twice a second. While the store is away
the last known keys hold, and the snapshot keeps them over a restart. One watch belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import time
from collections.abc import Callable, Collection
from dataclasses import replace

from penstock.errors import PenstockError, StartError
from penstock.serve.io.stores.keys import KeyStore, Reading
from penstock.serve.io.stores.snapshot import KnownKeys, Snapshot
from penstock.serve.keys import KeyRecord, Standing, standing
from penstock.serve.platform import StoreState

__all__ = ["KeyWatch"]

LOOK_S = 0.5
"""Seconds between looks, also at a store that is away: half of what a change may take."""
FIRST_S = 10.0
"""Longest that a start waits for the first reading where nothing is known yet: a database's own restart."""
FIRST_WITH_SNAPSHOT_S = 2.0
"""Longest that it waits where a snapshot could stand in."""
_SAVED_PER_S = 10_000
"""Keys that are written to the snapshot in a second of changes: all of a hundred thousand every ten seconds at most."""
_CLOCK_S = 30.0
"""Longest wait for an expiry without a look at the clock, which may be set."""


class KeyWatch:
    """Knows the store's keys. `changed` is told whenever any begins, changes or ends, and which."""

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
        self._valid: dict[str, KeyRecord] = {}
        """Those that are valid, as the gateway last heard."""
        self._ends: list[tuple[int, str]] = []
        """When which will end, the next first; some have been changed since."""
        self._has_keys = False
        self._wake = asyncio.Event()
        self._replan = asyncio.Event()
        self._unsaved = asyncio.Event()
        self._state = StoreState(kind=store.address.kind, where=store.address.shown)

    @property
    def state(self) -> StoreState | None:
        """How well the keys are known; None while there is no store."""
        state = self._state
        return state if self._store.address.is_asked or state.source or state.error else None

    @property
    def known(self) -> KnownKeys:
        """The keys as last heard."""
        return KnownKeys(records=self._records.values(), has_keys=self._has_keys)

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
            if self._unsaved.is_set():
                self._unsaved.clear()
                await self._save()
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
        self._tell(saved.records, is_whole=True)

    async def run(self) -> None:
        """Follows the store until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            tasks.create_task(self._expire())
            tasks.create_task(self._save_when_changed())

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
        changed = [r for r in reading.records if self._records.get(r.id) != r]
        is_whole = is_first
        if reading.is_whole:
            records = {record.id: record for record in reading.records}
            is_whole = is_first or not self._records.keys() <= records.keys()  # an older copy was put back
            self._records = records
        else:
            self._records.update((record.id, record) for record in changed)
        if not changed and not is_whole:
            return
        self._has_keys = bool(self._records)
        self._state = replace(self._state, changes_total=self._state.changes_total + 1)
        self._tell(reading.records if is_whole else changed, is_whole=is_whole)
        self._unsaved.set()

    def _lose(self, error: PenstockError) -> None:
        failures = self._state.failures_total + 1
        self._state = replace(self._state, is_connected=False, error=error.message, failures_total=failures)

    async def _save_when_changed(self) -> None:
        """Keeps the snapshot: at once when the first of some changes comes, and then no more than its size allows."""
        while True:
            await self._unsaved.wait()
            self._unsaved.clear()
            await self._save()
            await asyncio.sleep(len(self._valid) / _SAVED_PER_S)

    async def _save(self) -> None:
        keys = KnownKeys(records=list(self._valid.values()), has_keys=self._has_keys)
        try:
            await asyncio.to_thread(self._snapshot.save, keys)
        except OSError as error:
            words = f"{self._snapshot.path} can't be written: {error.strerror or error}"
            self._state = replace(self._state, snapshot_error=words)
        else:
            self._state = replace(self._state, snapshot_error="")

    # ------------------------------------------------------------------ the clock

    async def _expire(self) -> None:
        while True:
            at = self._ends[0][0] if self._ends else None
            wait_s = _CLOCK_S if at is None else min(_CLOCK_S, max(0.0, at - self._clock()))
            self._replan.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._replan.wait()
            if ended := self._ended_by(self._clock()):
                self._tell(ended)

    def _ended_by(self, now: float) -> list[KeyRecord]:
        """Those that the gateway takes for valid and that are not any more."""
        ended: list[KeyRecord] = []
        while self._ends and self._ends[0][0] <= now:
            record = self._valid.get(heapq.heappop(self._ends)[1])
            if record is not None and standing(record, now) is not Standing.VALID:
                ended.append(record)
        return ended

    def _tell(self, changed: Collection[KeyRecord], *, is_whole: bool = False) -> None:
        now = self._clock()
        if is_whole:
            self._valid, self._ends = {}, []
        for record in changed:
            if standing(record, now) is Standing.VALID:
                self._valid[record.id] = record
                if record.expires is not None:
                    heapq.heappush(self._ends, (record.expires, record.id))
            else:
                self._valid.pop(record.id, None)
        self._state = replace(self._state, keys=len(self._valid))
        self._changed(replace(self.known, changed=None if is_whole else tuple(changed)))
        self._replan.set()
