"""The ledger of a gateway: every request that ended is in the store once, whatever is killed, full or away."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from penstock.serve.io.ledger import ledger as module
from penstock.serve.io.ledger import read_usage
from penstock.serve.io.ledger.journal import Journal
from penstock.serve.io.stores import StoreAddress
from penstock.serve.usage import UsageQuery
from serve.io.ledger.rig import ledger, outcomes, request, store_of, until
from serve.io.stores.databases import PASSWORD, PostgresServer, address

ROOT = Path(__file__).resolve().parents[4]
TODAY = UsageQuery(since="2026-11-21", until="2026-11-21")


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits of the ledger, a hundredth."""
    for name in ("SHIP_S", "RETRY_S"):
        monkeypatch.setattr(module, name, getattr(module, name) / 100)


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


def test_what_ended_is_in_the_store_and_the_journal_is_gone(tmp_path: Path, store_address: StoreAddress) -> None:
    async def main() -> None:
        one = ledger(tmp_path, store_address)
        await one.start()
        records = [request(f"r{n}") for n in range(450)]
        for record in records:
            one.begin(record, 100, key_id="key_1")
        for record in records:
            one.end(record, 3)
        one.end(records[0], 3)
        one.end(request("never admitted"), 3)
        await one.stop()
        assert await outcomes(store_of(tmp_path, store_address)) == {(f"r{n}", "ok"): 1 for n in range(450)}
        assert list((tmp_path / "ledger").iterdir()) == []
        assert (one.state.waiting, one.state.shipped_total, one.state.error) == (0, 450, "")

    run(main())


def test_requests_are_shipped_while_the_gateway_runs(tmp_path: Path) -> None:
    async def main() -> None:
        one = ledger(tmp_path)
        await one.start()
        for n in range(5):
            record = request(f"r{n}")
            one.begin(record, 100)
            one.end(record, 3)
            await until(lambda: one.state.waiting == 0)
        assert (one.state.shipped_total, one.state.is_connected) == (5, True)
        await one.stop()

    run(main())


def test_what_ends_while_a_batch_is_shipped_waits_for_the_next_run(tmp_path: Path) -> None:
    """Each batch is a transaction: under steady traffic there would be one for every few requests."""
    journal = Journal(tmp_path, "demo")
    journal.open()
    book = module.Ledger(tmp_path, "demo", lambda: pytest.fail("no store is needed"), where="nowhere", journal=journal)
    shipped: list[int] = []

    class Writer:
        async def enter(self, _: str, ends: list[Any], *, now: float) -> None:
            shipped.append(len(ends))
            finish(3 if len(shipped) < 5 else 0)

    def finish(count: int) -> None:
        for _ in range(count):
            record = request("r")
            book.begin(record, 5)
            book.end(record, 5)

    finish(module.BATCH + 7)
    run(book._ship_all(Writer()))  # type: ignore[arg-type]

    assert shipped == [module.BATCH, 10]
    assert book.state.waiting == 3
    journal.close()


def test_a_gateway_without_requests_makes_no_store(tmp_path: Path) -> None:
    async def main() -> None:
        one = ledger(tmp_path)
        await one.start()
        await one.stop()
        assert os.listdir(tmp_path) == ["ledger"]

    run(main())


