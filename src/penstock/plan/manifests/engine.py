"""A model's engines: Deployments, Service, disruption budget; or a group where a replica spans nodes. Pure.

render_engines(site)       every object of every model, those that fill volumes included
engine_notes(site)         what a person should know before applying them, in words
engine_findings(site)      what cannot be rendered, each with its place in the fleet file
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from penstock.plan.manifests.budget import most_replicas, render_budget
from penstock.plan.manifests.fetch import render_fetch
from penstock.plan.manifests.gpu_sharing import operator_values, pods_of_replica, render_gpu_claims
from penstock.plan.manifests.group import render_group
from penstock.plan.manifests.manifest import Because, Manifest, Wave
from penstock.plan.manifests.needs import ModelNeeds
from penstock.plan.manifests.pod import Role, pod_selector, pod_template
from penstock.plan.manifests.priority import render_priority_classes
from penstock.plan.manifests.probes import ending_of, pull_s, startup_budget_s
from penstock.plan.manifests.rolling import rolling_of
from penstock.plan.manifests.site import ENGINE_PORT, Site
from penstock.plan.manifests.volumes import files_of, render_volumes

__all__ = ["floor_name", "floor_replicas", "render_engines"]

_IMAGE_PULL_S = 600
"""For the engine's image of about ten gigabytes, and for a node that is started first."""
_READY_S = 10
_HISTORY = 5


def render_engines(site: Site) -> Iterator[Manifest]:
    """Everything of the models: priority classes, volumes and what fills them, engines."""
    yield from render_priority_classes(site)
    yield from operator_values(site)
    for needs in site.needs.values():
        yield from render_volumes(site, needs)
        yield from render_fetch(site, needs)
        yield from render_gpu_claims(site, needs)
        yield _service(site, needs)
        if pods_of_replica(site, needs) > 1:
            yield render_group(site, needs)
        else:
            yield from _deployments(site, needs)
        yield from render_budget(site, needs)


def floor_replicas(needs: ModelNeeds) -> int:
    """Replicas that always run off spot nodes, in a Deployment of their own; autoscaling counts them, and sets the
    others."""
    return needs.spec.scheduling.on_demand_replicas


def floor_name(site: Site, needs: ModelNeeds) -> str:
    """Name of that Deployment."""
    return f"{site.names[needs.spec.name]}-on-demand"


def _deployments(site: Site, needs: ModelNeeds) -> Iterator[Manifest]:
    floor = floor_replicas(needs)
    if floor:
        replicas = Because(floor, "`onDemandReplicas`: these stay when a cloud takes its spot nodes back.")
        heading = f"Replicas of {needs.spec.name} that never run on spot nodes. Same Service as the others."
        yield _deployment(site, needs, Role(pool="on-demand"), {"replicas": replicas}, heading)
    what = "Simulated engines" if needs.is_simulated else "Engines"
    heading = f"{what} of {needs.spec.name}: {_hardware(needs)} each."
    if most_replicas(needs) < 2:
        heading += " No disruption budget: with one replica it could only keep nodes from being drained, for ever."
    if needs.spec.autoscaling is not None:
        heading += (
            " The number of replicas is left out, as the autoscaler sets it: it starts with one and is then scaled to "
            f"{needs.spec.autoscaling.min_replicas} or more. A value here would undo that with each apply."
        )
        yield _deployment(site, needs, Role(), {}, heading)
        return
    yield _deployment(site, needs, Role(), {"replicas": max(0, needs.replicas - floor)}, heading)


def _hardware(needs: ModelNeeds) -> str:
    if needs.is_simulated:
        return f"as fast as {needs.gpus}× {needs.gpu.name}, on none of them,"
    return f"{needs.gpus}× {needs.gpu.name}"


def _deployment(site: Site, needs: ModelNeeds, role: Role, count: dict[str, Any], heading: str) -> Manifest:
    name = floor_name(site, needs) if role.pool == "on-demand" else site.names[needs.spec.name]
    rolling = rolling_of(site, needs)
    deadline, reason = _deadline(site, needs)
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": site.metadata("engine", name, site.names[needs.spec.name]),
        "spec": {
            **count,
            "revisionHistoryLimit": _HISTORY,
            "progressDeadlineSeconds": Because(deadline, reason),
            "minReadySeconds": Because(_READY_S, "Ready for so long before a rollout goes on."),
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": Because(
                    {"maxSurge": rolling.surge, "maxUnavailable": rolling.unavailable}, rolling.reason
                ),
            },
            "selector": {"matchLabels": pod_selector(site, needs, role.pool)},
            "template": pod_template(site, needs, role),
        },
    }
    return Manifest(body=body, wave=Wave.SERVE, file=f"{site.names[needs.spec.name]}/engine", heading=heading)


def _deadline(site: Site, needs: ModelNeeds) -> tuple[int, str]:
    """Seconds without progress after which a rollout is called failed, and why."""
    start, grace = startup_budget_s(site, needs), ending_of(site, needs).grace_s
    pull = 2 * pull_s(needs) if files_of(site, needs).pulled else 0
    parts = [f"{_IMAGE_PULL_S} s for a node and the image", f"{start} s to start", f"{grace} s for an old one to end"]
    parts += [f"{pull} s to pull the model"] if pull else []
    parts.append(f"{_READY_S} s to stay ready")
    total = _IMAGE_PULL_S + start + grace + pull + _READY_S
    return total, f"{', '.join(parts)}: a rollout that takes longer is stuck, and is reported so."


def _service(site: Site, needs: ModelNeeds) -> Manifest:
    name = site.names[needs.spec.name]
    selector = site.selector("engine", name)
    heading = "The gateway reads its endpoints and picks one itself; ready ones only."
    if pods_of_replica(site, needs) > 1:
        selector = {**selector, "leaderworkerset.sigs.k8s.io/worker-index": "0"}
        heading += " Of a replica over several nodes the first answers."
    body = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": site.metadata("engine", name, name),
        "spec": {
            "type": "ClusterIP",
            "selector": selector,
            "ports": [{"name": "http", "port": ENGINE_PORT, "targetPort": "http", "protocol": "TCP"}],
        },
    }
    return Manifest(body=body, wave=Wave.SERVE, file=f"{name}/engine", heading=heading)
