"""A watch on a real store: two gateways hear each change, and a store that is away takes no key away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import StartError
from penstock.serve.io.stores import KeyDesk, KeyStore, KeyWatch, Snapshot, StoreAddress
from penstock.serve.io.stores import watch as module
from penstock.serve.io.stores.snapshot import KnownKeys
from penstock.serve.keys import KeyChange, KeyRequest, Standing, limits_shown, standing
from serve.io.stores.databases import PostgresServer, address

ENOUGH_S = 40.0
"""Far longer than anything here takes: it ends a test that would hang."""


@dataclass
class Gateway:
    """Stands for a gateway: keeps what its watch tells it."""

    address: StoreAddress
    name: str = "one"
    now: float = 1000.0
    heard: KnownKeys | None = None
    watch: KeyWatch = field(init=False)

    def __post_init__(self) -> None:
        path = self.address.folder / self.name / "keys.snapshot"
        snapshot = Snapshot(path, url=self.address.url, fleet="demo")
        self.watch = KeyWatch(KeyStore(self.address, "demo"), snapshot, self._hear, clock=lambda: self.now)

    def _hear(self, keys: KnownKeys) -> None:
        self.heard = keys

    def valid(self) -> set[str]:
        records = self.heard.records if self.heard is not None else ()
        return {r.name for r in records if standing(r, self.now) is Standing.VALID}


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


def request(name: str, expires: int | None = None) -> KeyRequest:
    return KeyRequest(tenant="acme", name=name, expires=expires)


def desk(address: StoreAddress) -> KeyDesk:
    return KeyDesk(KeyStore(address, "demo"), clock=lambda: 1000.0)


@asynccontextmanager
async def running(*gateways: Gateway) -> AsyncIterator[None]:
    for gateway in gateways:
        await gateway.watch.begin()
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(gateway.watch.run()) for gateway in gateways]
        try:
            yield
        finally:
            for task in started:
                task.cancel()


async def until(happened: Callable[[], bool]) -> None:
    """Gives the loop its turns until something has happened."""
    async with asyncio.timeout(ENOUGH_S):
        while not happened():  # noqa: ASYNC110 — what is waited for is a state, not an event
            await asyncio.sleep(0.01)


def test_two_gateways_hear_what_is_made_and_what_is_revoked(store_address: StoreAddress) -> None:
    async def main() -> None:
        one, two = Gateway(store_address), Gateway(store_address, name="two")
        async with running(one, two):
            assert one.watch.state is not None
            assert (one.watch.state.is_connected, one.watch.state.source) == (True, "store")
            made = await desk(store_address).create(request("laptop"))
            await until(lambda: one.valid() == two.valid() == {"laptop"})
            await desk(store_address).revoke(made.record.id)
            await until(lambda: one.valid() == two.valid() == set())
            assert one.heard is not None
            assert one.heard.has_keys

    run(main())


def test_a_change_is_told_by_itself_and_limits_come_along(store_address: StoreAddress) -> None:
    async def main() -> None:
        made = [await desk(store_address).create(request(name)) for name in ("a", "b", "c")]
        gateway = Gateway(store_address)
        async with running(gateway):
            assert gateway.heard is not None
            assert gateway.heard.changed is None
            change = KeyChange(limits={"requestsPerMinute": 7}, traffic_class="batch")
            await desk(store_address).set(made[1].record.id, change)
            await until(lambda: gateway.heard is not None and bool(gateway.heard.changed))
            (changed,) = gateway.heard.changed or ()
            assert (changed.name, changed.traffic_class) == ("b", "batch")
            assert limits_shown(changed.limits) == {"requestsPerMinute": 7}
            assert gateway.valid() == {"a", "b", "c"}
            path = store_address.folder / "one" / "keys.snapshot"
            snapshot = Snapshot(path, url=store_address.url, fleet="demo")
            await until(lambda: (saved := snapshot.load()) is not None and changed in saved.records)

    run(main())


def test_a_gateway_that_starts_later_knows_all_before_it_serves(store_address: StoreAddress) -> None:
    async def main() -> None:
        await desk(store_address).create(request("laptop"))
        gateway = Gateway(store_address)
        await gateway.watch.begin()
        assert gateway.valid() == {"laptop"}

    run(main())


def test_a_key_ends_when_its_time_comes_without_any_change_of_the_store(
    store_address: StoreAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CLOCK_S", 0.02)

    async def main() -> None:
        await desk(store_address).create(request("short", expires=2000))
        gateway = Gateway(store_address)
        async with running(gateway):
            state = gateway.watch.state
            assert state is not None
            assert state.keys == 1
            gateway.now = 2000.0
            await until(lambda: gateway.watch.state is not None and gateway.watch.state.keys == 0)

    run(main())


def test_postgresql_stopped_in_the_middle_takes_no_key_away_and_is_followed_again(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    async def main() -> None:
        place = address(postgres.database(), tmp_path)
        await desk(place).create(request("laptop"))
        running_one, stopped = Gateway(place), False
        async with running(running_one):
            try:
                # when
                await asyncio.to_thread(postgres.stop)
                stopped = True
                await until(lambda: (s := running_one.watch.state) is not None and not s.is_connected)
                # then the key holds, in the one that runs and in one that starts now
                assert running_one.valid() == {"laptop"}
                state = running_one.watch.state
                assert state is not None
                assert (state.source, state.failures_total > 0) == ("store", True)
                assert place.shown in state.error
                restarted = Gateway(place)
                await restarted.watch.begin()
                assert restarted.valid() == {"laptop"}
                assert restarted.watch.state is not None
                assert restarted.watch.state.source == "snapshot"
                assert restarted.watch.state.error
            finally:
                if stopped:
                    await asyncio.to_thread(postgres.start)
            # and when it is back, changes are heard again
            await until(lambda: (s := running_one.watch.state) is not None and s.is_connected)
            await desk(place).create(request("desktop"))
            await until(lambda: running_one.valid() == {"laptop", "desktop"})
            assert running_one.watch.state is not None
            assert running_one.watch.state.error == ""

    run(main())


def test_a_file_that_is_taken_away_takes_no_key_away_and_is_followed_again(tmp_path: Path) -> None:
    async def main() -> None:
        place = address("sqlite:keys.db", tmp_path, is_asked=False)
        gateway = Gateway(place)
        async with running(gateway):
            assert gateway.watch.state is None, "where nobody has made a store there is none to show"
            await desk(place).create(request("laptop"))
            await until(lambda: gateway.valid() == {"laptop"})
            (tmp_path / "keys.db").rename(tmp_path / "away.db")
            await until(lambda: (s := gateway.watch.state) is not None and not s.is_connected)
            assert gateway.valid() == {"laptop"}
            (tmp_path / "away.db").rename(tmp_path / "keys.db")
            await desk(place).create(request("desktop"))
            await until(lambda: gateway.valid() == {"laptop", "desktop"})

    run(main())


def test_a_gateway_that_knows_no_keys_does_not_start_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_S", 0.05)

    async def main() -> None:
        with pytest.raises(StartError, match=r"can't be reached.*every valid one would be refused"):
            await Gateway(address("postgresql://penstock@127.0.0.1:1/penstock", tmp_path)).watch.begin()

    run(main())


def test_a_snapshot_leaves_out_what_has_ended_and_remembers_that_there_were_keys(tmp_path: Path) -> None:
    async def main() -> None:
        place = address("sqlite:keys.db", tmp_path)
        made = await desk(place).create(request("laptop"))
        await desk(place).revoke(made.record.id)
        gateway = Gateway(place)
        await gateway.watch.begin()
        saved = Snapshot(tmp_path / "one" / "keys.snapshot", url=place.url, fleet="demo").load()
        assert saved == KnownKeys(records=(), has_keys=True)

    run(main())


def test_a_snapshot_that_can_not_be_written_is_shown_and_harms_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "one").write_text("in the way")
        place = address("sqlite:keys.db", tmp_path)
        await desk(place).create(request("laptop"))
        gateway = Gateway(place)
        await gateway.watch.begin()
        assert gateway.valid() == {"laptop"}
        assert gateway.watch.state is not None
        assert "keys.snapshot can't be written" in gateway.watch.state.snapshot_error

    run(main())
