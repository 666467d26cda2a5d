"""The tables of the store, and how an older store becomes one of today.

Migrations are a numbered list, run in one transaction under a lock, so that several gateways may start at once and one
that is killed leaves the store as it was. They only ever add, so that a gateway of the former version goes on reading
while the next one is rolled out. Alembic was left out: for tables like these it would bring a template engine and a
folder of scripts into the image, and the lock would still be ours.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    inspect,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from penstock.serve.io.stores.address import WRITES

__all__ = ["KEYS", "LATEST", "META", "Migration", "migrate"]

_tables = MetaData()
META = Table(
    "penstock_meta",
    _tables,
    Column("one", Integer, primary_key=True),
    Column("schema_version", Integer, nullable=False),
    Column("store_id", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
)
"""One row. `position` is counted up by each change, in the change's own transaction."""
KEYS = Table(
    "penstock_keys",
    _tables,
    Column("id", Text, primary_key=True),
    Column("fleet", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("last_four", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger),
    Column("revoked", BigInteger),
    Column("models", Text),
    Column("successor", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
)
"""Keys of all fleets that share the store. `models` is a JSON list; `position` is that of the last change."""

_LOCK = 0x70656E73
"""PostgreSQL's advisory lock while migrating: `pens`. Any number does, as long as it stays the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step. `BYTES` in a statement stands for the database's type of bytes."""

    number: int
    statements: tuple[str, ...]


MIGRATIONS = (
    Migration(
        number=1,
        statements=(
            "CREATE TABLE penstock_meta (one INTEGER PRIMARY KEY CHECK (one = 1), schema_version INTEGER NOT NULL, "
            "store_id TEXT NOT NULL, position BIGINT NOT NULL)",
            "CREATE TABLE penstock_keys (id TEXT PRIMARY KEY, fleet TEXT NOT NULL, tenant TEXT NOT NULL, "
            "name TEXT NOT NULL, digest BYTES NOT NULL, last_four TEXT NOT NULL, created BIGINT NOT NULL, "
            "expires BIGINT, revoked BIGINT, models TEXT, successor TEXT NOT NULL, position BIGINT NOT NULL)",
            "CREATE UNIQUE INDEX penstock_keys_digest ON penstock_keys (fleet, digest)",
            "CREATE INDEX penstock_keys_position ON penstock_keys (fleet, position)",
            "CREATE INDEX penstock_keys_tenant ON penstock_keys (fleet, tenant)",
        ),
    ),
)
LATEST = MIGRATIONS[-1].number


async def migrate(engine: AsyncEngine, migrations: tuple[Migration, ...] = MIGRATIONS) -> int:
    """Brings the store to the latest schema and returns its version, which is higher where a newer Penstock made it.

    A store that is current is only read.
    """
    latest = migrations[-1].number
    async with engine.connect() as connection:
        version = await connection.run_sync(_version)
    if version >= latest:
        return version
    async with engine.connect() as connection:
        await connection.execution_options(**WRITES)
        async with connection.begin():
            await _lock(connection)
            version = await connection.run_sync(_version)  # another may have been first
            for step in migrations:
                if step.number > version:
                    await _run(connection, step)
    return max(version, latest)


def _version(connection: Connection) -> int:
    """0 for a store without tables."""
    if not inspect(connection).has_table(META.name):
        return 0
    return int(connection.execute(select(META.c.schema_version)).scalar_one())


async def _lock(connection: AsyncConnection) -> None:
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


async def _run(connection: AsyncConnection, step: Migration) -> None:
    type_of_bytes = "BYTEA" if connection.dialect.name == "postgresql" else "BLOB"
    for statement in step.statements:
        await connection.execute(text(statement.replace("BYTES", type_of_bytes)))
    if step.number == 1:
        row = {"one": 1, "schema_version": 1, "store_id": secrets.token_hex(16), "position": 0}
        await connection.execute(META.insert().values(row))
    else:
        await connection.execute(META.update().values(schema_version=step.number))
