"""What a long-running command hears from outside."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.cli import watch
from penstock.cli.watch import Signals, heed_signals, watch_file, watch_files

PATIENCE_S = 30.0


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_LOOK_S", 0.005)
    monkeypatch.setattr(watch, "_SETTLE_S", 0.001)


@pytest.fixture
def _hang_up_as_found() -> Iterator[None]:
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


async def heard(event: asyncio.Event) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await event.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_to_stop_and_the_second_to_hurry(number: signal.Signals) -> None:
    async def main() -> None:
        with heed_signals(hang_up=Signals.ask_to_stop, heeds_nohup=True) as signals:
            os.kill(os.getpid(), number)
            await heard(signals.stop)
            assert not signals.hurry.is_set()
            os.kill(os.getpid(), number)
            await heard(signals.hurry)

    asyncio.run(main())


@pytest.mark.usefixtures("_hang_up_as_found")
@pytest.mark.parametrize(
    ("found", "heeds_nohup"), [(signal.SIG_DFL, True), (signal.SIG_DFL, False), (signal.SIG_IGN, False)]
)
def test_a_hang_up_means_what_the_command_says(found: signal.Handlers, heeds_nohup: bool) -> None:
    async def main() -> None:
        with heed_signals(hang_up=lambda signals: signals.reload.set(), heeds_nohup=heeds_nohup) as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            await heard(signals.reload)
            assert not signals.stop.is_set()

    signal.signal(signal.SIGHUP, found)
    asyncio.run(main())


@pytest.mark.usefixtures("_hang_up_as_found")
def test_a_hang_up_that_nohup_ignores_stays_ignored() -> None:
    async def main() -> None:
        with heed_signals(hang_up=Signals.ask_to_stop, heeds_nohup=True):
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    asyncio.run(main())


def test_signals_mean_afterwards_what_they_meant_before() -> None:
    async def main() -> None:
        with heed_signals(hang_up=Signals.ask_to_stop, heeds_nohup=True):
            pass

    before = signal.getsignal(signal.SIGTERM)
    asyncio.run(main())
    assert signal.getsignal(signal.SIGTERM) == before


def watching(path: Path) -> tuple[asyncio.Task[None], asyncio.Event]:
    changed = asyncio.Event()
    return asyncio.create_task(watch_file(str(path), changed.set)), changed


def test_a_change_is_told_once_settled_also_when_the_file_is_replaced(tmp_path: Path) -> None:
    async def main() -> None:
        file = tmp_path / "fleet.yaml"
        file.write_text("one")
        task, changed = watching(file)
        await asyncio.sleep(0)
        file.write_text("two!")
        await heard(changed)
        changed.clear()
        (tmp_path / "draft").write_text("six!")
        (tmp_path / "draft").replace(file)
        await heard(changed)
        task.cancel()

    asyncio.run(main())


def test_a_file_that_vanishes_is_waited_for(tmp_path: Path) -> None:
    async def main() -> None:
        file = tmp_path / "fleet.yaml"
        file.write_text("one")
        task, changed = watching(file)
        await asyncio.sleep(0)
        file.unlink()
        await asyncio.sleep(0.02)
        assert not changed.is_set()
        file.write_text("back")
        await heard(changed)
        task.cancel()

    asyncio.run(main())


def test_any_of_several_files_is_a_change_also_one_that_comes_later(tmp_path: Path) -> None:
    async def main() -> None:
        first, second = tmp_path / "fleet.yaml", tmp_path / "key"
        first.write_text("1")
        changed = asyncio.Event()
        paths = [str(first), str(second)]
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watch_files(lambda: paths, changed.set))
            await asyncio.sleep(0)  # it has looked once
            second.write_text("a key")
            await heard(changed)
            changed.clear()
            second.write_text("another key")
            await heard(changed)
            watching.cancel()

    asyncio.run(main())
