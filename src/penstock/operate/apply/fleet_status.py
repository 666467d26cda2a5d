"""How a fleet in a cluster is, from what was observed: models, what is pending and why, what happened. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from penstock.operate.apply.objects import Object, at, conditions, labels, ref_of
from penstock.operate.apply.pods import is_ready, pod_trouble, restarts_of
from penstock.operate.apply.readiness import Surroundings, pods_of, readiness

__all__ = ["FleetStatus", "ModelStatus", "PodStatus", "Seen", "fleet_status", "revision_of"]

MODEL_LABEL = "penstock.dev/model"
_EVENTS_MAX = 10
_WORKLOADS = ("Deployment", "LeaderWorkerSet", "StatefulSet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was read of a fleet, by kind."""

    objects: Mapping[str, Sequence[Object]]
    pods: Sequence[Object] = ()
    events: Sequence[Object] = ()
    late_classes: frozenset[str] = frozenset()

    def all(self, *kinds: str) -> list[Object]:
        return [obj for kind in kinds for obj in self.objects.get(kind, ())]


@dataclass(frozen=True, slots=True, kw_only=True)
class PodStatus:
    """A pod that does not serve, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatus:
    """A workload of the fleet: a model's engines, the gateway or the controller."""

    name: str
    component: str
    """`engine`, `gateway` or `controller`."""
    workload: str
    ready: int
    desired: int
    revision: str
    """Short hash of the pod template."""
    rollout: str
    """`complete`, or how far it is."""
    state: str
    reason: str
    since: str
    """When the workload was made, RFC 3339."""
    restarts: int
    endpoints: tuple[str, ...]
    """Addresses that serve."""
    scaler: str
    """What sets the replicas, and how it is; empty where the file does."""
    pending: tuple[PodStatus, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetStatus:
    """A fleet in one cluster."""

    fleet: str
    namespace: str
    models: tuple[ModelStatus, ...]
    parts: tuple[ModelStatus, ...]
    """Gateway and controller."""
    storage: tuple[str, ...] = ()
    """Volumes and download Jobs that are not ready, and why."""
    events: tuple[str, ...] = field(default=())
    """Last warnings, the newest first."""

    @property
    def is_ready(self) -> bool:
        return all(part.state == "ready" for part in (*self.models, *self.parts)) and not self.storage

    @property
    def is_there(self) -> bool:
        return bool(self.models or self.parts)


def fleet_status(fleet: str, namespace: str, seen: Seen, names: Mapping[str, str] | None = None) -> FleetStatus:
    """`names`: the models' names by the names of their objects, where the file is known."""
    around = Surroundings(pods=seen.pods, events=seen.events, late_classes=seen.late_classes)
    rows = [_workload(obj, seen, around, names or {}) for obj in seen.all(*_WORKLOADS)]
    rows.sort(key=lambda row: row.name)
    storage = []
    for obj in seen.all("PersistentVolumeClaim", "Job"):
        found = readiness(obj, around)
        if not found.is_ready:
            storage.append(f"{ref_of(obj).short}: {found.state}: {found.reason}")
    return FleetStatus(
        fleet=fleet,
        namespace=namespace,
        models=tuple(row for row in rows if row.component == "engine"),
        parts=tuple(row for row in rows if row.component != "engine"),
        storage=tuple(sorted(storage)),
        events=_last_events(seen),
    )


def revision_of(workload: Object) -> str:
    """Short hash of the pod template: the same template has the same, whatever cluster it is in."""
    template = at(workload, "spec", "template") or at(workload, "spec", "leaderWorkerTemplate", default={})
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:8]


def _workload(obj: Object, seen: Seen, around: Surroundings, names: Mapping[str, str]) -> ModelStatus:
    found = readiness(obj, around)
    ref = ref_of(obj)
    pods = pods_of(obj, seen.pods)
    pending = [
        PodStatus(name=pod["metadata"]["name"], reason=trouble)
        for pod in pods
        if (trouble := pod_trouble(pod, seen.events))
    ]
    label = labels(obj).get(MODEL_LABEL, ref.name)
    return ModelStatus(
        name=names.get(label, label),
        component=labels(obj).get("app.kubernetes.io/component", ""),
        workload=ref.short,
        ready=found.ready or 0,
        desired=found.desired or 0,
        revision=revision_of(obj),
        rollout=_rollout(obj, found.is_ready),
        state=found.state,
        reason=found.reason,
        since=str(at(obj, "metadata", "creationTimestamp", default="")),
        restarts=sum(restarts_of(pod) for pod in pods),
        endpoints=tuple(sorted(at(pod, "status", "podIP", default="") for pod in pods if is_ready(pod))),
        scaler=_scaler(ref.kind, ref.name, seen),
        pending=tuple(sorted(pending, key=lambda pod: pod.name)),
    )


def _rollout(obj: Object, is_complete: bool) -> str:
    if is_complete:
        return "complete"
    desired = int(at(obj, "spec", "replicas", default=1))
    updated = int(at(obj, "status", "updatedReplicas", default=0))
    if conditions(obj).get("Progressing", {}).get("reason") == "ProgressDeadlineExceeded":
        return f"stuck at {updated}/{desired}"
    return f"{updated}/{desired} updated"


def _scaler(kind: str, name: str, seen: Seen) -> str:
    for obj in seen.all("ScaledObject", "HorizontalPodAutoscaler"):
        target = at(obj, "spec", "scaleTargetRef", default={})
        if (target.get("kind", "Deployment"), target.get("name")) != (kind, name):
            continue
        low = at(obj, "spec", "minReplicas", default=at(obj, "spec", "minReplicaCount", default=1))
        high = at(obj, "spec", "maxReplicas", default=at(obj, "spec", "maxReplicaCount", default="?"))
        found = readiness(obj, Surroundings())
        words = f"{obj['kind']} {low} to {high}"
        return words if found.is_ready else f"{words}: {found.reason}"
    return ""


def _last_events(seen: Seen) -> tuple[str, ...]:
    known = {str(at(obj, "metadata", "uid", default="-")) for obj in (*seen.pods, *_every(seen.objects))}
    warnings = [
        event
        for event in seen.events
        if event.get("type") == "Warning" and str(at(event, "involvedObject", "uid", default="")) in known
    ]
    warnings.sort(key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""), reverse=True)
    shown = []
    for event in warnings[:_EVENTS_MAX]:
        about = event.get("involvedObject", {})
        time = event.get("lastTimestamp") or event.get("eventTime") or "?"
        words = f"{time} {about.get('kind')} {about.get('name')}: {event.get('reason')}: {event.get('message')}"
        shown.append(words)
    return tuple(shown)


def _every(objects: Mapping[str, Sequence[Object]]) -> Iterable[Object]:
    for found in objects.values():
        yield from found
