"""A worker keeps one Fleet: it follows its changes, writes nothing needless, and goes on after trouble."""

from __future__ import annotations

from typing import Any

from operate.controller.fleets import TEXT
from operate.io.controller.running import cluster_with_fleet, condition, controlled, fleet_in, until
from operate.io.kubernetes.clusters import T0, run
from penstock.facts import find_model
from penstock.operate.apply.bundle import applied_bundle
from penstock.operate.testing import Cluster
from penstock.plan.manifests.render import render, settle
from penstock.spec.loader import load_fleet


def deployment(cluster: Cluster, name: str = "f-chat") -> dict[str, Any] | None:
    return cluster.get("apps/v1", "Deployment", name, "ai")


def is_ready(cluster: Cluster) -> bool:
    return condition(cluster, "Ready").get("status") == "True" and condition(cluster, "Applied").get("status") == "True"


def change_fleet(cluster: Cluster, **fields: Any) -> None:
    fleet = fleet_in(cluster)
    fleet["spec"]["models"][0] |= fields
    cluster.update(fleet, now=T0)


def test_a_fleet_that_is_as_it_should_be_is_not_written() -> None:
    async def work() -> None:
        cluster = cluster_with_fleet()
        async with controlled(cluster):
            await until(cluster, lambda: is_ready(cluster))
        async with controlled(cluster) as (server, _):
            first = len(server.requests)
            await until(cluster, lambda: sum(r.method == "PATCH" for r in server.requests[first:]) > 20)

        writes = [r for r in server.requests[first:] if r.method != "GET" and "dryRun" not in str(r)]
        assert [r for r in writes if "/status" not in r.path] == []

    run(work)


def test_the_fleet_and_what_its_controller_needs_are_no_leftovers() -> None:
    """They carry the fleet's label and our field manager, as `penstock apply` made them."""

    async def work() -> None:
        cluster = cluster_with_fleet()
        text = TEXT.replace("{name: f}", "{name: f, namespace: ai}") + "  kubernetes: {controller: true}\n"
        site = settle(load_fleet(text, "f"), text, architecture_of=find_model).site
        assert site is not None
        cluster.delete("penstock.dev/v1alpha1", "Fleet", "f", "ai")
        for obj in applied_bundle(site, render(site)).objects:
            cluster.apply(obj, manager="penstock")
        async with controlled(cluster) as (server, _):
            await until(cluster, lambda: is_ready(cluster))

        assert [r.path for r in server.requests if r.method == "DELETE"] == []
        assert deployment(cluster, "f-controller") is not None

    run(work)


def test_a_changed_fleet_is_followed() -> None:
    async def work() -> None:
        cluster = cluster_with_fleet()
        async with controlled(cluster):
            await until(cluster, lambda: is_ready(cluster))
            change_fleet(cluster, replicas=2)
            await until(cluster, lambda: fleet_in(cluster)["status"]["summary"]["ready"] == "2/2")

        assert fleet_in(cluster)["status"]["observedGeneration"] == 2

    run(work)


def test_a_change_while_an_apply_waits_is_taken_at_once() -> None:
    async def work() -> None:
        cluster = cluster_with_fleet()
        change_fleet(cluster, hardware={"gpu": "H100", "count": 8}, replicas=9)  # two nodes of eight GPUs: it waits
        async with controlled(cluster):
            await until(cluster, lambda: condition(cluster, "Applied").get("reason") == "Applying")
            await until(cluster, lambda: deployment(cluster) is not None)
            change_fleet(cluster, hardware={"gpu": "H100"}, replicas=1)
            await until(cluster, lambda: is_ready(cluster))

    run(work)


def test_a_spec_that_cannot_be_rendered_changes_nothing_and_says_why() -> None:
    async def work() -> None:
        cluster = cluster_with_fleet()
        async with controlled(cluster):
            await until(cluster, lambda: is_ready(cluster))
            before = deployment(cluster)
            change_fleet(cluster, source="nobody/knows")
            await until(cluster, lambda: condition(cluster, "Accepted").get("status") == "False")

        assert "nothing is known of the model" in condition(cluster, "Accepted")["message"]
        after = deployment(cluster)
        assert before is not None
        assert after is not None
        assert after["spec"] == before["spec"]

    run(work)


def test_a_cluster_that_refuses_for_a_while_is_tried_again() -> None:
    async def work() -> None:
        cluster = cluster_with_fleet()
        cluster.faults.fail(30, code=500, method="PATCH")
        async with controlled(cluster):
            await until(cluster, lambda: is_ready(cluster))

    run(work)
