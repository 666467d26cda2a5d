"""A cluster is read for preflight: everything that may be, and why not else."""

from __future__ import annotations

from operate.io.kubernetes.clusters import ADMIN, machines, run, serving
from operate.preflight.clusters import bundle, deployment
from penstock.operate.io.kubernetes.survey import survey_cluster
from penstock.operate.preflight import Survey
from penstock.operate.testing import Cluster, User
from penstock.plan.manifests import Bundle

ENV = [{"name": "T", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}}]
SELECTOR = {"matchLabels": {"a": "b"}}


def workload() -> dict[str, object]:
    made = deployment(containers=[{"name": "a", "image": "x", "env": ENV}])
    made["spec"]["selector"] = SELECTOR
    made["spec"]["template"]["metadata"] = {"labels": {"a": "b"}}
    return made


def cluster_with_namespace() -> Cluster:
    cluster = Cluster(seed=1)
    machines(cluster)
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ai"}})
    return cluster


async def surveyed(cluster: Cluster, what: Bundle, *, user: User | None = None) -> Survey:
    tokens = {"a-token": user or ADMIN}
    async with serving(cluster, token="a-token", tokens=tokens) as (_, api):
        return await survey_cluster(api, what, "ai", version=await api.version())


def test_everything_that_checks_need_is_read() -> None:
    async def work() -> None:
        cluster = cluster_with_namespace()
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hf", "namespace": "ai"}}
        cluster.create({**secret, "data": {"token": "aGZfYWJj"}})

        found = await surveyed(cluster, bundle(workload()))

        assert found.version is not None
        assert found.version.startswith("1.")
        assert [node["metadata"]["name"] for node in found.nodes or ()] == ["n1", "n2"]
        assert found.namespace is not None
        assert found.secrets == {"hf": frozenset({"token"})}
        assert found.unread == {}
        assert "aGZfYWJj" not in repr(found)

    run(work)


def test_nothing_is_written() -> None:
    async def work() -> None:
        cluster = cluster_with_namespace()

        await surveyed(cluster, bundle(workload()))

        assert cluster.list("apps/v1", "Deployment", "ai") == []

    run(work)


def test_a_secret_that_is_not_there_is_none() -> None:
    async def work() -> None:
        found = await surveyed(cluster_with_namespace(), bundle(workload()))

        assert found.secrets == {"hf": None}

    run(work)


def test_kinds_that_are_not_served_are_named_and_not_tried() -> None:
    async def work() -> None:
        scaled = {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "metadata": {"name": "x", "namespace": "ai"},
        }

        found = await surveyed(cluster_with_namespace(), bundle(scaled))

        assert found.missing_kinds == (("keda.sh/v1alpha1", "ScaledObject"),)
        assert found.dry_runs == ()

    run(work)


def test_what_would_be_refused_is_told() -> None:
    async def work() -> None:
        broken = workload()
        broken["metadata"] = {"name": "Not_A_Name", "namespace": "ai"}

        found = await surveyed(cluster_with_namespace(), bundle(broken))

        assert [refusal.subject for refusal in found.dry_runs] == ["Deployment ai/Not_A_Name"]

    run(work)


def test_without_the_namespace_its_objects_are_not_tried() -> None:
    async def work() -> None:
        found = await surveyed(Cluster(seed=1), bundle(workload()))

        assert found.namespace is None
        assert "dry_runs" in found.unread
        assert found.dry_runs == ()

    run(work)


def test_what_may_not_be_read_is_said_and_hides_nothing_else() -> None:
    async def work() -> None:
        cluster = cluster_with_namespace()
        role = {"apiGroups": ["", "apps"], "resources": ["pods", "deployments", "namespaces"], "verbs": ["*"]}
        kind = "rbac.authorization.k8s.io/v1"
        cluster.create({"apiVersion": kind, "kind": "ClusterRole", "metadata": {"name": "some"}, "rules": [role]})
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "some"}
        subject = {"kind": "User", "name": "eve", "apiGroup": "rbac.authorization.k8s.io"}
        metadata = {"name": "some"}
        body = {"metadata": metadata, "roleRef": reference, "subjects": [subject]}
        cluster.create({"apiVersion": kind, "kind": "ClusterRoleBinding", **body})

        found = await surveyed(cluster, bundle(workload()), user=User(name="eve", groups=("system:authenticated",)))

        assert found.nodes is None
        assert "nodes" in found.unread
        assert found.secrets is None
        assert found.pods == ()
        assert found.namespace is not None

    run(work)
