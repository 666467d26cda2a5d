"""A ledger on a real file, and what is in it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from penstock.serve.io.ledger import Ledger
from penstock.serve.io.stores import StoreAddress
from penstock.serve.io.stores.usage import UsageStore
from penstock.serve.record import RequestRecord
from serve.io.stores.databases import address

NOW = 1_795_273_200.0  # 2026-11-21T15:00:00Z


def store_of(folder: Path, place: StoreAddress | None = None) -> UsageStore:
    return UsageStore(place or address("sqlite:usage.db", folder), "demo")


def ledger(folder: Path, place: StoreAddress | None = None) -> Ledger:
    return Ledger(folder, "demo", lambda: store_of(folder, place), where="the store", clock=lambda: NOW)


def request(name: str, tenant: str = "acme") -> RequestRecord:
    return RequestRecord(
        NOW, name, tenant=tenant, key="ci", model="chat", requested_model="chat", prompt_tokens=10, output_tokens=5
    )


async def outcomes(store: UsageStore) -> Counter[tuple[str, str]]:
    """How often each request is in the store, with its outcome."""
    engine = store.address.engine()
    async with engine.connect() as connection:
        rows = (await connection.exec_driver_sql("SELECT request_id, outcome FROM penstock_usage")).all()
    await engine.dispose()
    return Counter((row.request_id, row.outcome) for row in rows)


async def until(is_so: Callable[[], object]) -> None:
    """Waits for what another task brings about; gives up after twenty seconds."""
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110 — the ledger tells nobody when it has shipped
            await asyncio.sleep(0.01)
