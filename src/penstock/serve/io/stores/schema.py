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

__all__ = ["DAILY", "JOURNALS", "KEYS", "LATEST", "META", "USAGE", "Migration", "migrate"]

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
    Column("limits", Text),
    Column("traffic_class", Text),
)
"""Keys of all fleets that share the store. `models` is a JSON list, `limits` a JSON object as in the fleet file;
`position` is that of the last change."""
JOURNALS = Table(
    "penstock_journals",
    _tables,
    Column("id", Text, primary_key=True),
    Column("fleet", Text, nullable=False),
    Column("shipped", BigInteger, nullable=False),
    Column("is_closed", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
)
"""How far each journal of a gateway is in the ledger: counted up in the transaction that enters its requests, so that
none is entered twice. `shipped` is the number of the last end frame; of a closed one nothing is missing. `at` is when
that was, Unix seconds."""
USAGE = Table(
    "penstock_usage",
    _tables,
    Column("journal", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("fleet", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("key_name", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("requested_model", Text, nullable=False),
    Column("traffic_class", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("is_stream", Integer, nullable=False),
    Column("prompt_tokens", BigInteger),
    Column("cached_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("reserved_tokens", BigInteger, nullable=False),
    Column("cost_micros", BigInteger, nullable=False),
    Column("queue_ms", Integer),
    Column("ttft_ms", Integer),
    Column("total_ms", Integer),
)
"""The ledger: one row for each request that was admitted and is over. See `serve.ledger.Entry`."""
DAILY = Table(
    "penstock_usage_daily",
    _tables,
    Column("fleet", Text, primary_key=True),
    Column("day", Text, primary_key=True),
    Column("tenant", Text, primary_key=True),
    Column("key_id", Text, primary_key=True),
    Column("key_name", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("traffic_class", Text, primary_key=True),
    Column("outcome", Text, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("reserved_tokens", BigInteger, nullable=False),
    Column("cost_micros", BigInteger, nullable=False),
)
"""Sums of the ledger, added to in the same transaction; kept when the rows are gone."""

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
    Migration(
        number=2,
        statements=(
            "ALTER TABLE penstock_keys ADD COLUMN limits TEXT",
            "ALTER TABLE penstock_keys ADD COLUMN traffic_class TEXT",
            "CREATE TABLE penstock_journals (id TEXT PRIMARY KEY, fleet TEXT NOT NULL, shipped BIGINT NOT NULL, "
            "is_closed INTEGER NOT NULL, at BIGINT NOT NULL)",
            "CREATE TABLE penstock_usage (journal TEXT NOT NULL, number BIGINT NOT NULL, fleet TEXT NOT NULL, "
            "at_ms BIGINT NOT NULL, request_id TEXT NOT NULL, tenant TEXT NOT NULL, key_id TEXT NOT NULL, "
            "key_name TEXT NOT NULL, model TEXT NOT NULL, requested_model TEXT NOT NULL, traffic_class TEXT NOT NULL, "
            "outcome TEXT NOT NULL, reason TEXT NOT NULL, status INTEGER NOT NULL, is_stream INTEGER NOT NULL, "
            "prompt_tokens BIGINT, cached_tokens BIGINT, output_tokens BIGINT, reserved_tokens BIGINT NOT NULL, "
            "cost_micros BIGINT NOT NULL, queue_ms INTEGER, ttft_ms INTEGER, total_ms INTEGER, "
            "PRIMARY KEY (journal, number))",
            "CREATE INDEX penstock_usage_at ON penstock_usage (fleet, at_ms)",
            "CREATE TABLE penstock_usage_daily (fleet TEXT NOT NULL, day TEXT NOT NULL, tenant TEXT NOT NULL, "
            "key_id TEXT NOT NULL, key_name TEXT NOT NULL, model TEXT NOT NULL, traffic_class TEXT NOT NULL, "
            "outcome TEXT NOT NULL, requests BIGINT NOT NULL, prompt_tokens BIGINT NOT NULL, "
            "cached_tokens BIGINT NOT NULL, output_tokens BIGINT NOT NULL, reserved_tokens BIGINT NOT NULL, "
            "cost_micros BIGINT NOT NULL, "
            "PRIMARY KEY (fleet, day, tenant, key_id, key_name, model, traffic_class, outcome))",
        ),
    ),
    Migration(
        number=3,
        statements=(
            "CREATE TABLE penstock_responses (fleet TEXT NOT NULL, tenant TEXT NOT NULL, id TEXT NOT NULL, "
            "expires BIGINT NOT NULL, body BYTES NOT NULL, items BYTES NOT NULL, PRIMARY KEY (fleet, tenant, id))",
            "CREATE INDEX penstock_responses_expires ON penstock_responses (fleet, expires)",
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
