"""Each claim about a store is made of SQLite and of PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.serve.io.stores import StoreAddress
from serve.io.stores.databases import PostgresServer, address, missing, postgres_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    if reason := missing():
        pytest.skip(reason)
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def store_address(request: pytest.FixtureRequest, tmp_path: Path) -> StoreAddress:
    if request.param == "sqlite":
        return address("sqlite:state/keys.db", tmp_path)
    server: PostgresServer = request.getfixturevalue("postgres")
    return address(server.database(), tmp_path)
