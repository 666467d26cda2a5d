"""The engine in real time: delivery, abort, hold."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from penstock.simulate.engine.api.errors import ApiError
from penstock.simulate.engine.api.faults import Fault, FaultBoard
from penstock.simulate.engine.core import Engine, EngineRequest, TokenOutput
from penstock.simulate.io.engine.driver import ClientGone, Driver, Mailbox
from simulate.io.engine.running import settings


def request(request_id: str, max_tokens: int = 5) -> EngineRequest:
    return EngineRequest(id=request_id, prompt_ids=[1, 2, 3], max_tokens=max_tokens, ignore_eos=True)


def driving(test: Callable[[Driver, FaultBoard], Awaitable[None]], **given: Any) -> None:
    """Runs a test beside a driver that steps."""

    async def main() -> None:
        faults = FaultBoard()
        driver = Driver(Engine(settings(**given).engine), faults, asyncio.get_running_loop().time)
        async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
            run = tasks.create_task(driver.run())
            await test(driver, faults)
            run.cancel()

    asyncio.run(main())


async def drain(mailbox: Mailbox) -> list[TokenOutput]:
    """All outputs of a request with one choice, to its end."""
    outputs = []
    while not outputs or outputs[-1].finish_reason is None:
        outputs.extend((await mailbox.take()).values())
    return outputs


def test_a_request_is_delivered_to_its_end_and_counted() -> None:
    async def test(driver: Driver, _: FaultBoard) -> None:
        mailbox = Mailbox()
        driver.submit(request("a"), mailbox, 0)

        outputs = await drain(mailbox)

        assert sum(len(output.token_ids) for output in outputs) == 5
        assert outputs[0].first
        assert driver.is_idle
        assert driver.metrics.finished["length"] == 1
        assert driver.metrics.generation_tokens == 5
        assert driver.metrics.prompt_tokens == 3
        assert driver.metrics.first_token.count == 1
        assert driver.metrics.between_tokens.count == 4

    driving(test)


def test_requests_share_steps() -> None:
    async def test(driver: Driver, _: FaultBoard) -> None:
        boxes = [Mailbox() for _ in range(8)]
        for number, mailbox in enumerate(boxes):
            driver.submit(request(str(number), 20), mailbox, 0)
        for mailbox in boxes:
            await drain(mailbox)

        assert driver.metrics.generation_tokens == 160
        assert driver.metrics.iteration_tokens.count < 40

    driving(test)


def test_outputs_that_nobody_took_are_joined_in_order() -> None:
    async def main() -> None:
        mailbox = Mailbox()
        mailbox.put(0, TokenOutput("a", (1,), first=True, cached_tokens=7))
        mailbox.put(1, TokenOutput("b", (9,)))
        mailbox.put(0, TokenOutput("a", (2, 3), "length"))

        assert await mailbox.take() == {
            0: TokenOutput("a", (1, 2, 3), "length", first=True, cached_tokens=7),
            1: TokenOutput("b", (9,)),
        }

    asyncio.run(main())


def test_what_was_delivered_before_a_failure_is_still_taken() -> None:
    async def main() -> None:
        mailbox = Mailbox()
        mailbox.put(0, TokenOutput("a", (1,)))
        mailbox.fail(ClientGone())
        mailbox.fail(ValueError())

        assert list(await mailbox.take()) == [0]
        with pytest.raises(ClientGone):
            await mailbox.take()

    asyncio.run(main())


def test_a_failure_wakes_who_waits() -> None:
    async def main() -> None:
        mailbox = Mailbox()
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(fails(mailbox))
            tasks.create_task(fail(mailbox))
        assert waiting.result()

    async def fail(mailbox: Mailbox) -> None:
        mailbox.fail(ClientGone())

    async def fails(mailbox: Mailbox) -> bool:
        with pytest.raises(ClientGone):
            await mailbox.take()
        return True

    asyncio.run(main())


def test_an_aborted_request_leaves_the_engine_and_the_counts() -> None:
    async def test(driver: Driver, _: FaultBoard) -> None:
        mailbox = Mailbox()
        driver.submit(request("a", 1000), mailbox, 0)
        await mailbox.take()
        driver.abort("a")
        driver.abort("a")

        assert driver.is_idle
        assert not driver.engine.has_work
        assert sum(driver.metrics.finished.values()) == 0

    driving(test)


def test_a_stop_string_ends_a_request_as_a_success() -> None:
    async def test(driver: Driver, _: FaultBoard) -> None:
        mailbox = Mailbox()
        driver.submit(request("a", 1000), mailbox, 0)
        await mailbox.take()
        driver.stop_early("a")

        assert not driver.engine.has_work
        assert driver.metrics.finished["stop"] == 1

    driving(test)


def test_a_hanging_engine_goes_on_when_it_is_healed() -> None:
    async def test(driver: Driver, faults: FaultBoard) -> None:
        faults.arm(Fault(mode="hang"), 0.0)
        mailbox = Mailbox()
        driver.submit(request("a"), mailbox, 0)
        for _ in range(50):
            await asyncio.sleep(0)
        assert driver.metrics.generation_tokens == 0

        faults.arm(Fault(mode="none"), 0.0)
        driver.rouse()
        await drain(mailbox)

    driving(test)


def test_a_sleeping_engine_waits_until_it_wakes() -> None:
    async def test(driver: Driver, _: FaultBoard) -> None:
        driver.sleep_level = 1
        mailbox = Mailbox()
        driver.submit(request("a"), mailbox, 0)
        for _ in range(50):
            await asyncio.sleep(0)
        assert driver.metrics.generation_tokens == 0

        driver.sleep_level = 0
        driver.rouse()
        await drain(mailbox)

    driving(test)


def test_a_stopped_driver_fails_what_runs_and_takes_no_more() -> None:
    async def test(driver: Driver, _: FaultBoard) -> None:
        mailbox = Mailbox()
        driver.submit(request("a", 1000), mailbox, 0)
        driver.stop()

        with pytest.raises(ClientGone):
            await drain(mailbox)
        with pytest.raises(ApiError, match="cannot schedule new futures after shutdown"):
            driver.submit(request("b"), mailbox, 0)

    driving(test)
