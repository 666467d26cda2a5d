"""Where a fleet's store is, and the engine that reaches it.

One asynchronous code path for both databases: aiosqlite runs SQLite in a thread of its own, so that a slow disk does
not hold up the event loop, and asyncpg speaks to PostgreSQL. Nothing is pooled: changes are rare, and each reader keeps
one connection.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg  # type: ignore[import-untyped]
from sqlalchemy import URL, Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from penstock.spec import sqlite_path

__all__ = ["ANSWER_S", "WRITES", "StoreAddress"]

ANSWER_S = 5.0
"""Longest that a database may take to connect, to answer, or to let another writer go first."""
WRITES = {"penstock_writes": True}
"""Execution option of a connection whose transactions write: SQLite's then lock at once and never deadlock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAddress:
    """One store. `password` is asked at each connection, so that a rotated one is taken without a restart."""

    url: str
    folder: Path
    """What a relative SQLite path is meant from."""
    is_asked: bool
    """Whether the fleet file names it; one that it does not name is used once its file is there."""
    password: Callable[[], str | None] = field(default=lambda: None, repr=False)

    @property
    def path(self) -> Path | None:
        """The SQLite file; None for PostgreSQL."""
        named = sqlite_path(self.url)
        return self.folder / named if named else None

    @property
    def shown(self) -> str:
        """The store as people know it. No URL holds a password."""
        return str(self.path) if self.path is not None else self.url.partition("?")[0]

    @property
    def kind(self) -> str:
        """`sqlite` or `postgresql`."""
        return "postgresql" if self.path is None else "sqlite"

    def make_file(self) -> None:
        """Makes an empty SQLite file, readable by its owner alone, and its folder; does nothing where there is one.

        Raises:
            OSError: it can't be made.
        """
        if self.path is not None and not self.path.exists():  # one on a read-only disk can be read
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def engine(self) -> AsyncEngine:
        """A new engine; nothing is connected yet. A SQLite file that is not there is not made."""
        return _postgresql(self) if self.path is None else _sqlite(self.path)


def _sqlite(path: Path) -> AsyncEngine:
    url = URL.create("sqlite+aiosqlite", database=f"file:{quote(str(path))}", query={"mode": "rw", "uri": "true"})
    engine = create_async_engine(url, poolclass=NullPool, connect_args={"timeout": ANSWER_S}, hide_parameters=True)

    def connected(connection: Any, _: object) -> None:
        connection.isolation_level = None  # sqlite3 would begin transactions by its own rules; `begun` does it instead

    def begun(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("isolation_level") != "AUTOCOMMIT":
            connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("penstock_writes") else "BEGIN")

    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "begin", begun)
    return engine


def _postgresql(address: StoreAddress) -> AsyncEngine:
    async def connect(**_: Any) -> asyncpg.Connection:
        return await asyncpg.connect(
            address.url,
            password=address.password() or "",  # "": only what the fleet file says, not PGPASSWORD or ~/.pgpass
            timeout=ANSWER_S,
            command_timeout=ANSWER_S,
            server_settings={"application_name": "penstock"},
        )

    return create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool, hide_parameters=True)
