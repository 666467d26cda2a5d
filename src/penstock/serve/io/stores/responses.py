"""Stored responses in the store that gateways share, and the shelf that a gateway reaches them by.

Guarantees: a response can be gone on with at this gateway the moment its answer has ended, and at the others once it
is written, which a look-up waits for a moment; a store that is away holds up no answer: what can't be written waits,
within bounds, and goes when those are reached. A response never leaves its tenant, who is part of every question.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Delete,
    LargeBinary,
    MetaData,
    Table,
    Text,
    and_,
    delete,
    func,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.errors import PenstockError
from penstock.serve.io.stores.address import WRITES, StoreAddress
from penstock.serve.io.stores.opening import opened
from penstock.serve.kept import KeptResponses
from penstock.serve.stored import Stored

__all__ = ["ResponseShelf", "ResponseStore"]

_log = logging.getLogger("penstock.responses")

TENANT_RESPONSES_MAX = 100_000
"""Responses of one tenant in the store; the oldest go first. At 20 kB each that is 2 GB."""
BATCH = 64
"""Responses that one transaction writes: at most 256 MiB, and mostly far less."""
RETRY_S = 2.0
"""Seconds between attempts while the store is away."""
PRUNE_S = 3600.0
"""Seconds between looks for what is too old: kept for 30 days, an hour more is nothing."""
LOOKS = (0.0, 0.1, 0.3)
"""Seconds before each look for a response: one that another gateway has just answered with is on its way here."""

RESPONSES = Table(
    "penstock_responses",
    MetaData(),
    Column("fleet", Text, primary_key=True),
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("expires", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("items", LargeBinary, nullable=False),
)
"""Responses of all fleets that share the store. See `serve.stored.Stored`."""


class ResponseStore:
    """The responses of one fleet in the store. Holds no connection between calls.

    Each call raises `PenstockError` when the store is away or can't be used.
    """

    def __init__(self, address: StoreAddress, fleet: str, *, tenant_max: int = TENANT_RESPONSES_MAX) -> None:
        self.address = address
        self._fleet = fleet
        self._tenant_max = tenant_max

    async def put(self, batch: Sequence[Stored]) -> None:
        """Writes them in one transaction; one that is there already is written anew."""
        async with opened(self.address, makes=True) as (engine, _), engine.connect() as connection:
            await connection.execution_options(**WRITES)
            async with connection.begin():
                for stored in sorted(batch, key=lambda s: (s.tenant, s.id)):  # one order for all writers: no deadlock
                    await connection.execute(delete(RESPONSES).where(self._one(stored.tenant, stored.id)))
                    row: dict[str, Any] = {"fleet": self._fleet, "tenant": stored.tenant, "id": stored.id}
                    row |= {"expires": stored.expires, "body": stored.body, "items": stored.items}
                    await connection.execute(RESPONSES.insert().values(row))
                for tenant in sorted({stored.tenant for stored in batch}):
                    await self._trim(connection, tenant)

    async def get(self, tenant: str, response_id: str, now: float) -> Stored | None:
        """A tenant's response; None when there is none that is still valid."""
        found = select(RESPONSES).where(self._one(tenant, response_id), RESPONSES.c.expires > int(now))
        async with opened(self.address, makes=True) as (engine, _), engine.connect() as connection:
            row = (await connection.execute(found)).one_or_none()
        if row is None:
            return None
        return Stored(id=row.id, tenant=row.tenant, expires=row.expires, body=bytes(row.body), items=bytes(row.items))

    async def delete(self, tenant: str, response_id: str) -> bool:
        """Whether there was such a response; it is gone now."""
        return await self._delete(delete(RESPONSES).where(self._one(tenant, response_id))) > 0

    async def prune(self, now: float) -> int:
        """Takes away what is too old; how many that were."""
        mine = and_(RESPONSES.c.fleet == self._fleet, RESPONSES.c.expires <= int(now))
        return await self._delete(delete(RESPONSES).where(mine))

    async def _delete(self, statement: Delete) -> int:
        async with opened(self.address, makes=True) as (engine, _), engine.connect() as connection:
            await connection.execution_options(**WRITES)
            async with connection.begin():
                return (await connection.execute(statement)).rowcount

    async def _trim(self, connection: AsyncConnection, tenant: str) -> None:
        mine = and_(RESPONSES.c.fleet == self._fleet, RESPONSES.c.tenant == tenant)
        count = (await connection.execute(select(func.count()).select_from(RESPONSES).where(mine))).scalar_one()
        if count > self._tenant_max:
            oldest = select(RESPONSES.c.id).where(mine).order_by(RESPONSES.c.expires, RESPONSES.c.id)
            gone = oldest.limit(count - self._tenant_max)
            await connection.execute(delete(RESPONSES).where(mine, RESPONSES.c.id.in_(gone)))

    def _one(self, tenant: str, response_id: str) -> ColumnElement[bool]:
        return and_(RESPONSES.c.fleet == self._fleet, RESPONSES.c.tenant == tenant, RESPONSES.c.id == response_id)


