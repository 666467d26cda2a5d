"""Migrations: any number of starters at once, steps in order, whole or not at all, nothing written when current."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from sqlalchemy import inspect
from sqlalchemy.exc import SQLAlchemyError

from penstock.serve.io.stores import StoreAddress
from penstock.serve.io.stores.schema import LATEST, META, MIGRATIONS, Migration, migrate

SECOND = Migration(number=LATEST + 1, statements=("ALTER TABLE penstock_keys ADD COLUMN note TEXT",))
BROKEN = Migration(
    number=LATEST + 1,
    statements=("ALTER TABLE penstock_keys ADD COLUMN note TEXT", "ALTER TABLE no_such_table ADD COLUMN a TEXT"),
)


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


async def migrated(address: StoreAddress, *more: Migration) -> int:
    engine = address.engine()
    try:
        return await migrate(engine, (*MIGRATIONS, *more))
    finally:
        await engine.dispose()


async def columns(address: StoreAddress) -> set[str]:
    engine = address.engine()
    async with engine.connect() as connection:
        found = await connection.run_sync(lambda c: inspect(c).get_columns("penstock_keys"))
    await engine.dispose()
    return {column["name"] for column in found}


async def meta(address: StoreAddress) -> list[tuple[Any, ...]]:
    engine = address.engine()
    async with engine.connect() as connection:
        rows = [tuple(row) for row in (await connection.execute(META.select())).all()]
    await engine.dispose()
    return rows


def test_many_who_start_at_once_make_the_tables_once(store_address: StoreAddress) -> None:
    async def main() -> None:
        store_address.make_file()
        versions = await asyncio.gather(*(migrated(store_address) for _ in range(8)))
        assert set(versions) == {LATEST}
        assert len(await meta(store_address)) == 1

    run(main())


def test_an_older_store_gets_the_steps_that_it_lacks_once(store_address: StoreAddress) -> None:
    async def main() -> None:
        store_address.make_file()
        await migrated(store_address)
        before = await meta(store_address)
        assert "note" not in await columns(store_address)
        versions = await asyncio.gather(*(migrated(store_address, SECOND) for _ in range(4)))
        assert set(versions) == {LATEST + 1}
        assert "note" in await columns(store_address)
        after = await meta(store_address)
        assert [(row[0], *row[2:]) for row in after] == [(row[0], *row[2:]) for row in before]
        assert await migrated(store_address) == LATEST + 1, "an older program tells that the store is newer"

    run(main())


def test_a_step_that_fails_leaves_nothing_behind(store_address: StoreAddress) -> None:
    async def main() -> None:
        store_address.make_file()
        await migrated(store_address)
        before = (await meta(store_address), await columns(store_address))
        with pytest.raises(SQLAlchemyError):
            await migrated(store_address, BROKEN)
        assert (await meta(store_address), await columns(store_address)) == before

    run(main())
