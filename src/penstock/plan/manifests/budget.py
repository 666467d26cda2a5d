"""How many replicas of a model a node's drain may take at once. Pure.

A budget governs evictions only: drains, node upgrades, preemption. Rollouts go by the Deployment's strategy.
"""

from __future__ import annotations

from collections.abc import Iterator

from penstock.plan.manifests.gpu_sharing import pods_of_replica
from penstock.plan.manifests.manifest import Because, Manifest, Wave
from penstock.plan.manifests.needs import ModelNeeds
from penstock.plan.manifests.site import Site

__all__ = ["most_replicas", "render_budget"]


def most_replicas(needs: ModelNeeds) -> int:
    """Replicas that there can be at a time."""
    scaling = needs.spec.autoscaling
    return needs.replicas if scaling is None else scaling.max_replicas


def render_budget(site: Site, needs: ModelNeeds) -> Iterator[Manifest]:
    """The budget; none where there is one replica at most."""
    if most_replicas(needs) < 2:
        return
    name = site.names[needs.spec.name]
    what = "Drains of nodes take one replica at a time."
    if pods_of_replica(site, needs) > 1:
        what = "Drains of nodes take one pod at a time, and with it its replica: the others' pods wait for it."
    scaled = " Scaled down to one replica it holds nothing up." if needs.spec.autoscaling is not None else ""
    yield Manifest(
        body={
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": site.metadata("engine", name, name),
            "spec": {
                "maxUnavailable": Because(
                    1, "Not `minAvailable`: that would hold a drain up for ever where there is one replica only."
                ),
                "unhealthyPodEvictionPolicy": Because(
                    "AlwaysAllow", "A pod that is loading or broken serves nobody and must not hold a drain up."
                ),
                "selector": {"matchLabels": site.selector("engine", name)},
            },
        },
        wave=Wave.SERVE,
        file=f"{name}/engine",
        heading=what + scaled,
    )
