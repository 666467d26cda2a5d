"""A drain takes one replica at a time, and is never held up for ever."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.plan.manifests.budget import most_replicas
from plan.manifests.engines import objects_of, site_from


def budgets(fields: str) -> list[dict[str, Any]]:
    model = f"{{name: m, source: Qwen/Qwen3-8B, hardware: {{gpu: H100}}{fields}}}"
    return [body for body in objects_of(model) if body["kind"] == "PodDisruptionBudget"]


@pytest.mark.parametrize(
    "fields", [", replicas: 2", ", replicas: 8", ", autoscaling: {minReplicas: 1, maxReplicas: 2}"]
)
def test_several_replicas_have_a_budget_of_one_that_lets_broken_pods_go(fields: str) -> None:
    (budget,) = budgets(fields)
    assert budget["spec"]["maxUnavailable"] == 1
    assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert "minAvailable" not in budget["spec"]


@pytest.mark.parametrize("fields", ["", ", replicas: 0", ", autoscaling: {minReplicas: 0, maxReplicas: 1}"])
def test_one_replica_has_none(fields: str) -> None:
    assert budgets(fields) == []


def test_the_budget_covers_the_floor_off_spot_nodes_too() -> None:
    (budget,) = budgets(", replicas: 4, scheduling: {spot: allowed, onDemandReplicas: 2}")
    assert "penstock.dev/pool" not in budget["spec"]["selector"]["matchLabels"]


def test_an_autoscaled_model_counts_by_its_maximum() -> None:
    site = site_from("{name: m, source: Qwen/Qwen3-8B, hardware: {gpu: H100}, autoscaling: {maxReplicas: 7}}")
    assert most_replicas(site.needs["m"]) == 7
