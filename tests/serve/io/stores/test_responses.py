"""Stored responses in a real store: each tenant's own, bounded, there for all gateways, and safe while it is away."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import PenstockError
from penstock.serve.io.stores import StoreAddress
from penstock.serve.io.stores.responses import ResponseShelf, ResponseStore
from penstock.serve.kept import KeptResponses
from penstock.serve.stored import Stored
from serve.io.stores.databases import address


def made(number: int, tenant: str = "acme", *, expires: int = 1000, body: bytes = b"{}") -> Stored:
    return Stored(id=f"resp_{number}", tenant=tenant, expires=expires, body=body, items=b"[]\x00")


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


def test_what_is_put_is_found_as_it_was_and_by_its_tenant_alone(store_address: StoreAddress) -> None:
    async def main() -> None:
        store = ResponseStore(store_address, "demo")
        await store.put([made(1), made(2, "beta")])
        assert await store.get("acme", "resp_1", 0.0) == made(1)
        assert await store.get("beta", "resp_1", 0.0) is None
        assert await ResponseStore(store_address, "other").get("acme", "resp_1", 0.0) is None

    run(main())


def test_one_that_is_put_again_is_the_new_one(store_address: StoreAddress) -> None:
    async def main() -> None:
        store = ResponseStore(store_address, "demo")
        await store.put([made(1)])
        await store.put([made(1, body=b"new")])
        assert await store.get("acme", "resp_1", 0.0) == made(1, body=b"new")

    run(main())


def test_one_that_is_deleted_is_gone_and_only_that_tenants(store_address: StoreAddress) -> None:
    async def main() -> None:
        store = ResponseStore(store_address, "demo")
        await store.put([made(1), made(1, "beta")])
        assert await store.delete("acme", "resp_1")
        assert not await store.delete("acme", "resp_1")
        assert await store.get("beta", "resp_1", 0.0) is not None

    run(main())


def test_what_is_too_old_is_not_found_and_then_taken_away(store_address: StoreAddress) -> None:
    async def main() -> None:
        store = ResponseStore(store_address, "demo")
        await store.put([made(1, expires=10), made(2, expires=20)])
        assert await store.get("acme", "resp_1", 10.0) is None
        assert await store.prune(10.0) == 1
        assert await store.get("acme", "resp_2", 10.0) is not None

    run(main())


def test_a_tenant_keeps_its_newest(store_address: StoreAddress) -> None:
    async def main() -> None:
        store = ResponseStore(store_address, "demo", tenant_max=2)
        await store.put([made(0, "beta")])
        for number in range(4):
            await store.put([made(number, expires=100 + number)])
        found = [await store.get("acme", f"resp_{n}", 0.0) for n in range(4)]
        assert [f is not None for f in found] == [False, False, True, True]
        assert await store.get("beta", "resp_0", 0.0) is not None

    run(main())


def test_two_gateways_see_each_others_and_write_at_once(store_address: StoreAddress) -> None:
    async def main() -> None:
        shelves = [ResponseShelf(ResponseStore(store_address, "demo"), clock=lambda: 0.0) for _ in range(2)]
        for number in range(20):
            shelves[number % 2].put(made(number))
        assert await asyncio.gather(*(shelf.flush() for shelf in shelves)) == [True, True]
        for number in range(20):
            assert await shelves[(number + 1) % 2].get("acme", f"resp_{number}") == made(number)

    run(main())


class TestTheShelf:
    def test_a_response_is_there_before_it_is_written(self, tmp_path: Path) -> None:
        async def main() -> None:
            shelf = ResponseShelf(ResponseStore(address("sqlite:r.db", tmp_path), "demo"), clock=lambda: 0.0)
            shelf.put(made(1))
            assert await shelf.get("acme", "resp_1") == made(1)
            assert not (tmp_path / "r.db").exists()

        run(main())

    def test_it_writes_what_is_put_by_itself(self, tmp_path: Path) -> None:
        async def main() -> None:
            store = ResponseStore(address("sqlite:r.db", tmp_path), "demo")
            shelf = ResponseShelf(store, clock=lambda: 0.0)
            async with asyncio.TaskGroup() as group:
                task = group.create_task(shelf.run())
                shelf.put(made(1))
                async with asyncio.timeout(10):
                    while not shelf.written_total:  # noqa: ASYNC110
                        await asyncio.sleep(0.005)
                assert len(shelf.kept) == 0
                assert await store.get("acme", "resp_1", 0.0) == made(1)
                task.cancel()

        run(main())

    def test_without_a_store_memory_is_all_there_is(self) -> None:
        async def main() -> None:
            shelf = ResponseShelf(clock=lambda: 0.0)
            shelf.put(made(1))
            assert await shelf.get("acme", "resp_1") == made(1)
            assert await shelf.get("beta", "resp_1") is None
            assert await shelf.delete("acme", "resp_1")
            assert not await shelf.delete("acme", "resp_1")

        run(main())

    def test_while_the_store_is_away_responses_wait_within_bounds(self, tmp_path: Path) -> None:
        (tmp_path / "blocked").write_text("")

        async def main() -> None:
            away = ResponseStore(address("sqlite:blocked/r.db", tmp_path), "demo")
            kept = KeptResponses(bytes_max=20, tenant_bytes_max=20)
            shelf = ResponseShelf(away, kept=kept, clock=lambda: 0.0)
            for number in range(10):
                shelf.put(made(number))
            assert not await shelf.flush()
            assert shelf.is_store_away
            assert (len(kept), kept.dropped_total) == (4, 6)
            with pytest.raises(PenstockError):
                await shelf.get("acme", "resp_0")
            assert await shelf.get("acme", "resp_9") == made(9)

        run(main())

    def test_one_that_is_deleted_while_it_is_written_stays_deleted(self, tmp_path: Path) -> None:
        class Slow(ResponseStore):
            async def put(self, batch: Sequence[Stored]) -> None:
                assert await shelf.delete("acme", "resp_1")
                await super().put(batch)

        store = Slow(address("sqlite:r.db", tmp_path), "demo")
        shelf = ResponseShelf(store, clock=lambda: 0.0)

        async def main() -> None:
            shelf.put(made(1))
            shelf.put(made(2))
            assert await shelf.flush()
            assert await store.get("acme", "resp_1", 0.0) is None
            assert await store.get("acme", "resp_2", 0.0) is not None

        run(main())

    def test_one_that_another_gateway_has_just_put_is_waited_for(self, tmp_path: Path) -> None:
        class Late(ResponseStore):
            looks = 0

            async def get(self, tenant: str, response_id: str, now: float) -> Stored | None:
                self.looks += 1
                return made(1) if self.looks == 3 else None

        async def main() -> None:
            late = Late(address("sqlite:r.db", tmp_path), "demo")
            assert await ResponseShelf(late, clock=lambda: 0.0).get("acme", "resp_1") == made(1)

        run(main())
