"""Opening a store: its tables are there, and whatever goes wrong inside is told in words."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text

from penstock.errors import PenstockError
from penstock.serve.io.stores import StoreAddress
from penstock.serve.io.stores.opening import opened
from penstock.serve.io.stores.schema import LATEST
from serve.io.stores.databases import address


def test_a_store_that_is_made_has_todays_tables(store_address: StoreAddress) -> None:
    async def main() -> None:
        async with opened(store_address, makes=True) as (engine, version), engine.connect() as connection:
            assert version == LATEST
            for table in ("keys", "journals", "usage", "usage_daily"):
                assert (await connection.execute(text(f"SELECT count(*) FROM penstock_{table}"))).scalar_one() == 0

    asyncio.run(main())


def test_a_file_that_is_not_there_is_made_only_where_that_is_meant(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(address("sqlite:usage.db", tmp_path), makes=False):
            raise AssertionError("unreachable")

    with pytest.raises(PenstockError, match="can't be opened"):
        asyncio.run(main())
    assert not (tmp_path / "usage.db").exists()


def test_what_a_database_raises_inside_is_told(store_address: StoreAddress) -> None:
    async def main() -> None:
        async with opened(store_address, makes=True) as (engine, _), engine.connect() as connection:
            await connection.execute(text("SELECT * FROM no_such_table"))

    with pytest.raises(PenstockError, match=r"The store .* failed"):
        asyncio.run(main())
