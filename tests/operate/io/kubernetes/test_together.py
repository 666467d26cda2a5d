"""Of several failures the first that is ours comes out as itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from penstock.errors import UsageError
from penstock.operate.io.kubernetes.together import Together


def test_a_failure_of_ours_is_raised_as_itself_and_the_rest_is_cancelled() -> None:
    ended: list[str] = []

    async def fail() -> None:
        raise UsageError("no")

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async def work() -> None:
        async with Together() as group:
            group.create_task(wait())
            await asyncio.sleep(0)
            group.create_task(fail())

    with pytest.raises(UsageError, match="no"):
        asyncio.run(work())
    assert ended == ["cancelled"]


def test_another_failure_stays_a_group() -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    async def work() -> None:
        async with Together() as group:
            group.create_task(fail())

    with pytest.raises(ExceptionGroup):
        asyncio.run(work())


def test_without_a_failure_all_results_are_there() -> None:
    async def work() -> list[int]:
        async with Together() as group:
            tasks = [group.create_task(asyncio.sleep(0, n)) for n in range(3)]
        return [task.result() for task in tasks]

    assert asyncio.run(work()) == [0, 1, 2]


def test_a_failure_of_the_block_comes_out_as_it_is() -> None:
    async def work() -> None:
        async with Together() as group:
            group.create_task(asyncio.Event().wait())
            await asyncio.sleep(0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(work())


def test_a_generator_with_a_group_can_be_closed() -> None:
    async def numbers() -> AsyncIterator[int]:
        async with Together() as group:
            group.create_task(asyncio.Event().wait())
            yield 1

    async def work() -> int:
        async with aclosing(numbers()) as found:  # type: ignore[type-var]
            async for number in found:
                return number
        return 0

    assert asyncio.run(work()) == 1
