"""Spot machines, priorities, drivers."""

from __future__ import annotations

import pytest

from operate.doctor.faults import PLACEMENT, Fault, assert_found_alone, codes, examined, read


@pytest.mark.parametrize("fault", PLACEMENT, ids=lambda fault: fault.name)
def test_each_fault_is_found_alone_and_at_its_line(fault: Fault) -> None:
    assert_found_alone(fault)


@pytest.mark.parametrize("key", ["node.kubernetes.io/not-ready", "cloud.google.com/gke-spot", "example.com/own"])
def test_taints_that_exist_are_tolerated_without_a_word(key: str) -> None:
    text = read("stack.yaml").replace("karpenter.sh/capacity-type", key)

    assert codes(examined(text, "stack.yaml")) == []


def test_an_image_for_cuda_12_runs_on_an_older_driver() -> None:
    text = read("cluster.yaml").replace('"580"', '"550"').replace("v0.32.0", "v0.32.0-cu129")

    assert codes(examined(text, "cluster.yaml")) == []


def test_spot_for_some_with_a_floor_on_demand_is_right() -> None:
    text = read("stack.yaml")
    start = text.index("apiVersion: apps/v1")
    spot = text[start : text.index("---", start)].replace("name: llama-70b\n  namespace", "name: spot\n  namespace")
    spot = spot.replace("nodeSelector:", 'nodeSelector:\n        karpenter.sh/capacity-type: "spot"')

    assert codes(examined(f"{text}---\n{spot}", "stack.yaml")) == []


def test_a_taint_that_a_node_pool_sets_exists() -> None:
    text = read("stack.yaml").replace("karpenter.sh/capacity-type", "node.kubernetes.io/spot")
    pool = "---\napiVersion: karpenter.sh/v1\nkind: NodePool\nmetadata: {name: p}\nspec:\n  template:\n    spec:\n"
    pool += "      taints: [{key: node.kubernetes.io/spot, effect: NoSchedule}]\n"

    assert codes(examined(text + pool, "stack.yaml")) == []


def test_a_label_that_a_node_has_is_not_invented() -> None:
    text = read("stack.yaml").replace(
        "      nodeSelector:\n", "      nodeSelector:\n        node.kubernetes.io/spot: yes-it-is\n"
    )
    node = "---\napiVersion: v1\nkind: Node\nmetadata: {name: n, labels: {node.kubernetes.io/spot: yes-it-is}}\n"

    assert codes(examined(text, "stack.yaml")) == ["PS030"]
    assert codes(examined(text + node, "stack.yaml")) == []


def spot_pool(labels: str = "{}", values: str = "[spot]") -> str:
    return f"""---
apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {{name: cheap}}
spec:
  template:
    metadata: {{labels: {labels}}}
    spec:
      requirements: [{{key: karpenter.sh/capacity-type, operator: In, values: {values}}}]
"""


def in_pool(selector: str) -> str:
    text = read("stack.yaml").replace("      nodeSelector:\n", f"      nodeSelector:\n        {selector}\n")
    return text if text.endswith("\n") else text + "\n"


@pytest.mark.parametrize(
    ("selector", "pool"),
    [
        ("karpenter.sh/nodepool: cheap", spot_pool()),
        ("karpenter.sh/capacity-type: spot", ""),
        ("team: cheap", spot_pool(labels="{team: cheap}")),
    ],
)
def test_a_node_pool_of_spot_machines_alone_is_spot(selector: str, pool: str) -> None:
    assert "PS032" in codes(examined(in_pool(selector) + pool, "stack.yaml"))


@pytest.mark.parametrize(
    ("selector", "pool"),
    [
        ("karpenter.sh/nodepool: cheap", spot_pool(values="[spot, on-demand]")),
        ("karpenter.sh/nodepool: other", spot_pool()),
        ("team: dear", spot_pool(labels="{team: cheap}") + spot_pool(labels="{team: dear}", values="[on-demand]")),
    ],
)
def test_a_node_pool_with_other_machines_is_not(selector: str, pool: str) -> None:
    assert "PS032" not in codes(examined(in_pool(selector) + pool, "stack.yaml"))
