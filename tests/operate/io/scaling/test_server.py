"""KEDA's own questions over real gRPC: answers, refusals in words, and never a 0 that nobody said."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from grpc import aio

from operate.io.kubernetes.clusters import run
from operate.io.scaling.keda import Keda, keda
from penstock.errors import StartError
from penstock.operate.io.scaling.server import Bell, ScalerServer
from penstock.operate.scaling import Desk, GatewayAddress, Policy, Reading

POLICY = Policy(model="chat", target=8.0, may_sleep=True)


class Served:
    """A server over a desk whose load a test sets."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.now = 0.0
        self.desk = Desk("ai")
        self.desk.put("f", {"chat": policy})
        self.desk.gateways("f").keep([GatewayAddress(id="g", host="10.0.0.1", port=8081, is_serving=True)])
        self.bell = Bell()
        self.counted: list[tuple[str, str]] = []
        self.server = ScalerServer(
            self.desk,
            self.bell,
            clock=lambda: self.now,
            count=lambda *ended: self.counted.append(ended),
        )

    def hear(self, load: float, asked: float = 0.0) -> None:
        self.desk.gateways("f").take("g", Reading(in_flight={"chat": load}, asked={"chat": asked}), self.now)
        self.desk.observe("f", self.now)
        self.bell.ring()


@contextlib.asynccontextmanager
async def served(policy: Policy = POLICY, **trigger: str) -> AsyncIterator[tuple[Served, Keda]]:
    it = Served(policy)
    port = await it.server.start("127.0.0.1", 0)
    try:
        async with keda(port, **trigger) as asking:
            yield it, asking
    finally:
        await it.server.stop()


def test_keda_is_told_the_load_and_the_target() -> None:
    async def work() -> None:
        async with served() as (it, asking):
            it.hear(20)
            assert (await asking.target(), await asking.value(), await asking.is_active()) == (8.0, 20.0, True)
            assert await asking.value("s0-penstock-requests") == 20.0
            it.hear(0)
            assert (await asking.value(), await asking.is_active()) == (0.0, False)

        assert set(it.counted) == {(m, "answered") for m in ("GetMetricSpec", "GetMetrics", "IsActive")}

    run(work)


def test_somebody_who_asked_in_vain_wakes_a_model_that_sleeps() -> None:
    async def work() -> None:
        async with served() as (it, asking):
            it.hear(0, asked=5)
            assert not await asking.is_active()
            it.hear(0, asked=6)
            assert (await asking.value(), await asking.is_active()) == (0.0, True)

    run(work)


def test_a_load_that_nobody_says_is_an_error_and_the_target_is_known_all_the_same() -> None:
    async def work() -> None:
        async with served() as (it, asking):
            it.desk.observe("f", 0.0)
            assert await asking.target() == 8.0
            for question in (asking.value, asking.is_active):
                with pytest.raises(aio.AioRpcError) as refused:
                    await question()
                assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
                assert "is not known" in (refused.value.details() or "")

    run(work)


@pytest.mark.parametrize("trigger", [{"namespace": "other"}, {"fleet": "nope"}, {"model": "nope"}])
def test_a_trigger_of_something_else_is_refused_by_name(trigger: dict[str, str]) -> None:
    async def work() -> None:
        async with served(**trigger) as (it, asking):
            it.hear(20)
            for question in (asking.value, asking.is_active, asking.target):
                with pytest.raises(aio.AioRpcError) as refused:
                    await question()
                assert refused.value.code() is grpc.StatusCode.NOT_FOUND

    run(work)


def test_another_metric_is_refused() -> None:
    async def work() -> None:
        async with served() as (it, asking):
            it.hear(20)
            with pytest.raises(aio.AioRpcError) as refused:
                await asking.value("tokens")
            assert refused.value.code() is grpc.StatusCode.NOT_FOUND

    run(work)


@pytest.mark.parametrize("method", ["IsActive", "GetMetricSpec", "GetMetrics"])
def test_bytes_that_are_no_message_are_refused_and_the_next_question_is_answered(method: str) -> None:
    async def work() -> None:
        async with served() as (it, asking):
            it.hear(20)
            with pytest.raises(aio.AioRpcError) as refused:
                await asking.call(method, b"\x0a\x7f")
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert await asking.value() == 20.0

        assert it.counted[0] == (method, "malformed")

    run(work)


def test_a_message_that_is_too_large_is_not_read() -> None:
    async def work() -> None:
        async with served() as (_, asking):
            with pytest.raises(aio.AioRpcError) as refused:
                await asking.call("IsActive", bytes(100_000))
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    run(work)


def test_a_stream_says_the_activity_when_it_changes_and_not_else() -> None:
    async def work() -> None:
        async with served() as (it, asking):
            it.hear(20)
            stream = asking.activity()
            assert await anext(stream) is True
            it.hear(30)
            it.hear(0)
            assert await anext(stream) is False
            it.hear(1)
            assert await anext(stream) is True
            await stream.aclose()  # type: ignore[attr-defined]

    run(work)


def test_a_port_that_is_taken_is_told_in_words() -> None:
    async def work() -> None:
        first, second = Served(), Served()
        port = await first.server.start("127.0.0.1", 0)
        with pytest.raises(StartError, match=f"127.0.0.1:{port}"):
            await second.server.start("127.0.0.1", port)
        await first.server.stop()
        await second.server.stop()

    run(work)


_FORKING = """
import asyncio, subprocess
import penstock.operate.io.scaling  # as the controller does; what follows imports grpc
from operate.io.scaling.test_server import served

def fork(times):
    for _ in range(times):  # `preexec_fn` asks for a true fork, as `user=` and `process_group=` may
        subprocess.run(["/bin/true"], preexec_fn=lambda: None, check=True)

async def work():
    async with served() as (it, asking):
        it.hear(20)
        await asking.value()
        await asyncio.to_thread(fork, 60)
        print(await asking.value())

asyncio.run(work())
"""


def test_processes_that_are_started_beside_it_are_left_alone() -> None:
    # gRPC's fork handlers made some of these children abort, and said so on stderr: grpc/grpc#43055.
    tests = Path(__file__).parents[3]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tests), "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run(
        [sys.executable, "-c", _FORKING], env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "20.0\n", "")
