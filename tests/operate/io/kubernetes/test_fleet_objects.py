"""Fleet objects on an API server: accepted, refused by rule, and printed by kubectl with their columns."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from operate.io.kubernetes.clusters import namespace, run, serving
from penstock.operate.apply.failures import Invalid
from penstock.operate.apply.fleet_status import FleetStatus, ModelStatus
from penstock.operate.apply.resource_status import resource_status
from penstock.operate.testing import Cluster
from penstock.spec.crd import fleet_crd, fleet_resource
from penstock.spec.loader import load_fleet

TEXT = "apiVersion: penstock.dev/v1alpha1\nkind: Fleet\nmetadata: {name: demo}\nspec: {models: [{name: chat}]}\n"
MODEL = ModelStatus(
    name="chat",
    component="engine",
    workload="Deployment demo-chat",
    ready=5,
    desired=6,
    revision="a1b2c3d4",
    rollout="4/6 updated",
    state="waiting",
    reason="not yet",
    since="2026-01-01T00:00:00Z",
    restarts=0,
    endpoints=(),
    scaler="",
)


def with_definition() -> Cluster:
    cluster = Cluster(seed=1)
    cluster.create(namespace())
    cluster.create(fleet_crd())
    return cluster


def test_a_rule_across_fields_is_refused_by_the_server_itself() -> None:
    async def work() -> None:
        async with serving(with_definition()) as (_, api):
            wrong = fleet_resource(load_fleet(TEXT, "f"), "llm")
            wrong["spec"]["models"][0]["autoscaling"] = {"minReplicas": 3, "maxReplicas": 2}
            with pytest.raises(Invalid, match="maxReplicas is less than minReplicas"):
                await api.apply(wrong)

            wrong["spec"]["models"][0] = {"name": "chat", "replica": 1}
            with pytest.raises(Invalid, match="replica"):
                await api.apply(wrong)

    run(work)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kubectl_prints_models_ready_revision_and_rollout(tmp_path: Path) -> None:
    async def work() -> None:
        async with serving(with_definition()) as (server, api):
            resource = fleet_resource(load_fleet(TEXT, "f"), "llm")
            made = (await api.apply(resource)).object
            found = FleetStatus(fleet="demo", namespace="llm", models=(MODEL,), parts=())
            said = resource_status(found, generation=made["metadata"]["generation"], now="2026-01-01T00:00:00Z")
            del resource["spec"]
            await api.apply_status({**resource, "status": said})

            config = server.kubeconfig(tmp_path / "config", "llm")
            process = await asyncio.create_subprocess_exec(
                *("kubectl", "--kubeconfig", str(config), "get", "fleet", "demo"),
                stdout=asyncio.subprocess.PIPE,
                env={"HOME": str(tmp_path), "PATH": "/usr/bin:/usr/local/bin:/bin"},
            )
            out, _ = await process.communicate()

            head, line = out.decode().splitlines()
            assert head.split() == ["NAME", "MODELS", "READY", "REVISION", "ROLLOUT", "AGE"]
            assert line.split()[:4] == ["demo", "chat", "5/6", "a1b2c3d4"]
            assert "chat 4/6 updated" in line

    run(work)
