"""Whether the cluster has the GPUs: counted, driven well enough, free."""

from __future__ import annotations

from typing import Any

import pytest

from operate.preflight.clusters import asked, deployment, node, pod, site
from penstock.operate.preflight import Check, Status


def capacity(*nodes: dict[str, Any], pods: tuple[dict[str, Any], ...] = (), **workload: Any) -> Check:
    (found,) = asked("gpu-capacity", deployment(**workload), nodes=nodes, pods=pods)
    return found


def test_pods_that_find_a_node_are_well() -> None:
    assert capacity(node(gpus=8), gpus=4, replicas=2).status is Status.OK


def test_gpus_that_others_hold_are_not_there() -> None:
    found = capacity(node(gpus=8), pods=(pod("n1", gpus=6),), gpus=4)

    assert found.status is Status.WARNING
    assert "its nvidia.com/gpu is taken" in found.message


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_pods_that_are_over_hold_nothing(phase: str) -> None:
    assert capacity(node(gpus=4), pods=(pod("n1", gpus=4, phase=phase),), gpus=4).status is Status.OK


def test_the_fleets_own_pods_make_room_for_what_is_applied_anew() -> None:
    own = pod("n1", gpus=4, labels={"penstock.dev/fleet": "f"})

    assert capacity(node(gpus=4), pods=(own,), gpus=4).status is Status.OK


def test_free_gpus_on_two_nodes_are_not_those_of_one() -> None:
    found = capacity(node("a", gpus=4), node("b", gpus=4), gpus=8)

    assert found.status is Status.FAILED
    assert "2 nodes: it has 4 of 8 nvidia.com/gpu" in found.message


def test_a_large_pod_is_placed_before_the_small_ones_fill_its_node() -> None:
    small = deployment(name="small", gpus=1, replicas=8)
    large = deployment(name="large", gpus=8)

    found = asked("gpu-capacity", small, large, nodes=(node("a", gpus=8), node("b", gpus=8)))

    assert [check.status for check in found] == [Status.OK, Status.OK]


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ({"unschedulable": True}, "it is cordoned"),
        ({"taints": [{"key": "team", "value": "b", "effect": "NoSchedule"}]}, "its taint team is not tolerated"),
        ({"conditions": [{"type": "GpuUnhealthy", "status": "True"}]}, "its condition GpuUnhealthy is true"),
    ],
)
def test_a_node_that_takes_no_pods_is_told(there: dict[str, Any], words: str) -> None:
    found = capacity(node(**there), gpus=1)

    assert found.status is Status.FAILED
    assert words in found.message


def test_a_taint_that_is_tolerated_keeps_nothing_off() -> None:
    tainted = node(taints=[{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}])
    tolerations = [{"key": "nvidia.com/gpu", "operator": "Exists"}]

    assert capacity(tainted, gpus=1, tolerations=tolerations).status is Status.OK


def test_a_label_that_no_node_has_is_told() -> None:
    assert "it has no label pool=h100" in capacity(node(), gpus=1, nodeSelector={"pool": "h100"}).message


def test_nodes_that_may_not_be_read_are_unknown_and_not_well() -> None:
    found = asked("gpu-capacity", deployment(), nodes=None, unread={"nodes": "you may not list nodes"})

    assert [(check.status, check.message) for check in found] == [(Status.UNKNOWN, "nodes: you may not list nodes")]


def plugin(*nodes: dict[str, Any], resource: str = "nvidia.com/gpu", **seen: Any) -> Check:
    (found,) = asked("device-plugin", deployment(resource=resource), nodes=nodes, **seen)
    return found


def test_gpus_that_nodes_count_are_told() -> None:
    assert plugin(node("a"), node("b")).message == "2 nodes have 16 nvidia.com/gpu"


@pytest.mark.parametrize(
    ("labels", "daemon_sets", "words"),
    [
        ({}, (), "add nodes with GPUs"),
        ({"nvidia.com/gpu.present": "true"}, (), "no device plugin runs"),
        (
            {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"},
            ({"metadata": {"name": "nvidia-device-plugin-daemonset"}, "status": {"numberReady": 0}},),
            "0 pods of the device plugin are ready",
        ),
    ],
)
def test_why_no_gpu_is_counted_is_told(labels: dict[str, str], daemon_sets: Any, words: str) -> None:
    found = plugin(node(gpus=0, labels=labels), daemon_sets=daemon_sets)

    assert found.status is Status.FAILED
    assert words in found.hint


def test_a_slice_that_no_gpu_is_cut_into_says_how_to_cut_it() -> None:
    labels = {"nvidia.com/gpu.present": "true", "nvidia.com/mig.config.state": "failed"}

    found = plugin(node(labels=labels), resource="nvidia.com/mig-1g.10gb")

    assert "nvidia.com/mig.config=all-1g.10gb" in found.hint
    assert "failed" in found.hint


def driver(major: str | None) -> Check:
    labels = {} if major is None else {"nvidia.com/cuda.driver.major": major}
    (found,) = asked("driver", deployment(), nodes=(node(labels=labels),))
    return found


@pytest.mark.parametrize(
    ("major", "status"), [("580", Status.OK), ("550", Status.FAILED), (None, Status.UNKNOWN), ("x", Status.UNKNOWN)]
)
def test_a_driver_is_as_new_as_the_engines_image_needs(major: str | None, status: Status) -> None:
    assert driver(major).status is status


def test_an_image_of_an_older_cuda_runs_on_an_older_driver() -> None:
    fleet = site("hardware: {gpu: H100}, engine: {image: 'vllm/vllm-openai:v0.32.0-cu129'}")

    found = asked("driver", fleet=fleet, nodes=(node(labels={"nvidia.com/cuda.driver.major": "550"}),))

    assert [check.status for check in found] == [Status.OK]


@pytest.mark.parametrize(
    ("used", "status"), [("0", None), ("6", Status.WARNING)], ids=["there is room", "the rest is too small"]
)
def test_a_quota_that_others_use_is_a_warning(used: str, status: Status | None) -> None:
    quota = {"metadata": {"name": "q"}, "status": {"hard": {"requests.nvidia.com/gpu": "8"}, "used": {}}}
    quota["status"]["used"] = {"requests.nvidia.com/gpu": used}  # type: ignore[index]

    found = asked("quota", deployment(gpus=4), quotas=(quota,))

    assert [check.status for check in found] == ([] if status is None else [status])


def test_a_quota_smaller_than_the_fleet_fails() -> None:
    quota = {"metadata": {"name": "q"}, "status": {"hard": {"requests.memory": "16Gi"}, "used": {}}}

    (found,) = asked("quota", deployment(), quotas=(quota,))

    assert found.status is Status.FAILED
