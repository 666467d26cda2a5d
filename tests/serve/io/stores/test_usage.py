"""The ledger in a real store: batches that are sent again are nothing, gateways add to the same days, old rows go."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import PenstockError
from penstock.serve.io.stores import StoreAddress
from penstock.serve.io.stores.usage import DAILY_DAYS, RAW_DAYS, Mark, UsageStore
from penstock.serve.ledger import Begin, End, Entry
from penstock.serve.usage import Sums, UsageQuery, day_of
from serve.io.stores.databases import PostgresServer, address

DAY_S = 86_400
NOW = 1_795_273_200.0  # 2026-11-21T15:00:00Z
A, B = "a" * 16, "b" * 16
ALL = UsageQuery(since="2000-01-01", until="2099-01-01")


def end(number: int, *, at: float = NOW, tenant: str = "acme", **more: Any) -> End:
    entry = Entry(
        *(2 * number, int(at * 1000), f"r{number}", tenant, "key_1", "ci", "chat", "chat", "interactive", "ok", ""),
        *(200, 1, 10, None, 5, 0, 3, 0, 12, 500),
    )
    return End(number, entry._replace(**more))


def begin(number: int) -> Begin:
    return Begin(number, int(NOW * 1000), 100, 7, 0, f"lost{number}", "acme", "key_1", "ci", "chat", "batch", "chat")


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


async def total(store: UsageStore, query: UsageQuery = ALL) -> Sums:
    added = Sums()
    for _, sums in (await store.read(("tenant", "outcome"), query)).rows:
        added.add(sums)
    return added


async def rows(store_address: StoreAddress) -> int:
    engine = store_address.engine()
    async with engine.connect() as connection:
        count = (await connection.exec_driver_sql("SELECT count(*) FROM penstock_usage")).scalar_one()
    await engine.dispose()
    return int(count)


def test_a_batch_that_is_sent_again_is_nothing(store_address: StoreAddress) -> None:
    async def main() -> None:
        store = UsageStore(store_address, "demo")
        async with store.writing() as writer:
            assert await writer.enter(A, [end(1), end(2)], now=NOW) == 2
            assert await writer.enter(A, [end(1), end(2), end(3)], now=NOW) == 1
            assert await writer.enter(A, [end(3)], now=NOW) == 0
        assert await rows(store_address) == 3
        sums = await total(store)
        assert (sums.requests, sums.prompt_tokens, sums.output_tokens, sums.cost_micros) == (3, 30, 15, 9)
        assert (await store.read(("day",), ALL, [A, B])).marks == {A: Mark(shipped=3)}

    run(main())


def test_lost_requests_are_entered_once_with_the_closing_and_nothing_after_it(store_address: StoreAddress) -> None:
    async def main() -> None:
        store = UsageStore(store_address, "demo")
        async with store.writing() as writer:
            await writer.enter(A, [end(2)], now=NOW)
            # 4 has an entry already: its begin outlived its end
            assert await writer.enter(A, [end(5)], now=NOW, lost=[begin(4), begin(6)], closes=True) == 2
            assert await writer.enter(A, [end(7)], now=NOW, lost=[begin(8)], closes=True) == 0
        sums = await total(store)
        assert (sums.requests, sums.failed, sums.reserved_tokens, sums.cost_micros) == (3, 1, 100, 3 + 3 + 7)
        assert (await store.read(("day",), ALL, [A])).marks == {A: Mark(shipped=5, is_closed=True)}

    run(main())


def test_gateways_add_to_the_same_days_at_once(store_address: StoreAddress) -> None:
    """Each has tenants in another order: rows are locked in one, so nobody waits for nobody."""

    async def main() -> None:
        store = UsageStore(store_address, "demo")

        async def gateway(journal: str, tenants: str) -> None:
            async with store.writing() as writer:
                for number in range(1, 11):
                    ends = [end(number * 10 + place, tenant=tenant) for place, tenant in enumerate(tenants)]
                    await writer.enter(journal, ends, now=NOW)

        async with store.writing():
            pass
        async with asyncio.TaskGroup() as gateways:
            for journal, tenants in ((A, "wxyz"), (B, "zyxw"), ("c" * 16, "xwzy")):
                gateways.create_task(gateway(journal, tenants))
        found = await store.read(("tenant",), ALL)
        assert {key: sums.requests for key, sums in found.rows} == {(tenant,): 30 for tenant in "wxyz"}

    run(main())


def test_a_fleet_a_tenant_and_days_are_told_alone(store_address: StoreAddress) -> None:
    async def main() -> None:
        async with UsageStore(store_address, "other").writing() as writer:
            await writer.enter(B, [end(1)], now=NOW)
        store = UsageStore(store_address, "demo")
        async with store.writing() as writer:
            ends = [end(1), end(2, tenant="beta", outcome="cancelled"), end(3, at=NOW - DAY_S)]
            await writer.enter(A, ends, now=NOW)
        assert (await total(store)).requests == 3
        today = UsageQuery(since=day_of(int(NOW * 1000)), until="2099-01-01")
        assert (await total(store, today)).requests == 2
        assert (await total(store, today)).failed == 1
        beta = UsageQuery(since="2000-01-01", until="2099-01-01", tenant="beta")
        assert [key for key, _ in (await store.read(("tenant", "model"), beta)).rows] == [("beta", "chat")]

    run(main())


def test_old_requests_go_an_hour_at_a_time_and_their_sums_stay(store_address: StoreAddress) -> None:
    async def main() -> None:
        store = UsageStore(store_address, "demo")
        old = NOW - RAW_DAYS * DAY_S - 7300
        ancient = NOW - (DAILY_DAYS + 1) * DAY_S
        async with store.writing() as writer:
            ends = [end(1, at=ancient), end(2, at=old), end(3, at=old + 10), end(4, at=old + 7200), end(5)]
            await writer.enter(A, ends, now=NOW)
            gone = [await writer.prune(now=NOW) for _ in range(4)]
        assert gone == [1, 2, 1, 0]
        assert await rows(store_address) == 1
        assert (await total(store)).requests == 4

    run(main())


def test_a_store_that_goes_away_in_the_middle_takes_the_batch_again_later(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    async def main() -> None:
        store = UsageStore(address(postgres.database(), tmp_path), "demo")
        async with store.writing() as writer:
            await writer.enter(A, [end(1)], now=NOW)
            postgres.stop()
            with pytest.raises(PenstockError, match="The store"):
                await writer.enter(A, [end(2)], now=NOW)
            postgres.start()
        async with store.writing() as writer:
            await writer.enter(A, [end(1), end(2)], now=NOW)
        assert (await total(store)).requests == 2

    run(main())


def test_a_file_that_takes_anothers_place_is_noticed(tmp_path: Path) -> None:
    async def main() -> None:
        store = UsageStore(address("sqlite:usage.db", tmp_path), "demo")
        async with store.writing() as writer:
            (tmp_path / "usage.db").rename(tmp_path / "away.db")
            (tmp_path / "usage.db").touch()
            with pytest.raises(PenstockError, match="replaced by another file"):
                await writer.enter(A, [end(1)], now=NOW)

    run(main())
