"""Clusters and fleets for the tests of this folder: the plainest that pass, with parts put in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from penstock.facts import find_model
from penstock.operate.preflight import Check, Survey, check_cluster
from penstock.plan.manifests import Bundle, Manifest, Site, Wave
from penstock.plan.manifests.render import settle
from penstock.spec.loader import load_fleet

HEAD = "apiVersion: penstock.dev/v1alpha1\nkind: Fleet\nmetadata: {name: f, namespace: ai}\nspec:\n"
AUTH = "  gateway: {auth: {anonymous: true}}\n"
GPU = "nvidia.com/gpu"


def site(model: str = "hardware: {gpu: H100}", top: str = "") -> Site:
    """A fleet of one model, settled."""
    text = f"{HEAD}{top}{AUTH}  models:\n    - {{name: chat, source: Qwen/Qwen3-8B, {model}}}\n"
    settled = settle(load_fleet(text, "f"), text, architecture_of=find_model)
    assert settled.site is not None, settled.findings
    return settled.site


def deployment(
    *, name: str = "f-chat", replicas: int = 1, gpus: int = 1, resource: str = GPU, **pod: Any
) -> dict[str, Any]:
    """A workload that asks for GPUs. `pod` is put into its pods' spec."""
    requests = {"cpu": "4", "memory": "32Gi", resource: str(gpus)}
    spec = {"containers": [{"name": "engine", "resources": {"requests": requests}}], **pod}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "ai"},
        "spec": {"replicas": replicas, "template": {"spec": spec}},
    }


def bundle(*objects: dict[str, Any]) -> Bundle:
    """Objects as a fleet renders them."""
    return Bundle(manifests=tuple(Manifest(body=body, wave=Wave.SERVE, file="x") for body in objects))


def node(name: str = "n1", *, gpus: int = 8, resource: str = GPU, **fields: Any) -> dict[str, Any]:
    """A node with GPUs, ready. `labels`, `taints` and `conditions` may be given."""
    allocatable = {"cpu": "96", "memory": "1000Gi", resource: str(gpus)}
    conditions = [{"type": "Ready", "status": "True"}, *fields.pop("conditions", [])]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": fields.pop("labels", {})},
        "spec": {"taints": fields.pop("taints", []), **fields},
        "status": {"allocatable": allocatable, "conditions": conditions},
    }


def pod(on: str, *, gpus: int, phase: str = "Running", labels: dict[str, str] | None = None) -> dict[str, Any]:
    """A pod that holds GPUs of a node."""
    container = {"resources": {"requests": {GPU: str(gpus)}}}
    return {
        "metadata": {"name": "p", "labels": labels or {}},
        "spec": {"nodeName": on, "containers": [container]},
        "status": {"phase": phase},
    }


def storage_class(name: str, provisioner: str, *, is_default: bool = False) -> dict[str, Any]:
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"} if is_default else {}
    return {"metadata": {"name": name, "annotations": annotations}, "provisioner": provisioner}


GOOD = Survey(
    version="1.36.0",
    nodes=(node(),),
    pods=(),
    daemon_sets=(),
    storage_classes=(storage_class("efs", "efs.csi.aws.com", is_default=True),),
    priority_classes=(),
    runtime_classes=(),
    device_classes=(),
    claims=(),
    quotas=(),
    namespace={"metadata": {"name": "ai", "labels": {}}, "status": {"phase": "Active"}},
    secrets={},
)


def asked(id_: str, *objects: dict[str, Any], fleet: Site | None = None, **seen: Any) -> list[Check]:
    """The answers to one question, of a good cluster with some things seen otherwise."""
    checks = check_cluster(fleet or site(), bundle(*objects), replace(GOOD, **seen))
    return [check for check in checks if check.id == id_]
