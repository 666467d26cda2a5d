"""Disruption budgets."""

from __future__ import annotations

import pytest

from operate.testing.api import T0, deployment
from operate.testing.controllers.cluster_of import cluster_of


@pytest.mark.parametrize(
    ("spec", "desired", "allowed"),
    [
        ({"minAvailable": 1}, 1, 2),
        ({"minAvailable": 3}, 3, 0),
        ({"minAvailable": "50%"}, 2, 1),  # half of three, rounded up
        ({"maxUnavailable": 1}, 2, 1),
        ({"maxUnavailable": 0}, 3, 0),
        ({"maxUnavailable": "34%"}, 1, 2),  # 1.02 of three, rounded up to two
    ],
)
def test_a_budget_allows_what_it_says(spec: dict, desired: int, allowed: int) -> None:
    cluster = cluster_of()
    cluster.apply(deployment(replicas=3), now=T0)
    selector = {"matchLabels": {"app": "web"}}
    budget = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"}}
    cluster.create(budget | {"spec": spec | {"selector": selector}}, now=T0)
    cluster.step(T0)

    cluster.step(T0 + 5)

    found = cluster.get("policy/v1", "PodDisruptionBudget", "b")
    assert found is not None
    status = found["status"]
    assert (status["expectedPods"], status["currentHealthy"]) == (3, 3)
    assert (status["desiredHealthy"], status["disruptionsAllowed"]) == (desired, allowed)
