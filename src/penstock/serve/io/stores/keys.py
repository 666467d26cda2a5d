"""Key records in the store: read what has changed, and change them in one transaction.

Guarantees: a change is whole or not there, also when the writer is killed; two writers never overtake each other, so
that reading from a position on misses nothing; a key itself never comes here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.errors import PenstockError
from penstock.serve.io.stores.address import ANSWER_S, WRITES, StoreAddress
from penstock.serve.io.stores.failures import told
from penstock.serve.io.stores.opening import opened
from penstock.serve.io.stores.schema import KEYS, LATEST, META
from penstock.serve.keys import KeyRecord, limits_shown
from penstock.spec import QuotaSpec

__all__ = ["KeyReader", "KeyStore", "Reading"]

CHANNEL = "penstock_keys"
"""PostgreSQL tells listeners here that a fleet's keys have changed; the payload is the fleet's name."""

_AT_ONCE = 200
"""Rows that become records without a turn for others: a millisecond."""

Decision = Callable[[Sequence[KeyRecord]], Sequence[KeyRecord]]
"""What to write, from the records as they are inside the transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What has changed since the last one; all of it where `is_whole`."""

    is_whole: bool
    records: tuple[KeyRecord, ...]


class KeyStore:
    """The keys of one fleet. Holds no connection between calls."""

    def __init__(self, address: StoreAddress, fleet: str) -> None:
        self.address = address
        self._fleet = fleet

    async def records(self) -> list[KeyRecord]:
        """All of the fleet's, oldest first.

        Raises:
            PenstockError: the store is away or can't be used, in words.
        """
        async with opened(self.address, makes=False) as (engine, _), engine.connect() as connection:
            return await _fetch(connection, self._all().order_by(KEYS.c.created, KEYS.c.id))

    async def change(self, decide: Decision, *, tenant: str | None = None, key_id: str | None = None) -> None:
        """Lets `decide` choose among the records of the tenant, or that of the id, and writes what it returns.

        Raises:
            PenstockError: the store is away or can't be written, in words; or whatever `decide` raises. Nothing has
                changed then.
        """
        async with opened(self.address, makes=True) as (engine, version), engine.connect() as connection:
            if version > LATEST:
                raise PenstockError(
                    f"The store {self.address.shown} was made by a newer Penstock, which alone may change it.",
                    hint="use that version; this one goes on reading it",
                )
            await connection.execution_options(**WRITES)
            async with connection.begin():
                # The row's lock holds every other writer back until the end, so positions appear in their order.
                await connection.execute(META.update().values(position=META.c.position + 1))
                position = (await connection.execute(select(META.c.position))).scalar_one()
                found = self._all()
                found = found if tenant is None else found.where(KEYS.c.tenant == tenant)
                found = found if key_id is None else found.where(KEYS.c.id == key_id)
                before = await _fetch(connection, found)
                await self._write(connection, before, decide(before), position)

    @asynccontextmanager
    async def reading(self, wake: Callable[[], None]) -> AsyncIterator[KeyReader]:
        """A reader with a connection of its own; `wake` is called when there may be something new.

        Raises:
            PenstockError: the store is away or can't be used, in words.
        """
        async with opened(self.address, makes=self.address.is_asked) as (engine, _), engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            if connection.dialect.name == "postgresql":
                driver: Any = (await connection.get_raw_connection()).driver_connection
                driver.add_termination_listener(lambda *_: wake())
                await driver.add_listener(CHANNEL, lambda *_: wake())
            yield KeyReader(connection, self.address, self._all())

    async def _write(
        self, connection: AsyncConnection, before: Sequence[KeyRecord], after: Sequence[KeyRecord], position: int
    ) -> None:
        known = {record.id for record in before}
        for record in after:
            row = {**_row(record), "fleet": self._fleet, "position": position}
            statement = KEYS.update().where(KEYS.c.id == record.id) if record.id in known else KEYS.insert()
            await connection.execute(statement.values(row))
        if connection.dialect.name == "postgresql":
            tell = {"channel": CHANNEL, "fleet": self._fleet}
            await connection.execute(text("SELECT pg_notify(:channel, :fleet)"), tell)

    def _all(self) -> Select[Any]:
        return select(KEYS).where(KEYS.c.fleet == self._fleet)


class KeyReader:
    """Reads over one open connection, each time only what is new."""

    def __init__(self, connection: AsyncConnection, address: StoreAddress, every: Select[Any]) -> None:
        self._connection = connection
        self._address = address
        self._every = every
        self._store_id = ""
        self._position = 0
        self._inode = address.path.stat().st_ino if address.path is not None else 0

    async def read(self) -> Reading | None:
        """What has changed since the last reading, everything at the first; None when nothing has.

        Raises:
            PenstockError: the store is away, in words; or its file is another one now: open it anew.
        """
        with told(self._address):
            async with asyncio.timeout(ANSWER_S):
                await self._check_file()
                row = (await self._connection.execute(select(META.c.store_id, META.c.position))).one()
                store_id, position = str(row.store_id), int(row.position)
                is_whole = store_id != self._store_id or position < self._position
                if not is_whole and position == self._position:
                    return None
                found = self._every if is_whole else self._every.where(KEYS.c.position > self._position)
                reading = Reading(is_whole=is_whole, records=tuple(await _fetch(self._connection, found)))
        # What was written between the two looks is in the reading already, and in the next one once more.
        self._store_id, self._position = store_id, position
        return reading

    async def _check_file(self) -> None:
        """A file that was taken away or replaced stays readable through the open connection, but nobody writes it."""
        path = self._address.path
        if path is not None and (await asyncio.to_thread(path.stat)).st_ino != self._inode:
            raise PenstockError(f"The store {self._address.shown} was replaced by another file.")


async def _fetch(connection: AsyncConnection, found: Select[Any]) -> list[KeyRecord]:
    records: list[KeyRecord] = []
    for count, row in enumerate((await connection.execute(found)).all()):
        records.append(_record(row))
        if count % _AT_ONCE == _AT_ONCE - 1:
            await asyncio.sleep(0)  # a turn for requests: there may be a hundred thousand
    return records


def _row(record: KeyRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "tenant": record.tenant,
        "name": record.name,
        "digest": record.digest,
        "last_four": record.last_four,
        "created": record.created,
        "expires": record.expires,
        "revoked": record.revoked,
        "models": None if record.models is None else json.dumps(record.models),
        "successor": record.successor,
        "limits": None if record.limits is None else json.dumps(limits_shown(record.limits)),
        "traffic_class": record.traffic_class,
    }


def _record(row: Row[Any]) -> KeyRecord:
    return KeyRecord(
        id=row.id,
        tenant=row.tenant,
        name=row.name,
        digest=bytes(row.digest),
        last_four=row.last_four,
        created=row.created,
        expires=row.expires,
        revoked=row.revoked,
        models=None if row.models is None else tuple(json.loads(row.models)),
        successor=row.successor,
        limits=None if row.limits is None else QuotaSpec.model_validate_json(row.limits),
        traffic_class=row.traffic_class,
    )
