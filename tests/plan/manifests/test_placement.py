"""Where pods run: nodes without labels will do unless the file asks for some, spot nodes only where they may."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.facts import GPUS
from penstock.facts.node_labels import SPOT_LABELS, gpu_of_label
from penstock.plan.manifests.placement import PRODUCTS
from plan.manifests.engines import objects_of, one

REQUIRED, PREFERRED = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)


def pod(fields: str = "", more: str = "", name: str | None = None) -> dict[str, Any]:
    model = f"{{name: m, source: Qwen/Qwen3-0.6B, hardware: {{gpu: H100}}, replicas: 3{fields}}}"
    spec: dict[str, Any] = one(objects_of(model, more=more), "Deployment", name)["spec"]["template"]["spec"]
    return spec


def runs_on(spec: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether the scheduler's hard rules let the pod onto a node with these labels."""
    if not spec.get("nodeSelector", {}).items() <= labels.items():
        return False
    terms = spec.get("affinity", {}).get("nodeAffinity", {}).get(REQUIRED, {}).get("nodeSelectorTerms")
    return terms is None or any(all(_holds(rule, labels) for rule in term["matchExpressions"]) for term in terms)


def _holds(rule: dict[str, Any], labels: dict[str, str]) -> bool:
    is_in = labels.get(rule["key"]) in rule["values"]
    return is_in if rule["operator"] == "In" else not is_in


def stands(spec: dict[str, Any], key: str) -> bool:
    return any(t["key"] == key and t["operator"] == "Exists" for t in spec.get("tolerations", []))


def test_a_node_without_labels_takes_the_pod() -> None:
    assert runs_on(pod(), {})


@pytest.mark.parametrize(("label", "value"), SPOT_LABELS.items())
def test_spot_nodes_of_each_cloud_are_kept_off_taken_or_asked_for(label: str, value: str) -> None:
    node = {label: value}
    assert not runs_on(pod(), node)
    assert runs_on(pod(", scheduling: {spot: allowed}"), node)
    assert runs_on(pod(", scheduling: {spot: allowed}"), {})
    assert runs_on(pod(", scheduling: {spot: only}"), node)
    assert not runs_on(pod(", scheduling: {spot: only}"), {})


def test_spot_taints_are_stood_only_where_spot_is_allowed() -> None:
    taints = ("cloud.google.com/gke-spot", "kubernetes.azure.com/scalesetpriority", "karpenter.sh/capacity-type")
    assert not any(stands(pod(), taint) for taint in taints)
    assert all(stands(pod(", scheduling: {spot: allowed}"), taint) for taint in taints)


def test_the_taint_of_gpu_nodes_is_always_stood() -> None:
    assert stands(pod(), "nvidia.com/gpu")


def test_replicas_of_the_floor_stay_off_spot_nodes_while_the_others_may_use_them() -> None:
    fields = ", scheduling: {spot: allowed, onDemandReplicas: 1}"
    floor, main = pod(fields, name="f-m-on-demand"), pod(fields, name="f-m")
    for label, value in SPOT_LABELS.items():
        assert not runs_on(floor, {label: value})
        assert runs_on(main, {label: value})
    assert not stands(floor, "cloud.google.com/gke-spot")


def test_the_gpus_kind_is_wished_for_and_a_must_only_by_the_files_own_labels() -> None:
    (wish,) = pod()["affinity"]["nodeAffinity"][PREFERRED]
    assert wish["preference"]["matchExpressions"][0]["values"] == ["NVIDIA-H100-80GB-HBM3"]
    stated = pod(more="hardware: {classes: [{gpu: H100, nodeSelector: {gpu: h100}}]}")
    assert stated["nodeSelector"] == {"gpu": "h100"}
    assert PREFERRED not in stated["affinity"]["nodeAffinity"]


@pytest.mark.parametrize("gpu", [g.name for g in GPUS if g.vendor == "nvidia"])
def test_every_gpu_has_the_product_names_that_feature_discovery_writes(gpu: str) -> None:
    for product in PRODUCTS[gpu]:
        found = gpu_of_label("nvidia.com/gpu.product", product)
        assert found is None or found.name == gpu


def test_the_files_own_selectors_and_taints_are_added_to_those_of_the_class() -> None:
    spec = pod(
        ", scheduling: {nodeSelector: {pool: a}, tolerations: [{key: team, operator: Equal, value: x}]}",
        more="hardware: {classes: [{gpu: H100, nodeSelector: {gpu: h100}, tolerations: ["
        "{key: nvidia.com/gpu, effect: NoSchedule}]}]}",
    )
    assert spec["nodeSelector"] == {"gpu": "h100", "pool": "a"}
    assert {"key": "team", "operator": "Equal", "value": "x"} in spec["tolerations"]
    assert len(spec["tolerations"]) == 2, "the class's toleration is ours already"


@pytest.mark.parametrize(
    ("spread", "keys"),
    [
        ("none", []),
        ("host", ["kubernetes.io/hostname"]),
        ("zone", ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]),
    ],
)
def test_replicas_are_spread_as_a_wish_among_their_own_revision(spread: str, keys: list[str]) -> None:
    constraints = pod(f", scheduling: {{spread: {spread}}}").get("topologySpreadConstraints", [])
    assert [c["topologyKey"] for c in constraints] == keys
    assert all(c["whenUnsatisfiable"] == "ScheduleAnyway" for c in constraints)
    assert all(c["matchLabelKeys"] == ["pod-template-hash"] for c in constraints)


def test_batch_work_has_the_lower_class_and_a_runtime_class_is_carried() -> None:
    assert pod()["priorityClassName"] == "penstock-serving"
    assert pod(", scheduling: {priority: batch}")["priorityClassName"] == "penstock-batch"
    assert pod(more="hardware: {classes: [{gpu: H100, runtimeClass: nvidia}]}")["runtimeClassName"] == "nvidia"