class ResponseShelf:
    """Where one gateway puts its responses and finds everybody's. Without a store they are kept in memory alone."""

    def __init__(
        self,
        store: ResponseStore | None = None,
        *,
        kept: KeptResponses | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.kept = kept if kept is not None else KeptResponses()
        self._store = store
        self._clock = clock
        self._news = asyncio.Event()
        self._deleted: set[tuple[str, str]] | None = None  # while a batch is being written: what it may not bring back
        self.is_store_away = False
        self.written_total = 0
        self.failures_total = 0
        """Times that the store did not answer."""

    def put(self, stored: Stored) -> None:
        """Keeps a response. Never waits."""
        self.kept.put(stored, self._clock())
        self._news.set()

    def held(self, tenant: str, response_id: str) -> Stored | None:
        """A response that is in this process, without waiting; None says nothing where there is a store."""
        return self.kept.get(tenant, response_id, self._clock())

    async def get(self, tenant: str, response_id: str) -> Stored | None:
        """A tenant's response.

        Raises:
            PenstockError: the store is away, so that nobody can tell.
        """
        for delay_s in LOOKS:
            found = self.held(tenant, response_id)
            if found is None and self._store is not None:
                await asyncio.sleep(delay_s)
                found = await self._store.get(tenant, response_id, self._clock())
            if found is not None or self._store is None:
                return found
        return None

    async def delete(self, tenant: str, response_id: str) -> bool:
        """Whether there was such a response; it is gone now.

        Raises:
            PenstockError: the store is away, so that it may still be there.
        """
        was_kept = self.kept.take(tenant, response_id) is not None
        if self._store is None:
            return was_kept
        if self._deleted is not None:
            self._deleted.add((tenant, response_id))
        return await self._store.delete(tenant, response_id) or was_kept

    async def run(self) -> None:
        """Writes what was put, until it is cancelled. Does nothing but let old ones go where there is no store."""
        pruned_at = 0.0
        while True:
            now = self._clock()
            if now - pruned_at > PRUNE_S:
                pruned_at = now
                await self._prune(now)
            self._news.clear()
            if self._store is None or not len(self.kept):
                try:
                    async with asyncio.timeout(PRUNE_S):
                        await self._news.wait()
                except TimeoutError:
                    continue
            if self._store is not None and not await self.flush():
                await asyncio.sleep(RETRY_S)

    async def flush(self) -> bool:
        """Writes what waits; whether all of it is written. Also for a gateway's end."""
        while self._store is not None and (batch := self.kept.oldest(BATCH)):
            try:
                await self._write(self._store, batch)
            except PenstockError as error:
                if not self.is_store_away:
                    _log.warning("stored responses wait: %s", error)
                self.is_store_away = True
                self.failures_total += 1
                return False
            self.is_store_away = False
            self.written_total += len(batch)
        return True

    async def _write(self, store: ResponseStore, batch: Sequence[Stored]) -> None:
        deleted: set[tuple[str, str]] = set()
        self._deleted = deleted
        try:
            await store.put(batch)
        finally:
            self._deleted = None
        for stored in batch:
            if self.kept.get(stored.tenant, stored.id, 0.0) is stored:
                self.kept.take(stored.tenant, stored.id)
        for tenant, response_id in sorted(deleted):
            await store.delete(tenant, response_id)

    async def _prune(self, now: float) -> None:
        self.kept.expire(now)
        if self._store is not None:
            try:
                await self._store.prune(now)
            except PenstockError as error:
                self.failures_total += 1
                _log.warning("old stored responses stay for now: %s", error)
