"""What a Fleet object asks for is what its file renders to."""

from __future__ import annotations

from typing import Any

import yaml

from operate.controller.fleets import TEXT, fleet_object
from penstock.facts import find_model
from penstock.operate.controller import Desired, desired_of
from penstock.plan.manifests.render import render, settle
from penstock.spec.loader import load_fleet


def desired(obj: dict[str, Any]) -> Desired:
    return desired_of(obj, architecture_of=find_model)


def by_name(objects: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in objects}


def test_the_objects_are_those_of_the_file_but_for_their_owner() -> None:
    site = settle(load_fleet(TEXT, "f"), TEXT, architecture_of=find_model, namespace="ai").site
    assert site is not None
    rendered = by_name(render(site).objects)

    found = desired(fleet_object()).bundle

    assert found is not None
    made = by_name(found.objects)
    assert set(rendered) - set(made) == {("Namespace", "ai")}  # whoever made the Fleet made that
    for key, obj in made.items():
        obj["metadata"].pop("ownerReferences", None)
        if key[0] not in ("ConfigMap", "Deployment"):  # they hold the file's text, or its hash
            assert obj == rendered[key]


def test_the_gateway_runs_on_the_same_fleet() -> None:
    bundle = desired(fleet_object()).bundle
    assert bundle is not None

    (config,) = [obj for obj in bundle.objects if obj["kind"] == "ConfigMap"]

    assert load_fleet(config["data"]["fleet.yaml"], "f").spec == load_fleet(TEXT, "f").spec


def test_everything_goes_with_the_fleet_but_what_holds_data() -> None:
    bundle = desired(fleet_object()).bundle
    assert bundle is not None

    owned = {obj["kind"]: "ownerReferences" in obj["metadata"] for obj in bundle.objects}

    assert owned["Deployment"]
    assert owned["Service"]
    assert not owned["PersistentVolumeClaim"]
    assert not owned["PriorityClass"]


def test_what_the_api_server_and_kubectl_add_is_not_the_files() -> None:
    last = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "team": "search"}

    bundle = desired(fleet_object(annotations=last, managedFields=[])).bundle

    assert bundle is not None
    (config,) = [obj for obj in bundle.objects if obj["kind"] == "ConfigMap"]
    assert yaml.safe_load(config["data"]["fleet.yaml"])["metadata"] == {"name": "f", "annotations": {"team": "search"}}


def test_models_are_found_by_the_names_of_their_objects() -> None:
    assert desired(fleet_object()).names == {"f-chat": "chat"}


def test_a_spec_that_the_types_refuse_is_told_with_its_place() -> None:
    broken = fleet_object()
    broken["spec"]["models"][0]["replicas"] = -1

    found = desired(broken)

    assert found.bundle is None
    assert any(line.startswith("spec.models[0].replicas: ") for line in found.problems)


def test_rules_across_fields_are_told_with_their_place() -> None:
    broken = fleet_object()
    broken["spec"]["models"][0]["autoscaling"] = {"minReplicas": 3, "maxReplicas": 2}

    assert any("spec.models[0].autoscaling.maxReplicas" in line for line in desired(broken).problems)


def test_what_cannot_be_rendered_is_told_with_its_place() -> None:
    broken = fleet_object()
    broken["spec"]["models"][0]["source"] = "nobody/knows"

    (problem,) = desired(broken).problems

    assert problem.startswith("spec.models[0].source: nothing is known of the model")


def test_what_is_forecast_comes_with_the_objects() -> None:
    scaled = fleet_object()
    scaled["spec"]["kubernetes"] = {"controller": True}
    scaled["spec"]["models"][0]["autoscaling"] = {"via": "penstock", "maxReplicas": 4, "targetConcurrency": 12}

    assert {name: policy.target for name, policy in desired(scaled).policies.items()} == {"chat": 12.0}
    assert desired(fleet_object()).policies == {}


def test_a_gpu_that_nobody_knows_is_told() -> None:
    broken = fleet_object()
    broken["spec"]["hardware"] = {"gpus": ["H1000"]}
    del broken["spec"]["models"][0]["hardware"]

    assert "H1000" in desired(broken).problems[0]
