"""A model's engines as objects: whatever the file says, an API server takes them as they are."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from penstock.operate.testing import Cluster
from penstock.plan.manifests import Site, emit_all
from penstock.plan.manifests.engine import floor_name, render_engines
from plan.manifests.engines import manifests_of, objects_of, one, site_from, site_of_text
from plan.manifests.validation import problems_of, unchecked

GOLDEN = Path(__file__).parent / "golden" / "engines"
FLEETS = sorted((Path(__file__).parent / "fleets").glob("*.yaml"))
REVIEWED = [path for path in FLEETS if path.stem in ("dense", "groups", "simulated", "slices")]
"""Those that a person reads as text; the others are checked as objects."""
CHAT = "{name: chat, source: Qwen/Qwen3-8B, hardware: {gpu: H100}}"


def deployment(fields: str = "", more: str = "", name: str | None = None) -> dict[str, Any]:
    model = f"{{name: m, source: Qwen/Qwen3-8B, hardware: {{gpu: H100}}{fields}}}"
    return one(objects_of(model, more=more), "Deployment", name)


@pytest.mark.parametrize("path", FLEETS, ids=lambda path: path.stem)
def test_every_option_gives_objects_that_an_api_server_takes_as_they_are(path: Path) -> None:
    objects = [m.object for m in render_engines(site_of_text(path.read_text(encoding="utf-8")))]
    assert problems_of(objects) == []
    if (reason := unchecked(objects)) is not None:
        pytest.skip(reason)


@pytest.mark.parametrize("path", FLEETS, ids=lambda path: path.stem)
def test_the_same_file_gives_the_same_bytes(path: Path) -> None:
    first, second = (emit_all(render_engines(site_of_text(path.read_text(encoding="utf-8")))) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("path", FLEETS, ids=lambda path: path.stem)
def test_a_second_apply_changes_nothing(path: Path) -> None:
    cluster = Cluster(seed=1)
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "llm"}})
    objects = [m.object for m in render_engines(site_of_text(path.read_text(encoding="utf-8")))]
    known = [body for body in objects if body["kind"] != "LeaderWorkerSet"]
    first = [cluster.apply(body, now=1.0) for body in known]
    assert [cluster.apply(body, now=2.0) for body in known] == first


def test_pods_start_on_nodes_that_have_gpus_and_no_labels() -> None:
    cluster = Cluster(seed=1)
    storage = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "files"}}
    cluster.create({**storage, "provisioner": "example.com/files"})
    capacity = {"cpu": "32", "memory": "256Gi", "pods": "110", "nvidia.com/gpu": "2"}
    status = {"capacity": capacity, "allocatable": capacity, "conditions": [{"type": "Ready", "status": "True"}]}
    for name in ("a", "b"):
        cluster.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": status})
    model = "{name: m, source: Qwen/Qwen3-8B, replicas: 3, hardware: {gpu: H100}}"
    for body in objects_of(model, more="storage: {storageClass: files}"):
        body["metadata"] = {**body["metadata"], **({"namespace": "default"} if "namespace" in body["metadata"] else {})}
        cluster.apply(body, now=1.0)
    for minute in range(1, 6):
        cluster.step(60.0 * minute)
    deployment = cluster.get("apps/v1", "Deployment", "f-m", namespace="default")
    assert deployment is not None
    assert deployment["status"]["readyReplicas"] == 3


def test_a_model_is_a_deployment_a_service_a_claim_and_a_job_that_fills_it() -> None:
    kinds = [body["kind"] for body in objects_of(CHAT)]
    assert sorted(kinds) == ["Deployment", "Job", "PersistentVolumeClaim", "PriorityClass", "PriorityClass", "Service"]


def test_the_service_finds_the_pods_by_labels_that_never_change() -> None:
    objects = objects_of(CHAT)
    service, body = one(objects, "Service"), one(objects, "Deployment")
    labels = body["spec"]["template"]["metadata"]["labels"]
    assert service["metadata"]["name"] == "f-chat"
    assert service["metadata"]["labels"]["penstock.dev/model"] == "f-chat", "EndpointSlices take it over"
    assert service["spec"]["selector"].items() <= labels.items()
    assert body["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert service["spec"]["ports"] == [{"name": "http", "port": 8000, "targetPort": "http", "protocol": "TCP"}]


def test_where_an_autoscaler_sets_the_replicas_the_deployment_does_not() -> None:
    assert deployment(", replicas: 3")["spec"]["replicas"] == 3
    assert "replicas" not in deployment(", autoscaling: {maxReplicas: 4}")["spec"]


def test_a_floor_off_spot_nodes_is_a_deployment_of_its_own_behind_the_same_service() -> None:
    fields = ", replicas: 5, scheduling: {spot: allowed, onDemandReplicas: 2}"
    floor, main = deployment(fields, name="f-m-on-demand"), deployment(fields, name="f-m")
    assert (floor["spec"]["replicas"], main["spec"]["replicas"]) == (2, 3)
    selectors = [body["spec"]["selector"]["matchLabels"] for body in (floor, main)]
    templates = [body["spec"]["template"]["metadata"]["labels"] for body in (floor, main)]
    assert not selectors[0].items() <= templates[1].items(), "else each would count the other's pods"
    assert not selectors[1].items() <= templates[0].items()
    service = one(objects_of(f"{{name: m, source: Qwen/Qwen3-8B, hardware: {{gpu: H100}}{fields}}}"), "Service")
    assert all(service["spec"]["selector"].items() <= labels.items() for labels in templates)


def test_the_floor_is_named_for_the_model() -> None:
    site = site_from(CHAT)
    assert floor_name(site, site.needs["chat"]) == "f-chat-on-demand"


def test_a_rollout_is_called_stuck_only_after_a_start_and_an_end() -> None:
    spec = deployment()["spec"]
    pod = spec["template"]["spec"]
    probe = pod["containers"][0]["startupProbe"]
    start = probe["periodSeconds"] * probe["failureThreshold"]
    assert spec["progressDeadlineSeconds"] > start + pod["terminationGracePeriodSeconds"] + spec["minReadySeconds"]


def test_why_there_is_no_budget_is_said() -> None:
    def heading(fields: str) -> str:
        model = f"{{name: m, source: Qwen/Qwen3-8B, hardware: {{gpu: H100}}{fields}}}"
        (found,) = (m for m in manifests_of(model) if m.kind == "Deployment")
        return found.heading

    assert "No disruption budget" in heading("")
    assert "No disruption budget" not in heading(", replicas: 2")


def test_a_pull_of_the_pods_own_counts_in_a_rollout() -> None:
    own = deployment(", storage: {mode: node}")["spec"]["progressDeadlineSeconds"]
    assert own > deployment()["spec"]["progressDeadlineSeconds"]


def test_a_model_that_runs_elsewhere_has_no_objects() -> None:
    model = "{name: out, endpoints: ['http://10.0.0.1:8000']}"
    assert not [body for body in objects_of(model) if body["kind"] != "PriorityClass"]


def test_each_models_objects_are_in_a_folder_of_its_own() -> None:
    files = {m.file for m in manifests_of(CHAT)}
    assert files == {"priority", "f-chat/engine", "f-chat/storage"}


def test_another_penstock_does_not_restart_engines() -> None:
    old, new = (
        one(objects_of(CHAT, more=f"kubernetes: {{image: 'penstock:{version}'}}"), "Deployment") for version in (1, 2)
    )
    assert old == new


def without_predictions(site: Site) -> Site:
    """The same with round numbers for what the performance model predicts, so that a better one changes no text."""
    needs = {
        name: replace(
            need,
            answer_s=100.0,
            kv_tokens=400_000,
            flags={**need.flags, **({"max-num-seqs": "128"} if "max-num-seqs" in need.flags else {})},
        )
        for name, need in site.needs.items()
    }
    return replace(site, needs=needs)


@pytest.mark.parametrize("path", REVIEWED, ids=lambda path: path.stem)
def test_the_text_is_the_golden_one(path: Path) -> None:
    site = without_predictions(site_of_text(path.read_text(encoding="utf-8")))
    text = emit_all(sorted(render_engines(site), key=lambda m: m.wave))
    golden = GOLDEN / path.name
    if os.environ.get("PENSTOCK_WRITE_GOLDEN"):
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8"), "review it, then `make golden`"


def test_no_golden_file_is_left_over() -> None:
    assert sorted(path.name for path in GOLDEN.glob("*.yaml")) == [path.name for path in REVIEWED]
