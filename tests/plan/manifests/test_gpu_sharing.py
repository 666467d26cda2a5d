"""GPUs of a pod: whole, sliced, in turns, claimed."""

from __future__ import annotations

import pytest
from ruamel.yaml import YAML

from penstock.plan.manifests.gpu_sharing import (
    claim_template_name,
    gpu_resource,
    gpu_share,
    operator_values,
    pod_gpus,
    pods_of_replica,
)
from plan.manifests.engines import manifests_of, objects_of, one, site_from


@pytest.mark.parametrize(
    ("hardware", "classes", "resource"),
    [
        ("{gpu: H100}", "[]", "nvidia.com/gpu"),
        ("{gpu: H100, mig: 1g.10gb}", "[]", "nvidia.com/mig-1g.10gb"),
        ("{gpu: H100, mig: 1g.10gb}", "[{gpu: H100, resource: nvidia.com/gpu}]", "nvidia.com/gpu"),
        ("{gpu: MI300X}", "[]", "amd.com/gpu"),
        ("{gpu: H100}", "[{gpu: H100, draClass: gpu.nvidia.com}]", None),
    ],
)
def test_the_resource_that_is_asked_for(hardware: str, classes: str, resource: str | None) -> None:
    site = site_from(
        f"{{name: m, source: Qwen/Qwen3-0.6B, hardware: {hardware}}}", more=f"hardware: {{classes: {classes}}}"
    )
    assert gpu_resource(site, site.needs["m"]) == resource


@pytest.mark.parametrize(
    ("count", "per_node", "pods", "each"), [(8, 8, 1, 8), (16, 8, 2, 8), (8, 4, 2, 4), (4, 3, 2, 2)]
)
def test_a_replica_takes_the_fewest_nodes_with_equal_shares(count: int, per_node: int, pods: int, each: int) -> None:
    hardware = f"{{gpu: H100, count: {count}, tensorParallel: 2, pipelineParallel: {count // 2}}}"
    model = f"{{name: m, source: Qwen/Qwen3-8B, hardware: {hardware}}}"
    site = site_from(model, more=f"hardware: {{classes: [{{gpu: H100, gpusPerNode: {per_node}}}]}}")
    needs = site.needs["m"]
    assert (pods_of_replica(site, needs), pod_gpus(site, needs)) == (pods, each)


def test_a_simulated_engine_asks_for_no_gpu() -> None:
    site = site_from("{name: m, source: Qwen/Qwen3-8B, hardware: {gpu: H100, count: 2}, engine: {type: simulated}}")
    assert gpu_resource(site, site.needs["m"]) is None
    assert pods_of_replica(site, site.needs["m"]) == 1


CLAIMED = "hardware: {classes: [{gpu: H100, draClass: gpu.nvidia.com}]}"


def test_claimed_gpus_are_counted_in_a_template_that_the_pod_names() -> None:
    objects = objects_of("{name: m, source: Qwen/Qwen3-32B, hardware: {gpu: H100, count: 2}}", more=CLAIMED)
    template, pod = one(objects, "ResourceClaimTemplate"), one(objects, "Deployment")["spec"]["template"]["spec"]
    (request,) = template["spec"]["spec"]["devices"]["requests"]
    assert request["exactly"] == {"deviceClassName": "gpu.nvidia.com", "allocationMode": "ExactCount", "count": 2}
    (claim,) = pod["resourceClaims"]
    assert claim["resourceClaimTemplateName"] == template["metadata"]["name"]
    assert pod["containers"][0]["resources"]["claims"] == [{"name": claim["name"]}]
    assert "nvidia.com/gpu" not in pod["containers"][0]["resources"]["limits"]


def test_a_claim_of_other_content_has_another_name_as_a_template_cannot_change() -> None:
    names = {
        claim_template_name(site, site.needs["m"])
        for site in (
            site_from(f"{{name: m, source: Qwen/Qwen3-32B, hardware: {{gpu: H100, count: {count}}}}}", more=CLAIMED)
            for count in (1, 2, 2)
        )
    }
    assert len(names) == 2


def test_the_operator_is_told_of_the_slices_that_models_take() -> None:
    models = [
        "{name: a, source: Qwen/Qwen3-0.6B, hardware: {gpu: H100, mig: 1g.10gb}}",
        "{name: b, source: Qwen/Qwen3-8B, hardware: {gpu: H100, mig: 3g.40gb}}",
    ]
    values = YAML(typ="safe").load(one(objects_of(*models), "ConfigMap")["data"]["values.yaml"])
    config = YAML(typ="safe").load(values["migManager"]["config"]["data"]["config.yaml"])
    (cut,) = config["mig-configs"]["penstock-h100"]
    # 3g.40gb takes 3 of 7 compute and 4 of 8 memory slices; the rest is cut into 1g.10gb: 4 of them.
    assert cut == {"devices": "all", "mig-enabled": True, "mig-devices": {"3g.40gb": 1, "1g.10gb": 4}}
    assert values["mig"]["strategy"] == "mixed"


def test_the_device_plugin_is_told_of_turns() -> None:
    model = "{name: a, source: Qwen/Qwen3-0.6B, contextLength: 4096, hardware: {gpu: L4}}"
    objects = objects_of(model, more="hardware: {classes: [{gpu: L4, timeSlices: 3}]}")
    values = YAML(typ="safe").load(one(objects, "ConfigMap")["data"]["values.yaml"])
    config = YAML(typ="safe").load(values["devicePlugin"]["config"]["data"]["penstock-l4"])
    sharing = config["sharing"]["timeSlicing"]
    assert sharing["resources"] == [{"name": "nvidia.com/gpu", "replicas": 3}]
    assert sharing["failRequestsGreaterThanOne"] is True


def test_turns_share_the_memory_so_that_all_fit_together() -> None:
    model = "{name: a, source: Qwen/Qwen3-0.6B, contextLength: 4096, hardware: {gpu: L4}}"
    site = site_from(model, more="hardware: {classes: [{gpu: L4, timeSlices: 3}]}")
    share = gpu_share(site, site.needs["a"])
    assert share is not None
    assert 3 * share <= 0.9
    (deployment,) = (
        m.object
        for m in manifests_of(model, more="hardware: {classes: [{gpu: L4, timeSlices: 3}]}")
        if m.kind == "Deployment"
    )
    assert f"--gpu-memory-utilization={share:g}" in deployment["spec"]["template"]["spec"]["containers"][0]["args"]


def test_whole_gpus_need_nothing_of_the_operator() -> None:
    assert list(operator_values(site_from("{name: m, source: Qwen/Qwen3-8B, hardware: {gpu: H100}}"))) == []
