"""The law by which a model's replicas follow its load, shared by all that scale: the target, and how fast. Pure.

HPA's law with a target per replica is `desired = ceil(sum / target)`, unless `sum / (target × replicas)` is within 10 %
of 1. The replicas that are still starting do not enter it, so a slow start never makes it ask for more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from penstock.plan.manifests.gpu_sharing import pods_of_replica
from penstock.plan.manifests.manifest import Because
from penstock.plan.manifests.needs import ModelNeeds
from penstock.plan.manifests.site import Site
from penstock.spec import AutoscalingSpec

__all__ = [
    "TOLERANCE",
    "Bounds",
    "Target",
    "behavior",
    "bounds_of",
    "floor_of",
    "is_group",
    "scale_target",
    "sleeps",
    "start_budget_s",
    "target_of",
]

TOLERANCE = 0.1
"""Of the HPA: by so much a replica's load may be over its target before one is added (its documented default)."""
_UP_PODS, _UP_PERCENT, _UP_PERIOD_S = 4, 100, 60
"""Twice as many, or four more, each minute: a burst is met in one step, a runaway query takes minutes to cost much."""
_DOWN_PERIOD_S = 120
"""One at a time: each one that goes takes its prefix cache along, and its share falls to the others at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Requests that one replica is meant to have, running and waiting."""

    requests: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Replicas of what is scaled, at least and at most, beside a floor that is not."""

    floor: int
    least: int
    most: int


def target_of(needs: ModelNeeds) -> Target:
    """The file's word, else what keeps the tolerance inside the objectives."""
    spec = needs.spec.autoscaling
    if spec is not None and spec.target_concurrency is not None:
        reason = "Requests of one replica, running and waiting, as the file says (`targetConcurrency`)."
        return Target(requests=spec.target_concurrency, reason=reason)
    requests = max(1, math.floor(needs.concurrency / (1 + TOLERANCE)))
    reason = (
        f"Requests of one replica, running and waiting. The plan gives it {needs.concurrency:g} at the objectives; a "
        f"replica is added when its load is {TOLERANCE:.0%} over this, so that it ends there."
    )
    return Target(requests=float(requests), reason=reason)


def behavior(spec: AutoscalingSpec) -> dict[str, Any]:
    """`behavior` of an HPA: up at once, down slowly."""
    up = [
        {"type": "Percent", "value": _UP_PERCENT, "periodSeconds": _UP_PERIOD_S},
        {"type": "Pods", "value": _UP_PODS, "periodSeconds": _UP_PERIOD_S},
    ]
    why_up = "Twice as many or four more each minute, whichever is more: a replica takes minutes to load as it is."
    why_down = "One at a time: its prefix cache goes with it, and its requests fall to the others."
    return {
        "scaleUp": {
            "stabilizationWindowSeconds": spec.scale_up_window_s,
            "selectPolicy": "Max",
            "policies": Because(up, why_up),
        },
        "scaleDown": {
            "stabilizationWindowSeconds": Because(
                spec.scale_down_window_s, "The most that was needed in this time still counts: no thrash."
            ),
            "selectPolicy": "Max",
            "policies": Because([{"type": "Pods", "value": 1, "periodSeconds": _DOWN_PERIOD_S}], why_down),
        },
    }


def scale_target(site: Site, needs: ModelNeeds) -> dict[str, str]:
    """The object whose scale is set."""
    name = site.names[needs.spec.name]
    if is_group(site, needs):
        return {"apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet", "name": name}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}


def is_group(site: Site, needs: ModelNeeds) -> bool:
    """Whether a replica spans nodes."""
    return pods_of_replica(site, needs) > 1


def floor_of(site: Site, needs: ModelNeeds) -> int:
    """Replicas that always run, off spot nodes, in a Deployment of their own: they are part of the whole that the file
    bounds, and not of what is scaled."""
    return 0 if is_group(site, needs) else needs.spec.scheduling.on_demand_replicas


def sleeps(site: Site, needs: ModelNeeds) -> bool:
    """Whether the model has no replica at all when nobody asks for it."""
    spec = needs.spec.autoscaling
    return spec is not None and spec.min_replicas == 0 and floor_of(site, needs) == 0


def bounds_of(site: Site, needs: ModelNeeds, spec: AutoscalingSpec) -> Bounds:
    """The file's bounds, without the floor."""
    floor = floor_of(site, needs)
    return Bounds(floor=floor, least=max(0, spec.min_replicas - floor), most=max(1, spec.max_replicas - floor))


def start_budget_s(needs: ModelNeeds) -> int:
    """Seconds that a start may take before the startup probe ends it."""
    return needs.host.probe_period_s * needs.host.probe_failures
