"""Keys in a real store: whole changes, in order, under any number of writers, and through the death of one."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import PenstockError, UsageError
from penstock.serve.io.stores import KeyStore, StoreAddress
from penstock.serve.io.stores.schema import LATEST
from penstock.serve.keys import KeyRecord, KeyRequest, key_text, new_record, revoke
from serve.io.stores.databases import PASSWORD, PostgresServer, address

ROOT = Path(__file__).resolve().parents[4]


def record(number: int, tenant: str = "acme") -> KeyRecord:
    key = key_text(number.to_bytes(32))
    return new_record(KeyRequest(tenant=tenant, name=f"n{number}", models=("chat",), expires=2**35), key, now=number)


def adding(*records: KeyRecord) -> Any:
    return lambda _: list(records)


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


def test_what_is_written_is_read_again_as_it_was(store_address: StoreAddress) -> None:
    async def main() -> None:
        store = KeyStore(store_address, "demo")
        written = [record(1), replace(record(2), expires=None, models=None, revoked=5, successor="key_1")]
        await store.change(adding(*written))
        assert await store.records() == written

    run(main())


def test_a_fleet_sees_its_own_keys_alone(store_address: StoreAddress) -> None:
    async def main() -> None:
        demo, other = KeyStore(store_address, "demo"), KeyStore(store_address, "other")
        await demo.change(adding(record(1)))
        await other.change(adding(record(2)))
        assert await demo.records() == [record(1)]
        assert await other.records() == [record(2)]

    run(main())


def test_a_decision_sees_the_tenants_or_the_one_record_and_changes_it(store_address: StoreAddress) -> None:
    async def main() -> None:
        store = KeyStore(store_address, "demo")
        await store.change(adding(record(1), record(2), record(3, "beta")))
        seen: list[Sequence[KeyRecord]] = []

        def end(found: Sequence[KeyRecord]) -> list[KeyRecord]:
            seen.append(found)
            return [revoke(r, now=9) for r in found]

        await store.change(end, tenant="beta")
        await store.change(end, key_id=record(2).id)
        assert seen == [[record(3, "beta")], [record(2)]]
        assert [r.revoked for r in await store.records()] == [None, 9, 9]

    run(main())


def test_a_decision_that_refuses_leaves_everything_as_it_was(store_address: StoreAddress) -> None:
    async def main() -> None:
        store = KeyStore(store_address, "demo")
        await store.change(adding(record(1)))

        def refuse(_: Sequence[KeyRecord]) -> list[KeyRecord]:
            raise UsageError("no")

        async with store.reading(lambda: None) as reader:
            await reader.read()
            with pytest.raises(UsageError, match="no"):
                await store.change(refuse)
            assert await reader.read() is None

    run(main())


def test_a_reader_is_given_all_once_and_then_only_what_changed(store_address: StoreAddress) -> None:
    async def main() -> None:
        store = KeyStore(store_address, "demo")
        await store.change(adding(record(1), record(2)))
        async with store.reading(lambda: None) as reader:
            first = await reader.read()
            assert first is not None
            assert (first.is_whole, set(first.records)) == (True, {record(1), record(2)})
            assert await reader.read() is None
            await store.change(adding(record(3)))
            second = await reader.read()
            assert second is not None
            assert (second.is_whole, second.records) == (False, (record(3),))
            await KeyStore(store_address, "other").change(adding(record(4)))
            third = await reader.read()
            assert third is None or third.records == ()

    run(main())


def test_many_writers_at_once_lose_nothing_and_a_reader_misses_nothing(store_address: StoreAddress) -> None:
    """Also the first use of the store: every one of them finds no tables and makes them."""

    async def main() -> None:
        known: set[KeyRecord] = set()
        written = [record(n) for n in range(12)]
        async with asyncio.TaskGroup() as writers:
            tasks = [writers.create_task(KeyStore(store_address, "demo").change(adding(r))) for r in written]
            async with KeyStore(store_address, "demo").reading(lambda: None) as reader:
                while not all(task.done() for task in tasks) or len(known) < len(written):
                    reading = await reader.read()
                    known |= set(reading.records) if reading is not None else set()
        assert known == set(written)
        assert len(await KeyStore(store_address, "demo").records()) == len(written)

    run(main())


def test_only_one_of_two_who_want_the_same_name_gets_it(store_address: StoreAddress) -> None:
    """The second decides after the first has written: it sees the record."""

    async def main() -> None:
        def if_free(new: KeyRecord) -> Any:
            def decide(found: Sequence[KeyRecord]) -> list[KeyRecord]:
                if found:
                    raise UsageError("taken")
                return [new]

            return decide

        stores = [KeyStore(store_address, "demo") for _ in range(4)]
        tries = (s.change(if_free(record(n)), tenant="acme") for n, s in enumerate(stores))
        ends = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(end is None for end in ends) == 1
        assert sum(isinstance(end, UsageError) for end in ends) == 3
        assert len(await stores[0].records()) == 1

    run(main())


WRITER = """
import asyncio, sys
from pathlib import Path
from penstock.serve.io.stores import KeyStore, StoreAddress
from penstock.serve.keys import KeyRequest, key_text, new_record