def test_a_store_that_is_away_is_told_and_gets_everything_when_it_is_back(
    postgres: PostgresServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        place = address(postgres.database(), tmp_path)
        one = ledger(tmp_path, place)
        await one.start()

        def serve(start: int) -> None:
            for n in range(start, start + 100):
                record = request(f"r{n}")
                one.begin(record, 100)
                one.end(record, 3)

        serve(0)
        await until(lambda: one.state.waiting == 0)
        postgres.stop()
        serve(100)
        await until(lambda: one.state.error)
        assert (one.state.waiting, one.state.is_connected, one.state.journal_error) == (100, False, "")
        assert one.state.failures_total > 0
        postgres.start()
        await until(lambda: one.state.waiting == 0)
        await until(lambda: not one.state.error)
        assert "takes entries again" in caplog.records[-1].getMessage()
        await one.stop()
        assert await outcomes(store_of(tmp_path, place)) == {(f"r{n}", "ok"): 1 for n in range(200)}

    run(main())


def test_what_the_store_did_not_take_before_the_end_is_entered_by_the_next_gateway(tmp_path: Path) -> None:
    async def main() -> None:
        away = address("sqlite:no-folder/usage.db", tmp_path / "file")
        (tmp_path / "file").write_text("in the way")
        one = ledger(tmp_path, away)
        await one.start()
        over, running = request("over"), request("running")
        one.begin(over, 100)
        one.begin(running, 70)
        one.end(over, 3)
        await one.stop()
        two = ledger(tmp_path)
        await two.start()
        await until(lambda: two.state.recovered_total == 2)
        await two.stop()
        assert await outcomes(store_of(tmp_path)) == {("over", "ok"): 1, ("running", "lost"): 1}

    run(main())


def test_two_gateways_share_a_store_and_a_folder(tmp_path: Path, store_address: StoreAddress) -> None:
    async def main() -> None:
        both = [ledger(tmp_path, store_address) for _ in range(2)]
        for one in both:
            await one.start()
        for n in range(300):
            record = request(f"r{n}")
            both[n % 2].begin(record, 100)
            both[n % 2].end(record, 3)
            if n % 50 == 0:
                await asyncio.sleep(0)
        store = store_of(tmp_path, store_address)
        await until(lambda: all(one.state.waiting == 0 for one in both))
        rows, waiting = await read_usage(store, tmp_path / "ledger", ("tenant",), TODAY)
        assert [(key, sums.requests) for key, sums in rows] == [(("acme",), 300)]
        assert waiting == []
        for one in both:
            await one.stop()
        assert [one.state.recovered_total for one in both] == [0, 0]
        assert set((await outcomes(store)).values()) == {1}

    run(main())


def test_the_month_is_the_stores_and_the_journals_and_outlives_the_stores_absence(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    async def main() -> None:
        one = ledger(tmp_path, address(postgres.database(), tmp_path))
        await one.start()
        shipped, waiting = request("shipped"), request("waiting", "beta")
        one.begin(shipped, 100, key_id="key_1")
        one.end(shipped, 3)
        await until(lambda: one.state.waiting == 0)
        assert await one.month_to_date() == {"t:acme": (15, 3), "k:key_1": (15, 3)}
        postgres.stop()
        one.begin(waiting, 100)
        one.end(waiting, 4)
        month = await one.month_to_date()
        postgres.start()
        assert {scope: month[scope] for scope in ("t:beta", "k:beta/ci")} == {"t:beta": (15, 4), "k:beta/ci": (15, 4)}
        assert month["k:key_1"][0] >= 15  # what is in the file and in the journal counts twice: never too little
        await until(lambda: one.state.waiting == 0)
        month = await one.month_to_date()
        assert month == {"t:acme": (15, 3), "k:key_1": (15, 3), "t:beta": (15, 4), "k:beta/ci": (15, 4)}
        await one.stop()

    run(main())


def test_a_month_begins_with_what_a_killed_gateway_had_reserved(tmp_path: Path) -> None:
    dead = Journal(tmp_path / "ledger", "demo")
    dead.open()
    over, running = request("over"), request("running")
    dead.begin(over, "", 100, 0)
    dead.begin(running, "", 70, 9)
    dead.end(over, 3)
    os.close(dead._lock)  # as the kernel does when its process dies

    async def main() -> None:
        one = ledger(tmp_path)
        await one.start()
        assert await one.month_to_date() == {"t:acme": (15 + 70, 3 + 9), "k:acme/ci": (15 + 70, 3 + 9)}
        await one.stop()
        assert one.state.recovered_total == 2

    run(main())


GATEWAY = """
import asyncio, random, sys
from pathlib import Path
sys.path.insert(0, sys.argv[5])
from penstock.serve.io.ledger import ledger as module
from penstock.serve.io.ledger.journal import Journal
from penstock.serve.io.ledger import Ledger
from penstock.serve.io.stores import StoreAddress
from penstock.serve.io.stores.usage import UsageStore
from serve.io.ledger.rig import request

module.SHIP_S = module.RETRY_S = 0.01

async def main(url, folder, password, name):
    place = StoreAddress(url=url, folder=Path(folder), is_asked=True, password=lambda: password)
    journal = Journal(Path(folder, "ledger"), "demo", segment_bytes=4096, segments_max=100_000)
    one = Ledger(Path(folder), "demo", lambda: UsageStore(place, "demo"), where="x", journal=journal)
    await one.start()
    running, number, draw = [], 0, random.Random(name)
    while True:
        for _ in range(draw.randrange(20)):
            running.append(request(f"{name}-{number}"))
            number += 1
            print("begun", running[-1].request_id, flush=True)
            one.begin(running[-1], 100)
        for _ in range(draw.randrange(20)):
            if running:
                record = running.pop(draw.randrange(len(running)))
                one.end(record, 1)
                print("ended", record.request_id, flush=True)
        await asyncio.sleep(0.01 if one.state.waiting > 300 else 0)

asyncio.run(main(*sys.argv[1:5]))
"""


def test_killed_gateways_lose_no_request_and_count_none_twice(tmp_path: Path, store_address: StoreAddress) -> None:
    """Each round a gateway is killed at a random moment of its work: appending, rotating, shipping, or recovering what
    the one before it left."""
    told: dict[str, set[str]] = {"begun": set(), "ended": set()}
    draw = random.Random(7)
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"}
    for turn in range(6):
        words = [store_address.url, str(tmp_path), PASSWORD, f"g{turn}", str(ROOT / "tests")]
        with subprocess.Popen([sys.executable, "-c", GATEWAY, *words], stdout=subprocess.PIPE, env=env) as gateway:
            assert gateway.stdout is not None
            lines = [gateway.stdout.readline() for _ in range(draw.choice([1, 40, 400, 3000]))]
            gateway.send_signal(signal.SIGKILL)
            lines += [line for line in gateway.stdout if line.endswith(b"\n")]
        for line in lines:
            what, name = line.decode().split()
            told[what].add(name)

    async def main() -> None:
        last = ledger(tmp_path, store_address)
        await last.start()
        own = tmp_path / "ledger" / f"{last._journal.id}.lock"
        await until(lambda: list((tmp_path / "ledger").glob("*.lock")) == [own])
        await last.stop()
        found = await outcomes(store_of(tmp_path, store_address))
        assert set(found.values()) == {1}
        ok = {name for name, outcome in found if outcome == "ok"}
        lost = {name for name, outcome in found if outcome == "lost"}
        assert told["ended"] <= ok
        assert not ok & lost
        assert ok | lost <= told["begun"]
        assert len(told["begun"] - ok - lost) <= 6  # those said to begin, whose `begin` was not reached
        rows, waiting = await read_usage(store_of(tmp_path, store_address), tmp_path / "ledger", ("outcome",), TODAY)
        assert {key: sums.requests for key, sums in rows} == {("ok",): len(ok), ("lost",): len(lost)}
        assert waiting == []
        assert list((tmp_path / "ledger").iterdir()) == []

    run(main())


def test_the_ledger_goes_on_over_a_disk_that_is_full(tmp_path: Path) -> None:
    """A file system of 400 kB for the journal, mounted where we may; the store is elsewhere."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can't be mounted here")

    async def main() -> None:
        store = address("sqlite:../usage.db", place)
        one = ledger(place, store)  # a segment has ten times the room that there is
        await one.start()
        assert "No space left on device" in one.state.journal_error
        for n in range(1000):
            record = request(f"r{n}")
            one.begin(record, 100)
            one.end(record, 3)
        await one.stop()
        assert one.state.dropped_total == 0
        assert len(await outcomes(store_of(place, store))) == 1000

    try:
        run(main())
    finally:
        subprocess.run(["umount", str(place)], check=True)
