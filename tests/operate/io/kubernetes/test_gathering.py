"""A plan reads, asks for dry runs and writes nothing; what it may not read it says."""

from __future__ import annotations

import pytest

from operate.io.kubernetes.clusters import (
    Json,
    config,
    deployment,
    namespace,
    priority,
    run,
    serving,
    small_fleet,
    target,
    writes,
)
from penstock.operate.apply.failures import Denied
from penstock.operate.apply.planning import Action, Options
from penstock.operate.io.kubernetes.gathering import observed_objects, plan_apply
from penstock.operate.testing import Cluster, User


def may(cluster: Cluster, *rules: Json, user: str = "ann") -> None:
    """Gives a user rights in the namespace `llm`."""
    rbac = "rbac.authorization.k8s.io"
    metadata = {"name": "ann", "namespace": "llm"}
    cluster.create({"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": metadata, "rules": list(rules)})
    cluster.create(
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "ann"},
            "subjects": [{"kind": "User", "name": user, "apiGroup": rbac}],
        }
    )


ALL = {"apiGroups": ["", "apps", "batch"], "resources": ["*"], "verbs": ["*"]}


def test_a_plan_writes_nothing() -> None:
    async def work() -> None:
        async with serving() as (server, api):
            plan = await plan_apply(api, small_fleet(), Options())

            assert {step.action for step in plan.writes} == {Action.CREATE}
            assert len(plan.writes) == len(small_fleet().bundle.manifests)
            assert writes(server) == []
            assert "namespace llm is not there: it is made" in plan.notes

    run(work)


def test_kinds_that_are_absent_are_all_told_at_once_even_where_the_namespace_is_too() -> None:
    async def work() -> None:
        scaled: Json = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject"}
        watched: Json = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor"}
        place = {"metadata": {"name": "x", "namespace": "llm"}}
        async with serving() as (_, api):
            plan = await plan_apply(api, target(namespace(), scaled | place, watched | place), Options())

            assert [step.action for step in plan.problems] == [Action.REFUSED, Action.REFUSED]
            assert "KEDA" in plan.problems[0].hint
            assert "Prometheus operator" in plan.problems[1].hint

    run(work)


def test_somebody_with_rights_in_the_namespace_only_can_apply_to_it() -> None:
    async def work() -> None:
        cluster = Cluster(seed=1)
        cluster.create(namespace())
        may(cluster, ALL)
        async with serving(cluster, token="t", tokens={"t": User(name="ann")}) as (_, api):
            plan = await plan_apply(api, target(namespace(), config(), deployment()), Options())

            assert [step.ref.kind for step in plan.writes] == ["ConfigMap", "Deployment"]
            notes = "\n".join(plan.notes)
            assert "namespace llm is taken as it is: we may not read it" in notes
            assert "leftovers of kind PriorityClass are not looked for" in notes

    run(work)


def test_what_belongs_to_the_cluster_needs_rights_on_the_cluster() -> None:
    async def work() -> None:
        cluster = Cluster(seed=1)
        cluster.create(namespace())
        may(cluster, ALL)
        async with serving(cluster, token="t", tokens={"t": User(name="ann")}) as (_, api):
            with pytest.raises(Denied, match="may not get priorityclasses") as caught:
                await plan_apply(api, target(priority()), Options())
            assert "kubectl auth can-i get priorityclasses.scheduling.k8s.io" in (caught.value.hint or "")

    run(work)


def test_what_carries_the_label_is_found_whatever_its_kind() -> None:
    async def work() -> None:
        cluster = Cluster(seed=1)
        cluster.create(namespace())
        cluster.create(config())
        cluster.create(deployment())
        cluster.create(config("other") | {"metadata": {"name": "other", "namespace": "llm"}})
        async with serving(cluster) as (_, api):
            found, notes = await observed_objects(api, "demo", "llm")

            assert sorted(obj["metadata"]["name"] for obj in found) == ["chat", "settings"]
            assert notes == []

    run(work)
