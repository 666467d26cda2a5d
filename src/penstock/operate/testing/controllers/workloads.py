"""Deployments and ReplicaSets: pods as many and of the template that is wanted, replaced as the strategy says. Pure.

Guarantees: a rolling update keeps at least `replicas - maxUnavailable` pods available and never has more than
`replicas + maxSurge`. Source: `pkg/controller/deployment`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

from penstock.operate.testing.controllers.world import World, condition, is_ready, with_condition
from penstock.operate.testing.merge import clone
from penstock.operate.testing.names import GENERATED_CHARACTERS

__all__ = ["bounds", "owner_of", "run_deployments", "run_replica_sets", "template_hash"]

Json = dict[str, Any]
_HASH = "pod-template-hash"
_REVISION = "deployment.kubernetes.io/revision"
_APPS = "apps"


def template_hash(template: Json) -> str:
    """Ten characters that stand for a template."""
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()
    return "".join(GENERATED_CHARACTERS[byte % len(GENERATED_CHARACTERS)] for byte in digest[:10])


def owner_of(obj: Json) -> Json:
    """The reference by which `obj` controls another."""
    return {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "name": obj["metadata"]["name"],
        "uid": obj["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def bounds(deployment: Json) -> tuple[int, int]:
    """How many pods a rolling update may have too many, and how many too few."""
    spec = deployment["spec"]
    if spec["strategy"]["type"] != "RollingUpdate":
        return 0, spec["replicas"]
    rolling = spec["strategy"].get("rollingUpdate") or {}

    def of(value: int | str, *, is_up: bool) -> int:
        if isinstance(value, int):
            return value
        share: float = spec["replicas"] * int(value.rstrip("%")) / 100
        return math.ceil(share) if is_up else math.floor(share)

    surge, unavailable = of(rolling.get("maxSurge", 0), is_up=True), of(rolling.get("maxUnavailable", 0), is_up=False)
    return surge, 1 if surge == 0 and unavailable == 0 else min(unavailable, spec["replicas"])


def _available(sets: Sequence[Json]) -> int:
    return sum((each.get("status") or {}).get("availableReplicas", 0) for each in sets)


def _wanted(sets: Sequence[Json]) -> int:
    return sum(each["spec"]["replicas"] for each in sets)


def run_deployments(world: World) -> None:
    for deployment in world.all("deployments", _APPS):
        if not deployment["metadata"].get("deletionTimestamp"):
            _run_deployment(world, deployment)


def _run_deployment(world: World, deployment: Json) -> None:
    sets = world.owned_by(deployment, "replicasets", _APPS)
    wanted = template_hash(deployment["spec"]["template"])
    new = next((each for each in sets if each["metadata"]["labels"].get(_HASH) == wanted), None)
    old = [each for each in sets if each["metadata"]["labels"].get(_HASH) != wanted]
    if new is None and not deployment["spec"].get("paused"):
        new = _new_set(world, deployment, wanted, old)
    if new is not None:
        deployment = _noted_revision(world, deployment, new, old)
    if deployment["spec"].get("paused"):
        _scale_paused(world, deployment, [*old, *([new] if new else [])])
    elif new is not None and deployment["spec"]["strategy"]["type"] == "Recreate":
        _recreate(world, deployment, new, old)
    elif new is not None:
        _roll(world, deployment, new, old)
    _clean_up(world, deployment, old)
    _tell(world, deployment, wanted)


def _new_set(world: World, deployment: Json, wanted: str, old: Sequence[Json]) -> Json:
    metadata, template = deployment["metadata"], clone(deployment["spec"]["template"])
    labels = (template["metadata"].get("labels") or {}) | {_HASH: wanted}
    template["metadata"]["labels"] = labels
    selector = clone(deployment["spec"]["selector"])
    selector["matchLabels"] = (selector.get("matchLabels") or {}) | {_HASH: wanted}
    return world.create(
        "replicasets",
        _APPS,
        {
            "metadata": {
                "name": f"{metadata['name']}-{wanted}",
                "namespace": metadata["namespace"],
                "labels": labels,
                "annotations": {_REVISION: str(_last_revision(old) + 1)},
                "ownerReferences": [owner_of(deployment)],
            },
            "spec": {
                "replicas": 0,
                "minReadySeconds": deployment["spec"].get("minReadySeconds", 0),
                "selector": selector,
                "template": template,
            },
        },
    )


def _last_revision(sets: Sequence[Json]) -> int:
    return max((int((each["metadata"].get("annotations") or {}).get(_REVISION, "0")) for each in sets), default=0)


def _noted_revision(world: World, deployment: Json, new: Json, old: Sequence[Json]) -> Json:
    """The newest set has the highest revision, also after a return to an old template; the Deployment shows it."""
    revision = int((new["metadata"].get("annotations") or {}).get(_REVISION, "0"))
    if revision <= _last_revision(old):
        revision = _last_revision(old) + 1
        annotations = (new["metadata"].get("annotations") or {}) | {_REVISION: str(revision)}
        world.update("replicasets", _APPS, new, metadata=new["metadata"] | {"annotations": annotations})
    annotations = (deployment["metadata"].get("annotations") or {}) | {_REVISION: str(revision)}
    return world.update(
        "deployments", _APPS, deployment, metadata=deployment["metadata"] | {"annotations": annotations}
    )


def _scale(world: World, replica_set: Json, replicas: int) -> None:
    live = world.get("replicasets", _APPS, replica_set["metadata"]["namespace"], replica_set["metadata"]["name"])
    assert live is not None
    if replicas != live["spec"]["replicas"]:
        world.update("replicasets", _APPS, live, spec=live["spec"] | {"replicas": max(0, replicas)})


def _scale_paused(world: World, deployment: Json, sets: Sequence[Json]) -> None:
    """A paused rollout still scales: what the newest set is short of or has too many."""
    difference = deployment["spec"]["replicas"] - _wanted(sets)
    if sets and difference:
        newest = max(sets, key=lambda each: _last_revision([each]))
        _scale(world, newest, newest["spec"]["replicas"] + difference)


def _recreate(world: World, deployment: Json, new: Json, old: Sequence[Json]) -> None:
    for each in old:
        _scale(world, each, 0)
    if not any(world.owned_by(each, "pods") for each in old):
        _scale(world, new, deployment["spec"]["replicas"])


def _roll(world: World, deployment: Json, new: Json, old: Sequence[Json]) -> None:
    desired = deployment["spec"]["replicas"]
    surge, unavailable = bounds(deployment)
    everything = [new, *old]
    current = new["spec"]["replicas"]
    if current > desired:
        _scale(world, new, desired)
        return
    if current < desired:
        room = desired + surge - _wanted(everything)
        if room > 0:
            _scale(world, new, current + min(room, desired - current))
            return
    least = desired - unavailable
    new_unavailable = current - _available([new])
    most_down = _wanted(everything) - least - new_unavailable
    if most_down <= 0 or not _wanted(old):
        return
    for each in sorted(old, key=lambda each: _last_revision([each])):
        unhealthy = min(each["spec"]["replicas"] - _available([each]), most_down)
        if unhealthy > 0:
            _scale(world, each, each["spec"]["replicas"] - unhealthy)
            return
    surplus = _available(everything) - least
    for each in sorted(old, key=lambda each: _last_revision([each])):
        down = min(surplus, each["spec"]["replicas"])
        if down > 0:
            _scale(world, each, each["spec"]["replicas"] - down)
            return


def _clean_up(world: World, deployment: Json, old: Sequence[Json]) -> None:
    """Sets without pods past `revisionHistoryLimit` go, oldest first."""
    idle = [each for each in old if not each["spec"]["replicas"] and not (each.get("status") or {}).get("replicas")]
    keep = deployment["spec"]["revisionHistoryLimit"]
    for each in sorted(idle, key=lambda each: _last_revision([each]))[: max(0, len(idle) - keep)]:
        world.delete("replicasets", _APPS, each)


def _tell(world: World, deployment: Json, wanted: str) -> None:
    metadata = deployment["metadata"]
    live = world.get("deployments", _APPS, metadata["namespace"], metadata["name"])
    assert live is not None
    sets = world.owned_by(live, "replicasets", _APPS)
    new = [each for each in sets if each["metadata"]["labels"].get(_HASH) == wanted]

    def count(found: Sequence[Json], field: str) -> int:
        return sum((each.get("status") or {}).get(field, 0) for each in found)

    replicas, ready, available = count(sets, "replicas"), count(sets, "readyReplicas"), _available(sets)
    desired, updated = live["spec"]["replicas"], count(new, "replicas")
    counts = {
        "observedGeneration": live["metadata"]["generation"],
        "replicas": replicas,
        "updatedReplicas": updated,
        "readyReplicas": ready,
        "availableReplicas": available,
        "unavailableReplicas": max(0, max(replicas, desired) - available),
    }
    before = live.get("status") or {}
    status: Json = {key: value for key, value in counts.items() if value}
    if before.get("conditions"):
        status["conditions"] = before["conditions"]
    is_enough = available >= desired - bounds(live)[1]
    status = with_condition(
        status,
        world.time,
        "Available",
        "True" if is_enough else "False",
        "MinimumReplicasAvailable" if is_enough else "MinimumReplicasUnavailable",
        f"Deployment {'has' if is_enough else 'does not have'} minimum availability.",
    )
    is_done = updated == replicas == available == desired
    moved = any(before.get(key, 0) != counts[key] for key in ("updatedReplicas", "readyReplicas", "availableReplicas"))
    status = _progress(world, live, new, status, is_done=is_done, has_moved=moved)
    world.set_status("deployments", _APPS, live, status)


def _progress(world: World, live: Json, new: Sequence[Json], status: Json, *, is_done: bool, has_moved: bool) -> Json:
    name = new[0]["metadata"]["name"] if new else ""
    old = condition(live, "Progressing")
    is_new_round = old is None or (live.get("status") or {}).get("observedGeneration") != live["metadata"]["generation"]
    updated = world.time if is_new_round or has_moved or old is None else old.get("lastUpdateTime", world.time)
    if is_done:
        value, reason, words = "True", "NewReplicaSetAvailable", f'ReplicaSet "{name}" has successfully progressed.'
    elif world.since(updated) > live["spec"]["progressDeadlineSeconds"]:
        value, reason, words = "False", "ProgressDeadlineExceeded", f'ReplicaSet "{name}" has timed out progressing.'
    else:
        value, reason, words = "True", "ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.'
    return with_condition(status, world.time, "Progressing", value, reason, words, lastUpdateTime=updated)


def run_replica_sets(world: World) -> None:
    for replica_set in world.all("replicasets", _APPS):
        if not replica_set["metadata"].get("deletionTimestamp"):
            _run_replica_set(world, replica_set)


def _run_replica_set(world: World, replica_set: Json) -> None:
    pods = [pod for pod in world.owned_by(replica_set, "pods") if _is_active(pod)]
    missing = replica_set["spec"]["replicas"] - len(pods)
    for _ in range(missing):
        template, metadata = clone(replica_set["spec"]["template"]), replica_set["metadata"]
        world.create(
            "pods",
            "",
            {
                "metadata": template["metadata"]
                | {
                    "generateName": f"{metadata['name']}-",
                    "namespace": metadata["namespace"],
                    "ownerReferences": [owner_of(replica_set)],
                },
                "spec": template["spec"],
            },
        )
    for pod in sorted(pods, key=_first_to_go)[: max(0, -missing)]:
        world.delete("pods", "", pod)
    _tell_set(world, replica_set)


def _is_active(pod: Json) -> bool:
    return not pod["metadata"].get("deletionTimestamp") and pod["status"].get("phase") not in ("Succeeded", "Failed")


def _first_to_go(pod: Json) -> tuple[bool, bool, int, str]:
    """Unassigned before assigned, not ready before ready, cheap before dear, young before old."""
    cost = int((pod["metadata"].get("annotations") or {}).get("controller.kubernetes.io/pod-deletion-cost", "0"))
    age = "".join(chr(0x10FFFF - ord(mark)) for mark in pod["metadata"]["creationTimestamp"])
    return bool(pod["spec"].get("nodeName")), is_ready(pod), cost, age


def _tell_set(world: World, replica_set: Json) -> None:
    metadata = replica_set["metadata"]
    live = world.get("replicasets", _APPS, metadata["namespace"], metadata["name"])
    assert live is not None
    pods = [pod for pod in world.owned_by(live, "pods") if _is_active(pod)]
    ready = [pod for pod in pods if is_ready(pod)]
    wait_s = live["spec"].get("minReadySeconds", 0)
    available = [pod for pod in ready if world.since((condition(pod, "Ready") or {})["lastTransitionTime"]) >= wait_s]
    counts = {
        "fullyLabeledReplicas": len(pods),
        "readyReplicas": len(ready),
        "availableReplicas": len(available),
        "observedGeneration": live["metadata"]["generation"],
    }
    status = {"replicas": len(pods)} | {key: value for key, value in counts.items() if value}
    world.set_status("replicasets", _APPS, live, status)
