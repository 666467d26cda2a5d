"""Objects as an API server gives them, for the tests of this folder."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
LABELS = {"penstock.dev/fleet": "demo", "app.kubernetes.io/managed-by": "penstock"}


def live(kind: str, name: str = "x", *, api_version: str = "v1", namespace: str | None = "llm", **fields: Any) -> Json:
    """An object that we applied."""
    owned = {"f:spec": {f"f:{field}": {} for field in fields.get("spec", {})}}
    entry = {"manager": "penstock", "operation": "Apply", "apiVersion": api_version, "fieldsV1": owned}
    place = {"namespace": namespace} if namespace is not None else {}
    metadata = {
        "name": name,
        **place,
        "labels": dict(LABELS),
        "uid": f"uid-{name}",
        "resourceVersion": "7",
        "generation": 2,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "managedFields": [entry],
        **fields.pop("metadata", {}),
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def deployment(**status: Any) -> Json:
    """Two replicas wanted."""
    full = {"observedGeneration": 2, **status}
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "x"}}, "template": {"spec": {}}}
    return live("Deployment", api_version="apps/v1", spec=spec, status=full)


def condition(kind: str, status: str = "True", reason: str = "", message: str = "") -> Json:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def pod(name: str = "p", **status: Any) -> Json:
    found = live("Pod", name, spec={"containers": [{"name": "engine"}], "nodeName": "n1"}, status=status)
    found["metadata"]["labels"] = {"app": "x", **LABELS}
    return found


def waiting(reason: str, message: str = "", **more: Any) -> Json:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"containerStatuses": [{"name": "engine", "image": "img:1", "state": state, **more}]}


def warning(uid: str, reason: str, message: str, time: str = "2026-01-01T00:00:00Z") -> Json:
    about = {"uid": uid, "kind": "Pod", "name": "p"}
    metadata = {"name": f"{uid}.{reason}.{time}", "namespace": "llm"}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": metadata,
        "type": "Warning",
        "reason": reason,
        "message": message,
        "lastTimestamp": time,
        "involvedObject": about,
    }
