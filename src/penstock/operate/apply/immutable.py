"""What cannot be changed once it is there, and what to do instead. Pure.

Sources: the Kubernetes API conventions and the validation of each kind: a Job's template, a Deployment's selector, all
of a claim but its growing size, a binding's role, a storage class's parameters, a priority class's value.
"""

from __future__ import annotations

from penstock.operate.apply.objects import Object, Ref, conditions

__all__ = ["advice", "has_failed", "is_finished", "is_replaceable"]

_REPLACEABLE = {"RoleBinding", "ClusterRoleBinding", "StorageClass", "PriorityClass", "ResourceClaimTemplate"}
"""Nothing runs in these: to delete and make them again costs nobody anything."""


def is_finished(job: Object) -> bool:
    """Whether a Job is done or has failed for good."""
    found = conditions(job)
    return any(found.get(kind, {}).get("status") == "True" for kind in ("Complete", "Failed"))


def has_failed(live: Object) -> bool:
    """Whether it is a Job that failed for good."""
    return live["kind"] == "Job" and conditions(live).get("Failed", {}).get("status") == "True"


def is_replaceable(live: Object) -> bool:
    """Whether `--replace` may delete it and make it again."""
    return live["kind"] in _REPLACEABLE or (live["kind"] == "Job" and is_finished(live))


def advice(ref: Ref, live: Object, message: str) -> str:
    """What to do about a change that the API server refuses; empty where it is not one of a fixed field."""
    words = message.lower()
    fixed = any(part in words for part in ("immutable", "forbidden", "cannot change", "may not change"))
    place = f" -n {ref.namespace}" if ref.namespace else ""
    if not fixed:
        return ""
    if is_replaceable(live):
        return "it cannot be changed in place: --replace deletes it and makes it again"
    match ref.kind:
        case "Job":
            return "it still runs and cannot be changed: wait until it is done, then apply again with --replace"
        case "Deployment" | "LeaderWorkerSet" | "StatefulSet":
            delete = f"kubectl delete {ref.kind.lower()} {ref.name}{place} --cascade=orphan"
            return f"its selector is fixed for life: `{delete}` keeps its pods running, then apply again"
        case "PersistentVolumeClaim":
            return (
                "a claim only grows, and only where its StorageClass allows it: keep the old size and mode, or give "
                "the model another volume (`storage.claim`) and delete this one when it is unused"
            )
        case _:
            return f"`kubectl delete {ref.kind.lower()} {ref.name}{place}`, then apply again"
