"""The scaler beside a cluster and two gateways: loads change, a gateway dies, all die; KEDA hears what is known."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import pytest
from grpc import aio
from prometheus_client import CollectorRegistry, generate_latest

from operate.io.kubernetes.clusters import run, serving
from operate.io.scaling.fake_gateways import FLEET, FakeGateway, gateways
from operate.io.scaling.keda import Keda, keda
from penstock.operate.io.scaling import Beat, Scaler
from penstock.operate.scaling import Policy
from penstock.operate.testing import Cluster

CHAT = {"chat": Policy(model="chat", target=8.0, may_sleep=True)}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Scene:
    """A scaler at work."""

    def __init__(self, cluster: Cluster, made: Mapping[str, FakeGateway], scaler: Scaler, clock: Clock) -> None:
        self.cluster, self.gateways, self.scaler, self.clock = cluster, made, scaler, clock
        self.registry = CollectorRegistry()

    async def until(self, is_so: Callable[[], Awaitable[bool]]) -> None:
        """Asks again after each reading; the test's own time limit bounds it."""
        while not await is_so():
            await self.scaler.next_look()

    async def until_told(self, asking: Keda, value: float) -> None:
        async def is_told() -> bool:
            with contextlib.suppress(aio.AioRpcError):
                return await asking.value() == value
            return False

        await self.until(is_told)

    async def until_silent(self, asking: Keda) -> str:
        """Until KEDA gets an error; its words."""
        words = ""

        async def is_silent() -> bool:
            nonlocal words
            try:
                await asking.value()
            except aio.AioRpcError as error:
                words = f"{error.code().name}: {error.details()}"
            return bool(words)

        await self.until(is_silent)
        return words


@contextlib.asynccontextmanager
async def scaling(
    loads: Mapping[str, Mapping[str, float]], policies: Mapping[str, Policy] = CHAT
) -> AsyncIterator[tuple[Scene, Keda]]:
    cluster, clock = Cluster(seed=1), Clock()
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ai"}})
    async with gateways(loads) as made, serving(cluster) as (_, api):
        for gateway in made.values():
            cluster.create(gateway.slice())
        registry = CollectorRegistry()
        scaler = Scaler("ai", registry=registry, clock=clock, beat=Beat(read=0.01, retry=0.01))
        scene = Scene(cluster, made, scaler, clock)
        scene.registry = registry
        await scaler.start("127.0.0.1", 0)
        scaler.take(FLEET, policies)
        async with asyncio.TaskGroup() as tasks, keda(scaler.port) as asking:
            following = tasks.create_task(scaler.follow(api, FLEET))
            try:
                yield scene, asking
            finally:
                following.cancel()
                await scaler.stop()


def test_keda_hears_all_gateways_and_what_changes() -> None:
    async def work() -> None:
        async with scaling({"a": {"chat": 3}, "b": {"chat": 4}}) as (scene, asking):
            await scene.until_told(asking, 7)
            assert await asking.is_active()
            scene.gateways["b"].loads["chat"] = 40
            await scene.until_told(asking, 43)
            scene.gateways["a"].loads["chat"] = scene.gateways["b"].loads["chat"] = 0
            await scene.until_told(asking, 0)
            assert not await asking.is_active()

    run(work)


def test_a_gateway_that_dies_keeps_its_last_word_for_a_while_and_is_never_0() -> None:
    async def work() -> None:
        async with scaling({"a": {"chat": 3}, "b": {"chat": 40}}) as (scene, asking):
            await scene.until_told(asking, 43)
            await scene.gateways["b"].die()
            scene.gateways["a"].loads["chat"] = 5
            await scene.until_told(asking, 45)  # a is heard anew, b is not
            scene.clock.now += 31
            await scene.until_told(asking, 10)  # the cluster still sends it requests: as many as a has

    run(work)


def test_with_no_gateway_heard_keda_gets_an_error_until_one_is_back() -> None:
    async def work() -> None:
        async with scaling({"a": {"chat": 3}}) as (scene, asking):
            await scene.until_told(asking, 3)
            await scene.gateways["a"].die()
            scene.clock.now += 31
            words = await scene.until_silent(asking)
            assert words.startswith("UNAVAILABLE")
            assert "is not known" in words
            assert await asking.target() == 8.0
            await scene.gateways["a"].start()
            await scene.until_told(asking, 3)

    run(work)


def test_gateways_that_come_and_go_are_followed() -> None:
    async def work() -> None:
        async with scaling({"a": {"chat": 3}}) as (scene, asking), gateways({"b": {"chat": 4}}) as more:
            await scene.until_told(asking, 3)
            scene.cluster.create(more["b"].slice())
            await scene.until_told(asking, 7)
            scene.cluster.delete("discovery.k8s.io/v1", "EndpointSlice", "f-gateway-a", "ai", now=1.0)
            await scene.until_told(asking, 4)

    run(work)


def test_somebody_who_asks_a_model_that_sleeps_wakes_it() -> None:
    async def work() -> None:
        async with scaling({"a": {"chat": 0}}) as (scene, asking):
            await scene.until_told(asking, 0)
            assert not await asking.is_active()
            scene.gateways["a"].finished[("chat", "shed")] = 1
            await scene.until(asking.is_active)
            assert await asking.value() == 0

    run(work)


def test_what_is_decided_is_shown_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        async with scaling({"a": {"chat": 20}, "b": {"chat": 0}}) as (scene, asking):
            await scene.until_told(asking, 20)
            (row,) = scene.scaler.rows()
            assert (row["recommended_replicas"], row["reason"]) == (3, "20 requests in flight at 2 of 2 gateways")
            shown = generate_latest(scene.registry).decode().splitlines()
            assert 'penstock_scaler_gateways{fleet="f",state="heard"} 2.0' in shown

    with caplog.at_level("INFO", "penstock.scaler"):
        run(work)

    decisions = [record.message for record in caplog.records if "replicas=3" in record.message]
    assert len(decisions) == 1


def test_an_api_server_that_fails_is_tried_again() -> None:
    async def work() -> None:
        cluster = Cluster(seed=1)
        cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ai"}})
        async with gateways({"a": {"chat": 3}}) as made, serving(cluster) as (_, api):
            cluster.create(made["a"].slice())
            cluster.faults.fail(30, code=500, method="GET")
            scaler = Scaler("ai", registry=CollectorRegistry(), beat=Beat(read=0.01, retry=0.0))
            scaler.take(FLEET, CHAT)
            async with asyncio.TaskGroup() as tasks:
                following = tasks.create_task(scaler.follow(api, FLEET))
                while not any(row["is_known"] for row in scaler.rows()):
                    await scaler.next_look()
                following.cancel()

    run(work)


def test_a_fleet_without_a_forecast_reads_no_gateway() -> None:
    async def work() -> None:
        async with scaling({"a": {"chat": 3}}, policies={}) as (scene, asking):
            with pytest.raises(aio.AioRpcError):
                await asking.value()
            assert scene.gateways["a"].reads == 0
            scene.scaler.take(FLEET, CHAT)
            await scene.until_told(asking, 3)

    run(work)
