"""A fleet in a cluster is read once, or followed."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from operate.io.kubernetes.clusters import config, deployment, machines, moving, namespace, run, serving
from penstock.operate.apply.failures import Denied
from penstock.operate.io.kubernetes.observing import fleet_text, read_status, watch_status
from penstock.operate.testing import Cluster, User


def cluster_with_fleet() -> Cluster:
    cluster = Cluster(seed=1)
    machines(cluster)
    cluster.create(namespace())
    cluster.create(deployment())
    return cluster


def test_a_fleet_is_read_with_its_models_and_why_they_are_not_ready() -> None:
    async def work() -> None:
        cluster = cluster_with_fleet()
        async with serving(cluster) as (_, api):
            found = await read_status(api, "demo", "llm")

            (row,) = found.models
            assert (row.name, row.ready, row.desired, row.state) == ("chat", 0, 2, "waiting")
            assert not found.is_ready
            assert not (await read_status(api, "other", "llm")).is_there

    run(work)


def test_a_fleet_is_followed_until_it_is_ready() -> None:
    async def work() -> None:
        cluster = cluster_with_fleet()
        async with serving(cluster) as (_, api), moving(cluster):
            changes = watch_status(api, "demo", "llm")
            async with aclosing(changes) as seen:  # type: ignore[type-var]
                async for found in seen:
                    if found.is_ready:
                        break

            assert found.models[0].ready == 2
            assert len(found.models[0].endpoints) == 2

    run(work)


def test_without_rights_on_deployments_there_is_no_status() -> None:
    async def work() -> None:
        async with serving(cluster_with_fleet(), token="t", tokens={"t": User(name="ann")}) as (_, api):
            with pytest.raises(Denied, match=r"list deployments\.apps"):
                await read_status(api, "demo", "llm")

    run(work)


def test_the_fleet_file_is_read_where_the_cluster_has_it() -> None:
    async def work() -> None:
        cluster = cluster_with_fleet()
        cluster.create(config("demo-fleet") | {"data": {"fleet.yaml": "kind: Fleet"}})
        async with serving(cluster) as (_, api):
            assert await fleet_text(api, "llm", "demo-fleet") == "kind: Fleet"
            assert await fleet_text(api, "llm", "other-fleet") is None

    run(work)