async def main(url, folder, password):
    store = KeyStore(StoreAddress(url=url, folder=Path(folder), is_asked=True, password=lambda: password), "demo")
    for number in range(10_000):
        pair = [new_record(KeyRequest(tenant="acme", name=f"{number}-{half}"),
                key_text((2 * number + half).to_bytes(32)), now=number) for half in (0, 1)]
        await store.change(lambda _: pair)
        print(number, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("after", [1, 5])
def test_a_writer_that_is_killed_leaves_whole_changes_and_all_it_had_told(
    store_address: StoreAddress, after: int
) -> None:
    # given a writer of pairs that says each pair it has written
    words = [sys.executable, "-c", WRITER, store_address.url, str(store_address.folder), PASSWORD]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=env) as writer:
        assert writer.stdout is not None
        told = [int(writer.stdout.readline()) for _ in range(after)]
        # when it is killed in the middle of what it does next
        writer.send_signal(signal.SIGKILL)
        told += [int(line) for line in writer.stdout if line.strip()]

    async def main() -> None:
        store = KeyStore(store_address, "demo")
        names = {r.name for r in await store.records()}
        # then everything told is there, and no half of a pair is
        assert {f"{n}-{half}" for n in told for half in (0, 1)} <= names
        assert all({f"{name.split('-')[0]}-0", f"{name.split('-')[0]}-1"} <= names for name in names)
        # and the next writer goes on
        await store.change(adding(record(99_999)))

    run(main())


def test_a_listener_is_woken_by_a_change(postgres: PostgresServer, tmp_path: Path) -> None:
    async def main() -> None:
        store, woken = KeyStore(address(postgres.database(), tmp_path), "demo"), asyncio.Event()
        async with store.reading(woken.set) as reader:
            await reader.read()
            await store.change(adding(record(1)))
            async with asyncio.timeout(20):
                await woken.wait()

    run(main())


def test_a_file_is_its_owners_alone_and_is_made_only_where_it_is_asked_for(tmp_path: Path) -> None:
    async def main() -> None:
        unasked = address("sqlite:state/keys.db", tmp_path, is_asked=False)
        with pytest.raises(PenstockError, match="can't be opened"):
            async with KeyStore(unasked, "demo").reading(lambda: None):
                pass
        assert not (tmp_path / "state").exists()
        await KeyStore(unasked, "demo").change(adding(record(1)))
        assert (tmp_path / "state" / "keys.db").stat().st_mode & 0o777 == 0o600

    run(main())


def test_a_file_that_takes_anothers_place_is_noticed(tmp_path: Path) -> None:
    async def main() -> None:
        old, new = address("sqlite:keys.db", tmp_path), address("sqlite:new.db", tmp_path)
        await KeyStore(old, "demo").change(adding(record(1)))
        await KeyStore(new, "demo").change(adding(record(2)))
        async with KeyStore(old, "demo").reading(lambda: None) as reader:
            await reader.read()
            (tmp_path / "new.db").replace(tmp_path / "keys.db")
            with pytest.raises(PenstockError, match="replaced by another file"):
                await reader.read()

    run(main())


def test_a_store_of_a_newer_penstock_is_read_and_not_changed(store_address: StoreAddress) -> None:
    async def main() -> None:
        store = KeyStore(store_address, "demo")
        await store.change(adding(record(1)))
        engine = store_address.engine()
        async with engine.begin() as connection:
            await connection.exec_driver_sql(f"UPDATE penstock_meta SET schema_version = {LATEST + 1}")
        await engine.dispose()
        assert await store.records() == [record(1)]
        with pytest.raises(PenstockError, match="newer Penstock"):
            await store.change(adding(record(2)))

    run(main())
