"""The ledger in the store: requests entered in batches, exactly once each, and their daily sums.

Guarantees: a batch, its sums and how far its journal is are one transaction, so that a batch that is sent again after
its answer was lost is nothing; two who send the same journal go one after the other. Never touches keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, case, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.errors import PenstockError
from penstock.serve.io.stores.address import ANSWER_S, WRITES, StoreAddress
from penstock.serve.io.stores.failures import told
from penstock.serve.io.stores.opening import opened
from penstock.serve.io.stores.schema import DAILY, JOURNALS, USAGE
from penstock.serve.ledger import Begin, End, Entry, lost_entry
from penstock.serve.usage import DayKey, Sums, UsageQuery, daily

__all__ = ["DAILY_DAYS", "RAW_DAYS", "Mark", "StoredUsage", "UsageStore", "UsageWriter"]

RAW_DAYS = 35
"""Days that single requests are kept: a month's bill can be looked into until the next one is paid."""
DAILY_DAYS = 800
"""Days that daily sums, and closed journals, are kept: two years and a quarter to compare with."""
_PRUNE_MS = 3_600_000
"""Milliseconds of ledger that one transaction of pruning takes away at most."""
_ROWS_MAX = 100_000
"""Rows of one answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How far a journal is in the store."""

    shipped: int = 0
    """Number of the last end frame that is in."""
    is_closed: bool = False
    """Whether everything is in, lost requests too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredUsage:
    """Sums, and how far the journals were that one asked for, at one moment."""

    rows: list[tuple[tuple[str, ...], Sums]]
    marks: dict[str, Mark]


class UsageStore:
    """The ledger of one fleet. Holds no connection between calls."""

    def __init__(self, address: StoreAddress, fleet: str) -> None:
        self.address = address
        self.fleet = fleet

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[UsageWriter]:
        """A writer with a connection of its own. Makes the store where there is none.

        Raises:
            PenstockError: the store is away or can't be used, in words.
        """
        async with opened(self.address, makes=True) as (engine, _), engine.connect() as connection:
            await connection.execution_options(**WRITES)
            yield UsageWriter(connection, self.address, self.fleet)

    async def read(self, columns: Sequence[str], query: UsageQuery, journals: Sequence[str] = ()) -> StoredUsage:
        """Sums by `columns` of `DayKey` over the query's days, with the marks of `journals` at the same moment.

        Raises:
            PenstockError: the store is away or can't be used, or the answer would be too long.
        """
        async with opened(self.address, makes=False) as (engine, _), engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                await connection.execution_options(isolation_level="REPEATABLE READ")
            async with asyncio.timeout(60), connection.begin():
                found = (await connection.execute(_sums(self.fleet, columns, query).limit(_ROWS_MAX + 1))).all()
                marks = await _marks(connection, journals)
        if len(found) > _ROWS_MAX:
            raise PenstockError(
                f"The answer has more than {_ROWS_MAX} rows.", hint="ask for fewer days, one tenant, or by less"
            )
        width = len(columns)
        rows = [(tuple(map(str, row[:width])), Sums(*map(int, row[width:]))) for row in found]
        return StoredUsage(rows=rows, marks=marks)


def _sums(fleet: str, columns: Sequence[str], query: UsageQuery) -> Select[Any]:
    by = [DAILY.c[name] for name in columns]
    failed = func.sum(case((DAILY.c.outcome != "ok", DAILY.c.requests), else_=0))
    sums = ("prompt_tokens", "cached_tokens", "output_tokens", "reserved_tokens", "cost_micros")
    found = select(*by, func.sum(DAILY.c.requests), failed, *(func.sum(DAILY.c[name]) for name in sums))
    found = found.where(DAILY.c.fleet == fleet, DAILY.c.day >= query.since, DAILY.c.day <= query.until)
    found = found if query.tenant is None else found.where(DAILY.c.tenant == query.tenant)
    return found.group_by(*by)


async def _marks(connection: AsyncConnection, journals: Sequence[str]) -> dict[str, Mark]:
    if not journals:
        return {}
    found = select(JOURNALS.c.id, JOURNALS.c.shipped, JOURNALS.c.is_closed).where(JOURNALS.c.id.in_(journals))
    rows = (await connection.execute(found)).all()
    return {row.id: Mark(shipped=row.shipped, is_closed=bool(row.is_closed)) for row in rows}


class UsageWriter:
    """Enters requests over one open connection."""

    def __init__(self, connection: AsyncConnection, address: StoreAddress, fleet: str) -> None:
        self._connection = connection
        self._address = address
        self._fleet = fleet
        self._is_postgresql = connection.dialect.name == "postgresql"
        self._inode = address.path.stat().st_ino if address.path is not None else 0

    async def enter(
        self, journal: str, ends: Sequence[End], *, now: float, lost: Sequence[Begin] = (), closes: bool = False
    ) -> int:
        """Enters what of a journal is not in yet; returns how many requests that were.

        Give a journal's `ends` in their order. `closes`: nothing comes after them; `lost` are its requests without an
        end, and are entered with the closing alone.

        Raises:
            PenstockError: the store is away or can't be written, in words. Nothing has been entered then, or everything
                has and the answer was lost.
        """
        with told(self._address):
            async with asyncio.timeout(ANSWER_S * 6):
                await self._check_file()
                async with self._connection.begin():
                    mark = await self._lock(journal, int(now))
                    if mark.is_closed:
                        return 0
                    entries = [end.entry for end in ends if end.number > mark.shipped]
                    if closes and lost:
                        entries += [lost_entry(begin) for begin in await self._unknown(journal, lost)]
                    await self._insert(journal, entries)
                    shipped = max(mark.shipped, ends[-1].number if ends else 0)
                    row = {"shipped": shipped, "is_closed": int(closes), "at": int(now)}
                    await self._connection.execute(JOURNALS.update().where(JOURNALS.c.id == journal).values(row))
        return len(entries)

    async def prune(self, *, now: float) -> int:
        """Takes away an hour of requests older than `RAW_DAYS`, and all sums older than `DAILY_DAYS`; returns how many
        requests those were. Call it again while there are some.

        Raises:
            PenstockError: the store is away or can't be written, in words.
        """
        cut_ms = int((now - RAW_DAYS * 86_400) * 1000)
        last_day = datetime.fromtimestamp(now - DAILY_DAYS * 86_400, UTC).date().isoformat()
        ours = USAGE.c.fleet == self._fleet
        with told(self._address):
            async with asyncio.timeout(ANSWER_S * 6), self._connection.begin():
                oldest = (await self._connection.execute(select(func.min(USAGE.c.at_ms)).where(ours))).scalar()
                gone = 0
                if oldest is not None and oldest < cut_ms:
                    before = min(cut_ms, oldest + _PRUNE_MS)
                    gone = (await self._connection.execute(delete(USAGE).where(ours, USAGE.c.at_ms < before))).rowcount
                await self._connection.execute(
                    delete(DAILY).where(DAILY.c.fleet == self._fleet, DAILY.c.day < last_day)
                )
                old = JOURNALS.c.at < int(now) - DAILY_DAYS * 86_400
                await self._connection.execute(delete(JOURNALS).where(JOURNALS.c.fleet == self._fleet, old))
        return gone

    async def _lock(self, journal: str, now: int) -> Mark:
        """The journal's mark, its row held until the end of the transaction."""
        first = "INSERT INTO penstock_journals (id, fleet, shipped, is_closed, at) VALUES ({}) ON CONFLICT DO NOTHING"
        await self._run(first, [(journal, self._fleet, 0, 0, now)])
        found = select(JOURNALS.c.shipped, JOURNALS.c.is_closed).where(JOURNALS.c.id == journal).with_for_update()
        row = (await self._connection.execute(found)).one()
        return Mark(shipped=row.shipped, is_closed=bool(row.is_closed))

    async def _unknown(self, journal: str, lost: Sequence[Begin]) -> list[Begin]:
        """Those that have no entry: after a power cut a segment may be there whose successor is shipped and gone."""
        numbers = [begin.number for begin in lost]
        known: set[int] = set()
        for start in range(0, len(numbers), 500):
            some = USAGE.c.number.in_(numbers[start : start + 500])
            found = select(USAGE.c.number).where(USAGE.c.journal == journal, some)
            known |= set((await self._connection.execute(found)).scalars())
        return [begin for begin in lost if begin.number not in known]

    async def _insert(self, journal: str, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        rows = [(journal, self._fleet, *entry) for entry in entries]
        await self._run(_ENTER, rows)
        sums = daily(entries)
        # Sorted: two gateways that add to the same days lock their rows in the same order.
        added = [(self._fleet, *key, *_counts(sums[key])) for key in sorted(sums)]
        await self._run(_ADD, added)

    async def _run(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """One statement for many rows, past SQLAlchemy's own compiler, which costs more than the database does."""
        width = len(rows[0])
        marks = ", ".join(f"${n + 1}" for n in range(width)) if self._is_postgresql else ", ".join("?" * width)
        await self._connection.exec_driver_sql(statement.format(marks), list(rows))

    async def _check_file(self) -> None:
        """A file that was taken away or replaced takes entries through the open connection, and nobody sees them."""
        path = self._address.path
        if path is not None and (await asyncio.to_thread(path.stat)).st_ino != self._inode:
            raise PenstockError(f"The store {self._address.shown} was replaced by another file.")


def _counts(sums: Sums) -> tuple[int, ...]:
    return (
        sums.requests,
        sums.prompt_tokens,
        sums.cached_tokens,
        sums.output_tokens,
        sums.reserved_tokens,
        sums.cost_micros,
    )


_ENTER = (
    f"INSERT INTO penstock_usage ({', '.join(('journal', 'fleet', *Entry._fields))}) "  # noqa: S608 — names of ours
    "VALUES ({}) ON CONFLICT DO NOTHING"
)
_COUNTED = ("requests", "prompt_tokens", "cached_tokens", "output_tokens", "reserved_tokens", "cost_micros")
_ADD = (
    f"INSERT INTO penstock_usage_daily ({', '.join(('fleet', *DayKey._fields, *_COUNTED))}) VALUES "  # noqa: S608
    "({}) ON CONFLICT (fleet, day, tenant, key_id, key_name, model, traffic_class, outcome) DO UPDATE SET "
    + ", ".join(f"{name} = penstock_usage_daily.{name} + excluded.{name}" for name in _COUNTED)
)
