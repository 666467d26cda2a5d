"""How far an object is: ready, on its way, or failed; and why, in words. Pure.

The rules are those of the kinds' own controllers: observed generations, conditions and counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from penstock.operate.apply.objects import Object, at, conditions, labels, ref_of
from penstock.operate.apply.pods import latest_warning, pod_trouble

__all__ = ["READ_KINDS", "SOFT_KINDS", "WAITED", "Readiness", "Surroundings", "readiness"]

State = Literal["ready", "waiting", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """How far one object is. `ready` and `desired` count replicas, or are None."""

    state: State
    ready: int | None = None
    desired: int | None = None
    reason: str = ""

    @property
    def is_ready(self) -> bool:
        return self.state == "ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What is known around an object, for the reasons."""

    pods: Sequence[Object] = ()
    events: Sequence[Object] = ()
    late_classes: frozenset[str] = field(default_factory=frozenset)
    """Storage classes that bind a claim when a pod uses it (`WaitForFirstConsumer`)."""


WAITED = {
    "Namespace": "v1",
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
    "PersistentVolumeClaim": "v1",
    "Job": "batch/v1",
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "LeaderWorkerSet": "leaderworkerset.x-k8s.io/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "ScaledObject": "keda.sh/v1alpha1",
    "Fleet": "penstock.dev/v1alpha1",
}
"""Kinds for which being there is not yet being ready."""
SOFT_KINDS = {"HorizontalPodAutoscaler", "ScaledObject"}
"""Not waited for to the end: a scaler may need load, or a first scrape, before it says that it works."""
READ_KINDS = {"Pod": "v1", "Event": "v1"}
"""What the reasons are read from."""

_READY = Readiness(state="ready")


def readiness(obj: Object | None, around: Surroundings) -> Readiness:
    """How far an object is; None: it is not there yet."""
    if obj is None:
        return Readiness(state="waiting", reason="is not there yet")
    match obj["kind"]:
        case "Deployment" | "StatefulSet" | "LeaderWorkerSet":
            return _workload(obj, around)
        case "Job":
            return _job(obj, around)
        case "PersistentVolumeClaim":
            return _claim(obj, around)
        case "CustomResourceDefinition":
            return _conditioned(obj, "Established", "the API server does not serve it yet")
        case "HorizontalPodAutoscaler":
            return _autoscaler(obj)
        case "ScaledObject" | "Fleet":
            return _conditioned(obj, "Ready", "its controller has not said that it is ready")
        case "Namespace":
            is_ending = at(obj, "status", "phase") == "Terminating"
            return Readiness(state="failed", reason="is being deleted") if is_ending else _READY
        case _:
            return _READY


def pods_of(obj: Object, pods: Iterable[Object]) -> list[Object]:
    """The pods that a workload's selector finds."""
    ref = ref_of(obj)
    selector: Mapping[str, str] = at(obj, "spec", "selector", "matchLabels", default={})
    if ref.kind == "LeaderWorkerSet":
        selector = {"leaderworkerset.sigs.k8s.io/name": ref.name}
    return [
        pod
        for pod in pods
        if selector
        and pod["metadata"].get("namespace") == ref.namespace
        and all(labels(pod).get(name) == value for name, value in selector.items())
    ]


def _is_behind(obj: Object) -> bool:
    """Whether the controller has not seen the last change."""
    observed: int = at(obj, "status", "observedGeneration", default=0)
    return observed < int(obj["metadata"].get("generation") or 0)


def _workload(obj: Object, around: Surroundings) -> Readiness:
    desired = int(at(obj, "spec", "replicas", default=1))
    status = at(obj, "status", default={})
    ready = int(status.get("readyReplicas") or 0)

    def found(state: State, reason: str = "") -> Readiness:
        return Readiness(state=state, ready=ready, desired=desired, reason=reason)

    is_group = obj["kind"] == "LeaderWorkerSet"
    if not is_group and _is_behind(obj):
        return found("waiting", "its controller has not taken the change in")
    updated = int(status.get("updatedReplicas") or 0)
    facts = conditions(obj)
    if is_group:
        is_ready = ready >= desired and updated >= desired and (not desired or _holds(facts, "Available"))
    elif obj["kind"] == "StatefulSet":
        is_ready = updated >= desired and ready >= desired
    else:
        total, available = int(status.get("replicas") or 0), int(status.get("availableReplicas") or 0)
        is_ready = updated >= desired and available >= desired and total <= updated
    if is_ready:
        return found("ready")
    trouble = _pods_trouble(obj, around)
    progressing = facts.get("Progressing", {})
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return found("failed", trouble or f"{progressing.get('message', 'it made no progress in time')}")
    refused = facts.get("ReplicaFailure", {})
    if refused.get("status") == "True":
        return found("waiting", f"no pod can be made: {refused.get('message', '')}")
    return found("waiting", trouble or _count_words(updated, desired, int(status.get("replicas") or 0)))


