"""The ledger as a gateway uses it: requests go to the journal at once, and from there to the store in batches.

Guarantees: each request that was admitted is in the store exactly once, whatever kills the gateway or the store in
between (see `journal` for the disk's part); requests never wait for the store. Journals that other gateways left behind
in the same folder are entered too, and what they admitted and never ended as `lost`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.errors import PenstockError
from penstock.serve.io.ledger.journal import Journal
from penstock.serve.io.ledger.month import MonthFile
from penstock.serve.io.ledger.reading import read_usage, read_waiting
from penstock.serve.io.ledger.recovery import left_behind, recover
from penstock.serve.io.tasks import Tasks
from penstock.serve.record import RequestRecord
from penstock.serve.usage import MONTH_SCOPES, UsageQuery, UsageReport, month_start, report, scope_uses

if TYPE_CHECKING:  # databases cost 0.2 s to import, and are imported in a thread when they are first needed
    from penstock.serve.io.stores.usage import UsageStore, UsageWriter

__all__ = ["Ledger", "LedgerState"]

SHIP_S = 1.0
"""Seconds between runs of batches, and between writes to disk: what a power cut may take."""
BATCH = 200
"""Requests of one transaction: what is decoded for it holds up the event loop by a millisecond."""
RETRY_S = 5.0
"""Seconds between tries at a store that is away."""
LOOK_S = 60.0
"""Seconds between looks for journals that were left behind."""
PRUNE_S = 3600.0
"""Seconds between looks for what is older than it is kept."""
STOP_S = 5.0
"""Longest that the end waits for the store; what it does not take is entered by the next gateway."""
_log = logging.getLogger("penstock.ledger")


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerState:
    """How well the ledger is kept, for `/readyz`, metrics and the dashboard."""

    where: str
    """The store, as people know it."""
    journal: str
    """Folder of the journal."""
    is_connected: bool
    """Whether the store took the last batch; True before the first."""
    error: str
    """Why not; empty otherwise."""
    journal_error: str
    """Why the journal is in memory, where a kill would take it; empty while it is on disk."""
    waiting: int
    """Requests that are over and not in the store."""
    silent_s: float
    """Seconds since the store was last up to date; 0 while it is."""
    journal_bytes: int
    shipped_total: int
    recovered_total: int
    """Requests of journals that were left behind, which this gateway entered."""
    dropped_total: int
    """Begins and ends that found no room, neither on disk nor in memory: their requests are missing."""
    failures_total: int
    """Batches that the store did not take."""


class Ledger:
    """One gateway's ledger; belongs to one event loop. `folder` is this fleet's on this machine."""

    def __init__(
        self,
        folder: Path,
        fleet: str,
        open_store: Callable[[], UsageStore],
        *,
        where: str,
        journal: Journal | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder / "ledger"
        self._fleet = fleet
        self._open_store = open_store
        self._where = where
        self._clock = clock
        self._journal = journal or Journal(self._folder, fleet)
        self._month = MonthFile(folder / "usage.month", fleet)
        self._store: UsageStore | None = None
        self._tasks = Tasks()
        self._error = ""
        self._sync_error = ""
        self._recovered = 0
        self._recovering = asyncio.Lock()
        self._failures = 0
        self._current_at = time.monotonic()

    # ------------------------------------------------------------------ requests

    def begin(self, record: RequestRecord, reserved_tokens: int, *, key_id: str = "", reserved_micros: int = 0) -> None:
        """A request was admitted. Call it before the request can reach an engine; the record must live until `end`."""
        self._journal.begin(record, key_id, reserved_tokens, reserved_micros)

    def end(self, record: RequestRecord, cost_micros: int) -> None:
        """It is over. Call it before the client is told so; for a request that was never admitted this is nothing."""
        self._journal.end(record, cost_micros)

    @property
    def state(self) -> LedgerState:
        """How well the ledger is kept."""
        journal = self._journal
        return LedgerState(
            where=self._where,
            journal=str(self._folder),
            is_connected=not self._error,
            error=self._error,
            journal_error=journal.error or self._sync_error,
            waiting=journal.waiting,
            silent_s=time.monotonic() - self._current_at if journal.waiting else 0.0,
            journal_bytes=journal.bytes,
            shipped_total=journal.shipped_total,
            recovered_total=self._recovered,
            dropped_total=journal.dropped_total,
            failures_total=self._failures,
        )

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Opens the journal and begins to ship. Fails for nothing: `state` says what is wrong."""
        await asyncio.to_thread(self._journal.open)
        if self._journal.error:
            _log.error("the ledger's journal is kept in memory, where a kill takes it: %s", self._journal.error)
        self._tasks.spawn(self._keep())
        self._tasks.spawn(self._ship())

    async def stop(self) -> None:
        """Ships what is left and closes the journal. Call it when the last request is over."""
        await self._tasks.close()
        if self._journal.waiting:
            try:
                async with asyncio.timeout(STOP_S), self._writing() as writer:
                    await self._ship_all(writer)
            except (PenstockError, TimeoutError) as error:
                _log.warning("%d requests wait in %s for the store: %s", self._journal.waiting, self._folder, error)
        await asyncio.to_thread(self._journal.close)

    async def month_to_date(self) -> Mapping[str, tuple[int, int]]:
        """Tokens and micro-dollars that each scope has used in this calendar month (UTC), by the names of
        `serve.usage.scope_uses`. While the store is away: what was last known, with what this machine's journals have.
        """
        now = self._clock()
        since = month_start(now)
        query = UsageQuery(since=since, until=f"{since[:8]}31", by=("tenant", "key"))
        try:
            store = await self._opened()
            if await asyncio.to_thread(left_behind, self._folder, self._journal.id):
                async with store.writing() as writer:  # what was lost counts from the first request on
                    await self._recover(writer)
            rows, waiting = await read_usage(store, self._folder, MONTH_SCOPES, query)
        except PenstockError as error:
            self._fail(error)
            saved = await asyncio.to_thread(self._month.load, since)
            journals = await asyncio.to_thread(read_waiting, self._folder, self._fleet)
            ends = (end.entry for found in journals.values() for end in found)
            return _added(saved, scope_uses(report(query, [], ends).rows))
        uses = scope_uses(report(query, rows, waiting).rows)
        with contextlib.suppress(OSError):  # the store has it; the file only stands in for it
            await asyncio.to_thread(self._month.save, since, uses)
        return uses

    async def usage(self, query: UsageQuery) -> UsageReport:
        """The answer to a question about use, with what this machine's journals have that the store lacks.

        Raises:
            PenstockError: the store is away or can't be used, in words.
        """
        store = await self._opened()
        return report(query, *await read_usage(store, self._folder, query.columns, query))

    # ------------------------------------------------------------------ work

    async def _keep(self) -> None:
        """Has the next segment ready and what was put on disk."""
        while True:
            try:
                await asyncio.to_thread(self._journal.prepare)
                await asyncio.to_thread(self._journal.sync)
                self._sync_error = ""
            except OSError as error:
                self._sync_error = f"{self._folder} can't be written to disk: {error.strerror or error}"
            await asyncio.sleep(SHIP_S)

    async def _ship(self) -> None:
        """Ships until cancelled. The store is first opened when there is something for it."""
        while True:
            try:
                others = await asyncio.to_thread(left_behind, self._folder, self._journal.id)
                if others or self._journal.waiting:
                    async with self._writing() as writer:
                        await self._follow(writer)
            except PenstockError as error:
                self._fail(error)
                await asyncio.sleep(RETRY_S)
            except Exception as error:
                _log.exception("the usage ledger could not ship")
                self._fail(PenstockError(f"The usage ledger could not ship: {type(error).__name__}: {error}"))
                await asyncio.sleep(RETRY_S)
            else:
                self._current_at = time.monotonic()
                await asyncio.sleep(SHIP_S)

    async def _follow(self, writer: UsageWriter) -> None:
        looked_at = pruned_at = -PRUNE_S
        while True:
            if time.monotonic() - looked_at >= LOOK_S:
                await self._recover(writer)
                looked_at = time.monotonic()
            await self._ship_all(writer)
            if self._error:
                _log.warning("the usage ledger's store takes entries again, and has all of them")
            self._error, self._current_at = "", time.monotonic()
            if time.monotonic() - pruned_at >= PRUNE_S:
                while await writer.prune(now=self._clock()):
                    await self._ship_all(writer)
                pruned_at = time.monotonic()
            await asyncio.sleep(SHIP_S)

    async def _recover(self, writer: UsageWriter) -> None:
        async with self._recovering:
            self._recovered += await recover(writer, self._folder, self._fleet, self._journal.id, self._clock())

    async def _ship_all(self, writer: UsageWriter) -> None:
        while (cursor := self._journal.next_ends(BATCH)) is not None:
            await writer.enter(self._journal.id, cursor.ends, now=self._clock())
            self._journal.shipped(cursor)
            if len(cursor.ends) < BATCH:
                return  # what came meanwhile goes with the next batch, or each would be a handful of requests

    @contextlib.asynccontextmanager
    async def _writing(self) -> AsyncIterator[UsageWriter]:
        store = await self._opened()
        async with store.writing() as writer:
            yield writer

    async def _opened(self) -> UsageStore:
        if self._store is None:
            self._store = await asyncio.to_thread(self._open_store)
        return self._store

    def _fail(self, error: PenstockError) -> None:
        self._failures += 1
        if error.message != self._error:
            _log.warning("the usage ledger waits for its store: %s", error.message)
        self._error = error.message


def _added(one: Mapping[str, tuple[int, int]], other: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    none = (0, 0)
    scopes = {*one, *other}
    return {
        s: (one.get(s, none)[0] + other.get(s, none)[0], one.get(s, none)[1] + other.get(s, none)[1]) for s in scopes
    }
