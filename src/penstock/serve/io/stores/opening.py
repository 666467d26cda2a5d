"""Opens a store whose tables are those of today, and closes it again: for keys and for the ledger alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncEngine

from penstock.serve.io.stores.address import StoreAddress
from penstock.serve.io.stores.failures import told
from penstock.serve.io.stores.schema import migrate

__all__ = ["opened"]


@asynccontextmanager
async def opened(address: StoreAddress, *, makes: bool) -> AsyncIterator[tuple[AsyncEngine, int]]:
    """An engine whose store has its tables, and their version. `makes`: a SQLite file that is not there is made.

    Raises:
        PenstockError: the store is away or can't be used, in words; also for whatever a database raises inside.
    """
    with told(address):
        if makes:
            await asyncio.to_thread(address.make_file)
        elif address.path is not None:
            await asyncio.to_thread(address.path.stat)  # aiosqlite leaves a thread behind when it can't connect
        engine = address.engine()
        try:
            yield engine, await migrate(engine)
        finally:
            await engine.dispose()