def _count_words(updated: int, desired: int, total: int) -> str:
    if updated < desired:
        return f"{updated} of {desired} are of the new revision"
    return f"{total - updated} of the old revision still end" if total > updated else "not all answer ready yet"


def _holds(facts: Mapping[str, Mapping[str, object]], kind: str) -> bool:
    return facts.get(kind, {}).get("status") == "True"


def _pods_trouble(obj: Object, around: Surroundings) -> str:
    """The trouble that most of its pods share, and how many have it."""
    counts: dict[str, int] = {}
    for pod in pods_of(obj, around.pods):
        trouble = pod_trouble(pod, around.events)
        if trouble and trouble != "is being deleted":
            counts[trouble] = counts.get(trouble, 0) + 1
    if not counts:
        return ""
    worst = max(counts, key=lambda words: (counts[words], words))
    return worst if counts[worst] == 1 else f"{counts[worst]} pods: {worst}"


def _job(obj: Object, around: Surroundings) -> Readiness:
    facts = conditions(obj)
    if _holds(facts, "Complete"):
        return Readiness(state="ready", ready=1, desired=1)
    if _holds(facts, "Failed"):
        failed = facts["Failed"]
        words = ": ".join(filter(None, (str(failed.get("reason", "")), str(failed.get("message", "")))))
        return Readiness(state="failed", ready=0, desired=1, reason=words)
    if at(obj, "spec", "suspend"):
        return Readiness(state="waiting", ready=0, desired=1, reason="is suspended")
    name = {"batch.kubernetes.io/job-name": ref_of(obj).name}
    pods = [p for p in around.pods if name.items() <= dict(labels(p)).items()]
    troubles = [trouble for pod in pods if (trouble := pod_trouble(pod, around.events))]
    reason = troubles[0] if troubles else ("runs" if pods else latest_warning(around.events, _uid(obj)) or "starts")
    return Readiness(state="waiting", ready=0, desired=1, reason=reason.replace("does not answer ready yet", "works"))


def _claim(obj: Object, around: Surroundings) -> Readiness:
    match at(obj, "status", "phase", default="Pending"):
        case "Bound":
            return _READY
        case "Lost":
            return Readiness(state="failed", reason="its volume is gone: the data with it")
    if at(obj, "spec", "storageClassName", default="") in around.late_classes:
        return Readiness(state="ready", reason="is bound when the first pod uses it")
    warning = latest_warning(around.events, _uid(obj))
    waits = any(
        event.get("reason") == "WaitForFirstConsumer" and at(event, "involvedObject", "uid") == _uid(obj)
        for event in around.events
    )
    if waits and not warning:
        return Readiness(state="ready", reason="is bound when the first pod uses it")
    return Readiness(state="waiting", reason=warning or "no volume is bound yet")


def _autoscaler(obj: Object) -> Readiness:
    facts = conditions(obj)
    for kind in ("AbleToScale", "ScalingActive"):
        fact = facts.get(kind, {})
        if fact.get("status") == "False" and fact.get("reason") != "ScalingDisabled":
            return Readiness(state="waiting", reason=f"{fact.get('reason', '')}: {fact.get('message', '')}")
    if "ScalingActive" not in facts:
        return Readiness(state="waiting", reason="has not looked at its metrics yet")
    return _READY


def _conditioned(obj: Object, kind: str, unsaid: str) -> Readiness:
    facts = conditions(obj)
    if obj["kind"] == "Fleet" and _is_behind(obj):
        return Readiness(state="waiting", reason="the controller has not taken the change in")
    is_open = obj["kind"] == "Fleet" and facts.get("Applied", {}).get("status") == "False"
    fact = facts.get("Applied" if is_open else kind, {})
    if fact.get("status") == "True":
        return _READY
    words = ": ".join(filter(None, (str(fact.get("reason", "")), str(fact.get("message", "")))))
    return Readiness(state="waiting", reason=words or unsaid)


def _uid(obj: Object) -> str:
    return str(at(obj, "metadata", "uid", default=""))
