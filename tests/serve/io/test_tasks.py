"""Background work: held until it ends, its failure told, and none left when all is closed."""

from __future__ import annotations

import asyncio

import pytest

from penstock.serve.io.tasks import Tasks


def test_work_runs_and_is_let_go(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        tasks, done = Tasks(), asyncio.Event()

        async def work() -> None:
            done.set()

        await tasks.spawn(work())
        assert done.is_set()
        await tasks.close()

    asyncio.run(main())
    assert caplog.records == []


def test_a_failure_is_told_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        tasks = Tasks()

        async def work() -> None:
            raise ValueError("broken on purpose")

        await asyncio.gather(tasks.spawn(work()), return_exceptions=True)
        await tasks.close()

    asyncio.run(main())
    assert "broken on purpose" in caplog.text


def test_closing_cancels_what_runs_and_waits_for_it() -> None:
    async def main() -> None:
        tasks, ended = Tasks(), []

        async def work(number: int) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                ended.append(number)

        for number in range(3):
            tasks.spawn(work(number))
        await asyncio.sleep(0)
        await tasks.close()
        assert sorted(ended) == [0, 1, 2]
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await tasks.close()

    asyncio.run(main())
