"""A wait ends when all is ready, when something has failed, or when the time is up; and says what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from operate.io.kubernetes.clusters import (
    Json,
    autoscaler,
    claim,
    config,
    deployment,
    machines,
    moving,
    namespace,
    run,
    serving,
)
from penstock.operate.apply.objects import ref_of
from penstock.operate.io.kubernetes.client import Client
from penstock.operate.io.kubernetes.waiting import Waited, WaitingRow, wait_until_gone, wait_until_ready
from penstock.operate.testing import Cluster


def cluster_of(*objects: Json) -> Cluster:
    cluster = Cluster(seed=1)
    cluster.create(namespace())
    machines(cluster)
    for obj in objects:
        cluster.create(obj)
    return cluster


async def waited(api: Client, *objects: Json, timeout_s: float = 20.0, is_strict: bool = True) -> Waited:
    refs = [ref_of(obj) for obj in objects]
    return await wait_until_ready(api, refs, fleet="demo", namespace="llm", timeout_s=timeout_s, is_strict=is_strict)


def test_what_is_ready_by_being_there_is_not_waited_for() -> None:
    async def work() -> None:
        async with serving(cluster_of()) as (_, api):
            assert await waited(api, config()) == Waited(is_ready=True, rows=())

    run(work)


def test_replicas_that_come_are_waited_for_and_shown() -> None:
    async def work() -> None:
        cluster = cluster_of(deployment(), claim())
        shown: list[tuple[str, int | None]] = []
        began = asyncio.Event()

        def show(rows: Sequence[WaitingRow]) -> None:
            shown.extend((row.readiness.state, row.readiness.ready) for row in rows if row.ref.kind == "Deployment")
            began.set()

        async with serving(cluster) as (_, api), asyncio.TaskGroup() as group:
            refs = [ref_of(deployment()), ref_of(claim())]
            wait = wait_until_ready(api, refs, fleet="demo", namespace="llm", timeout_s=20.0, show=show)
            task = group.create_task(wait)
            await began.wait()
            async with moving(cluster):
                found = await task

            assert found.is_ready
            assert shown[0] == ("waiting", 0)
            assert shown[-1] == ("ready", 2)

    run(work)


def test_time_that_is_up_tells_what_is_missing() -> None:
    async def work() -> None:
        async with serving(cluster_of()) as (_, api):
            found = await waited(api, deployment(), timeout_s=0.0)

            assert (found.is_ready, found.is_timeout) == (False, True)
            assert [row.readiness.reason for row in found.unready] == ["is not there yet"]

    run(work)


def test_scalers_are_told_of_and_not_waited_for() -> None:
    async def work() -> None:
        async with serving(cluster_of(autoscaler())) as (_, api):
            found = await waited(api, autoscaler(), is_strict=False)

            assert found.is_ready
            assert found.unready[0].readiness.state == "waiting"
            assert not (await waited(api, autoscaler(), timeout_s=0.0)).is_ready

    run(work)


def test_what_is_gone_is_waited_for_and_what_stays_is_returned() -> None:
    async def work() -> None:
        held = config("held")
        held["metadata"]["finalizers"] = ["example.com/keep"]
        cluster = cluster_of(config(), held)
        uids = {ref_of(obj): str(obj["metadata"]["uid"]) for obj in cluster.list("v1", "ConfigMap", "llm")}
        async with serving(cluster) as (_, api):
            for ref, uid in uids.items():
                await api.delete(ref, uid=uid)

            left = await wait_until_gone(api, uids, fleet="demo", namespace="llm", timeout_s=0.3)

            assert left == [ref_of(held)]

    run(work)


def test_one_that_was_made_anew_counts_as_gone() -> None:
    async def work() -> None:
        async with serving(cluster_of(config())) as (_, api):
            uids = {ref_of(config()): "the-one-before"}

            assert await wait_until_gone(api, uids, fleet="demo", namespace="llm", timeout_s=5.0) == []

    run(work)
