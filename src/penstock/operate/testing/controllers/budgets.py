"""PodDisruptionBudgets: how many pods may go now. Pure. Source: `pkg/controller/disruption`."""

from __future__ import annotations

import math
from typing import Any

from penstock.operate.testing.controllers.world import World, is_ready, with_condition
from penstock.operate.testing.selectors import label_selector_matches

__all__ = ["run_budgets"]

Json = dict[str, Any]


def run_budgets(world: World) -> None:
    for budget in world.all("poddisruptionbudgets", "policy"):
        _run_budget(world, budget)


def _run_budget(world: World, budget: Json) -> None:
    spec = budget["spec"]
    pods = [
        pod
        for pod in world.all("pods", "", budget["metadata"]["namespace"])
        if label_selector_matches(spec.get("selector"), pod["metadata"].get("labels"))
        and pod["status"].get("phase") not in ("Succeeded", "Failed")
    ]
    expected, desired = _expected(world, budget, pods)
    healthy = sum(is_ready(pod) and not pod["metadata"].get("deletionTimestamp") for pod in pods)
    allowed = max(0, healthy - desired) if expected else 0
    status = (budget.get("status") or {}) | {
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "disruptionsAllowed": allowed,
        "expectedPods": expected,
        "observedGeneration": budget["metadata"]["generation"],
    }
    reason = "SufficientPods" if allowed else "InsufficientPods"
    value = "True" if allowed else "False"
    status = with_condition(
        status, world.time, "DisruptionAllowed", value, reason, "", observedGeneration=budget["metadata"]["generation"]
    )
    world.set_status("poddisruptionbudgets", "policy", budget, status)


def _share(value: Any, of: int) -> int:
    """A count, or a share rounded up."""
    return value if isinstance(value, int) else math.ceil(of * int(str(value).rstrip("%")) / 100)


def _expected(world: World, budget: Json, pods: list[Json]) -> tuple[int, int]:
    """How many pods there should be, and how many of them must stay."""
    spec = budget["spec"]
    wanted = _wanted(world, pods)
    if "maxUnavailable" in spec:
        return wanted, max(0, wanted - _share(spec["maxUnavailable"], wanted))
    least = spec.get("minAvailable", 1)
    if isinstance(least, int):
        return len(pods), least
    return wanted, _share(least, wanted)


def _wanted(world: World, pods: list[Json]) -> int:
    """The replicas of what controls the pods; a pod that nothing controls counts as one."""
    total = 0
    seen: set[str] = set()
    for pod in pods:
        owner = next((ref for ref in pod["metadata"].get("ownerReferences") or () if ref.get("controller")), None)
        namespace = pod["metadata"]["namespace"]
        if owner is None or owner["kind"] != "ReplicaSet":
            total += 1
            continue
        replica_set = world.get("replicasets", "apps", namespace, owner["name"])
        above = next(iter((replica_set or {}).get("metadata", {}).get("ownerReferences") or ()), None)
        deployment = world.get("deployments", "apps", namespace, above["name"]) if above else None
        scaled = deployment or replica_set
        if scaled is not None and scaled["metadata"]["uid"] not in seen:
            seen.add(scaled["metadata"]["uid"])
            total += scaled["spec"]["replicas"]
    return total
