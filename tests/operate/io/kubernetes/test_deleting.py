"""A delete takes what we applied and nothing else, runs first, and says what stays and why."""

from __future__ import annotations

import pytest

from operate.io.kubernetes.clusters import (
    autoscaler,
    claim,
    config,
    deployment,
    machines,
    moving,
    namespace,
    priority,
    run,
    serving,
    target,
)
from penstock.operate.apply.failures import Denied
from penstock.operate.apply.planning import Step
from penstock.operate.io.kubernetes.applying import apply_bundle
from penstock.operate.io.kubernetes.client import Client
from penstock.operate.io.kubernetes.deleting import Left, delete_steps, plan_delete
from penstock.operate.testing import Cluster, User


async def fleet_in(api: Client, fleet: str = "demo", *more: dict[str, object]) -> None:
    objects = [namespace(), priority(), config(), claim(), deployment(), autoscaler(), *more]
    await apply_bundle(api, target(*objects).bundle, fleet=fleet, namespace="llm")


async def deleted(api: Client, *, with_volumes: bool = False, timeout_s: float = 20.0) -> tuple[list[str], list[Left]]:
    done: list[str] = []

    def note(step: Step) -> None:
        done.append(step.ref.kind)

    steps, _ = await plan_delete(api, "demo", "llm", with_volumes=with_volumes)
    left = await delete_steps(api, steps, fleet="demo", namespace="llm", timeout_s=timeout_s, done=note)
    return done, left


def test_a_fleet_goes_in_order_and_its_volumes_and_namespace_stay() -> None:
    async def work() -> None:
        cluster = Cluster(seed=1)
        machines(cluster)
        async with serving(cluster) as (_, api), moving(cluster):
            await fleet_in(api)
            cluster.create(config("theirs"))

            done, left = await deleted(api)

            assert left == []
            assert done == ["HorizontalPodAutoscaler", "Deployment", "ConfigMap", "PriorityClass"]
            assert cluster.get("v1", "Namespace", "llm") is not None
            assert cluster.get("v1", "PersistentVolumeClaim", "models", "llm") is not None
            assert cluster.get("v1", "ConfigMap", "theirs", "llm") is not None
            assert cluster.list("v1", "Pod", "llm") == []

            done, left = await deleted(api, with_volumes=True)
            assert (done, left) == (["PersistentVolumeClaim"], [])
            assert await plan_delete(api, "demo", "llm", with_volumes=True) == ((), ())

    run(work)


def test_who_may_not_see_a_fleet_is_not_told_that_there_is_none() -> None:
    async def work() -> None:
        async with serving(tokens={"dev": User(name="dev")}, token="dev") as (_, api):
            with pytest.raises(Denied, match="'dev' may not list deployments"):
                await plan_delete(api, "demo", "llm", with_volumes=False)

    run(work)


def test_a_finalizer_that_nobody_removes_is_named() -> None:
    async def work() -> None:
        stuck = config("stuck")
        stuck["metadata"]["finalizers"] = ["example.com/keep"]
        async with serving() as (_, api):
            await fleet_in(api, "demo", stuck)

            _, left = await deleted(api, timeout_s=0.3)

            assert [entry.ref.name for entry in left if entry.ref.kind == "ConfigMap"] == ["stuck"]
            (reason,) = [entry.reason for entry in left if entry.ref.name == "stuck"]
            assert "example.com/keep" in reason

    run(work)
