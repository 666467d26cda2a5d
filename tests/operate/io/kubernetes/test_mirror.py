"""A mirror shows what is there and wakes whoever waits, through restarts and lost places."""

from __future__ import annotations

import asyncio

import pytest

from operate.io.kubernetes.clusters import config, namespace, run, serving
from penstock.operate.apply.failures import Denied
from penstock.operate.apply.objects import ref_of
from penstock.operate.io.kubernetes.mirror import Mirror, late_classes, mirrored
from penstock.operate.testing import Cluster, User
from penstock.spec.crd import fleet_crd

KINDS = {"ConfigMap": "v1"}
LABELS = {"penstock.dev/fleet": "demo"}


async def until(mirror: Mirror, value: str) -> None:
    while (mirror.get(ref_of(config())) or {}).get("data") != {"value": value}:
        assert await mirror.wait(10.0)


def test_it_is_filled_at_the_start_and_follows() -> None:
    async def work() -> None:
        cluster = Cluster(seed=1)
        cluster.create(namespace())
        cluster.create(config())
        async with serving(cluster) as (server, api), mirrored(api, "llm", KINDS, optional={}, labels=LABELS) as mirror:
            assert [obj["metadata"]["name"] for obj in mirror.all("ConfigMap")] == ["settings"]

            await api.apply(config(value="2"), is_forced=True)
            await until(mirror, "2")
            server.drop_watches()
            server.compact()
            await api.apply(config(value="3"), is_forced=True)
            await until(mirror, "3")
            cluster.delete("v1", "ConfigMap", "settings", "llm")
            while mirror.all("ConfigMap"):
                assert await mirror.wait(10.0)

    run(work)


def test_what_may_not_be_read_and_is_only_for_reasons_is_left_out() -> None:
    async def work() -> None:
        cluster = Cluster(seed=1)
        tokens = {"t": User(name="ann")}
        async with serving(cluster, token="t", tokens=tokens) as (_, api):
            async with mirrored(api, "llm", {}, optional=KINDS, labels=LABELS) as mirror:
                assert mirror.all("ConfigMap") == []
                assert not await mirror.wait(0)

            with pytest.raises(Denied):
                async with mirrored(api, "llm", KINDS, optional={}, labels=LABELS):
                    pass

    run(work)


def test_a_kind_whose_definition_comes_later_is_followed_from_then_on() -> None:
    fleet = {
        "apiVersion": "penstock.dev/v1alpha1",
        "kind": "Fleet",
        "metadata": {"name": "demo", "namespace": "llm", "labels": LABELS},
        "spec": {"models": [{"name": "chat"}]},
    }
    late = {"Fleet": "penstock.dev/v1alpha1"}

    async def work() -> None:
        cluster = Cluster(seed=1)
        cluster.create(namespace())
        async with (
            serving(cluster) as (_, api),
            mirrored(api, "llm", KINDS, optional=late, labels=LABELS, absent_s=0.01) as mirror,
        ):
            assert mirror.all("Fleet") == []

            cluster.create(fleet_crd())
            cluster.create(fleet)
            while not mirror.all("Fleet"):
                assert await mirror.wait(10.0)

    run(work)


def test_leaving_it_ends_its_watches() -> None:
    async def work() -> None:
        async with serving() as (_, api):
            absent = {"Nothing": "example.com/v1"}
            async with mirrored(api, "llm", KINDS, optional=absent, labels=LABELS):
                pass

            assert len(asyncio.all_tasks()) < 10

    run(work)


def test_classes_that_bind_late_are_known_by_their_mode() -> None:
    late = {"metadata": {"name": "a"}, "volumeBindingMode": "WaitForFirstConsumer"}
    early = {"metadata": {"name": "b"}, "volumeBindingMode": "Immediate"}

    assert late_classes([late, early, {"metadata": {"name": "c"}}]) == {"a"}
