"""Objects as tables, the form that `kubectl get` prints. Pure.

Guarantees: the columns of a real server for the kinds below, those of a custom resource's definition, and Name and Age
for the rest. Source: `pkg/printers/internalversion` and `apiextensions-apiserver` `tableconvertor`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from penstock.operate.testing.kinds import Resource

__all__ = ["duration", "json_path", "table_of"]

Json = dict[str, Any]
_UNKNOWN = "<unknown>"
_NONE = "<none>"


class Column(NamedTuple):
    """One column: its head, type, whether only `-o wide` shows it, and its cell."""

    name: str
    cell: Callable[[Json, float], Any]
    type: str = "string"
    priority: int = 0


def duration(seconds: float) -> str:
    """A span as `kubectl` writes it: `5s`, `3m20s`, `2h`, `5d3h`, `40d`, `2y10d`."""
    s = int(seconds)
    if s < -1:
        return "<invalid>"
    if s < 120:
        return f"{max(s, 0)}s"
    minutes, hours, days = s // 60, s // 3600, s // 86400
    if minutes < 10:
        return f"{minutes}m{s % 60}s" if s % 60 else f"{minutes}m"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 730:
        return f"{days}d"
    years = days // 365
    return f"{years}y{days % 365}d" if years < 8 and days % 365 else f"{years}y"


def _since(text: Any, now: float) -> str:
    if not text:
        return _UNKNOWN
    return duration(now - datetime.fromisoformat(str(text)).timestamp())


def _age(obj: Json, now: float) -> str:
    return _since(obj["metadata"].get("creationTimestamp"), now)


def json_path(obj: Any, path: str) -> Any:
    """What a simple JSONPath finds: fields, indexes, `[*]` and `[?(@.type=="Ready")]`; None where nothing is."""
    found = [obj]
    for name, quoted, index, key, wanted in re.findall(
        r"\.([A-Za-z0-9_-]+)|\['?([^'\]?@]+?)'?\]|\[(\d+|\*)\]|\[\?\(@\.([\w.]+)\s*==\s*['\"]([^'\"]*)['\"]\)\]", path
    ):
        following: list[Any] = []
        for value in found:
            if name or (quoted and not quoted.isdigit() and quoted != "*"):
                field = (name or quoted).replace("\\.", ".")
                if isinstance(value, dict) and field in value:
                    following.append(value[field])
            elif isinstance(value, list) and key:
                following += [item for item in value if json_path(item, "." + key) == wanted]
            elif isinstance(value, list):
                place = index or quoted
                following += value if place == "*" else value[int(place) : int(place) + 1]
        found = following
    return found[0] if found else None


def _at(*path: str, default: Any = _NONE) -> Callable[[Json, float], Any]:
    def cell(obj: Json, _now: float) -> Any:
        found = json_path(obj, "".join(f".{name}" for name in path))
        return default if found is None or found == "" else found

    return cell


def _ratio(done: tuple[str, ...], wanted: tuple[str, ...]) -> Callable[[Json, float], Any]:
    return lambda obj, now: f"{_at(*done, default=0)(obj, now)}/{_at(*wanted, default=0)(obj, now)}"


def _ready_containers(obj: Json, _now: float) -> str:
    statuses = (obj.get("status") or {}).get("containerStatuses") or []
    return f"{sum(bool(each.get('ready')) for each in statuses)}/{len((obj.get('spec') or {}).get('containers') or [])}"


def _pod_status(obj: Json, _now: float) -> str:
    status = obj.get("status") or {}
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for each in status.get("containerStatuses") or ():
        state = each.get("state") or {}
        for kind in ("waiting", "terminated"):
            if reason := (state.get(kind) or {}).get("reason"):
                return str(reason)
    return str(status.get("reason") or status.get("phase") or _UNKNOWN)


def _restarts(obj: Json, _now: float) -> str:
    statuses = (obj.get("status") or {}).get("containerStatuses") or []
    return str(sum(each.get("restartCount", 0) for each in statuses))


def _ports(obj: Json, _now: float) -> str:
    def one(port: Json) -> str:
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        return f"{port['port']}{node}/{port.get('protocol', 'TCP')}"

    return ",".join(one(port) for port in (obj.get("spec") or {}).get("ports") or ()) or _NONE


def _count(*fields: str) -> Callable[[Json, float], int]:
    return lambda obj, _now: sum(len(obj.get(field) or ()) for field in fields)


def _node_status(obj: Json, _now: float) -> str:
    ready = json_path(obj, '.status.conditions[?(@.type=="Ready")].status')
    words = {"True": "Ready", "False": "NotReady"}.get(str(ready), "Unknown")
    return words + (",SchedulingDisabled" if (obj.get("spec") or {}).get("unschedulable") else "")


def _job_status(obj: Json, _now: float) -> str:
    for kind in ("Complete", "Failed", "Suspended"):
        if json_path(obj, f'.status.conditions[?(@.type=="{kind}")].status') == "True":
            return kind
    return "Running"


def _modes(obj: Json, _now: float) -> str:
    short = {
        "ReadWriteOnce": "RWO",
        "ReadOnlyMany": "ROX",
        "ReadWriteMany": "RWX",
        "ReadWriteOncePod": "RWOP",
    }
    modes = (obj.get("status") or {}).get("accessModes") or ()
    return ",".join(short.get(mode, mode) for mode in modes)


def _object_of_event(obj: Json, _now: float) -> str:
    found = obj.get("involvedObject") or {}
    return f"{str(found.get('kind', '')).lower()}/{found.get('name', '')}"


_NAME = Column("Name", lambda obj, _now: obj["metadata"]["name"])
_AGE = Column("Age", _age)


def _of_spec(*names: str) -> list[Column]:
    return [Column(name, _at("spec", name[0].lower() + name[1:])) for name in names]


_COLUMNS: dict[tuple[str, str], list[Column]] = {
    ("", "configmaps"): [_NAME, Column("Data", _count("data", "binaryData"), "integer"), _AGE],
    ("", "events"): [
        Column("Last Seen", lambda obj, now: _since(obj.get("lastTimestamp") or obj.get("eventTime"), now)),
        Column("Type", _at("type")),
        Column("Reason", _at("reason")),
        Column("Object", _object_of_event),
        Column("Message", _at("message")),
    ],
    ("", "namespaces"): [_NAME, Column("Status", _at("status", "phase")), _AGE],
    ("", "nodes"): [
        _NAME,
        Column("Status", _node_status),
        Column("Roles", lambda _obj, _now: _NONE),
        _AGE,
        Column("Version", _at("status", "nodeInfo", "kubeletVersion", default="v1.36.0")),
    ],
    ("", "persistentvolumeclaims"): [
        _NAME,
        Column("Status", _at("status", "phase")),
        Column("Volume", _at("spec", "volumeName", default="")),
        Column("Capacity", _at("status", "capacity", "storage", default="")),
        Column("Access Modes", _modes),
        Column("StorageClass", _at("spec", "storageClassName", default="")),
        Column("VolumeAttributesClass", _at("spec", "volumeAttributesClassName", default="<unset>")),
        _AGE,
    ],
    ("", "pods"): [
        _NAME,
        Column("Ready", _ready_containers),
        Column("Status", _pod_status),
        Column("Restarts", _restarts),
        _AGE,
        Column("IP", _at("status", "podIP"), priority=1),
        Column("Node", _at("spec", "nodeName"), priority=1),
        Column("Nominated Node", _at("status", "nominatedNodeName"), priority=1),
        Column("Readiness Gates", lambda _obj, _now: _NONE, priority=1),
    ],
    ("", "secrets"): [_NAME, Column("Type", _at("type")), Column("Data", _count("data"), "integer"), _AGE],
    ("", "services"): [
        _NAME,
        *_of_spec("Type"),
        Column("Cluster-IP", _at("spec", "clusterIP")),
        Column("External-IP", lambda _obj, _now: _NONE),
        Column("Port(s)", _ports),
        _AGE,
    ],
    ("apiextensions.k8s.io", "customresourcedefinitions"): [
        _NAME,
        Column("Created At", _at("metadata", "creationTimestamp"), "date"),
    ],
    ("apps", "daemonsets"): [
        _NAME,
        Column("Desired", _at("status", "desiredNumberScheduled", default=0), "integer"),
        Column("Current", _at("status", "currentNumberScheduled", default=0), "integer"),
        Column("Ready", _at("status", "numberReady", default=0), "integer"),
        _AGE,
    ],
    ("apps", "deployments"): [
        _NAME,
        Column("Ready", _ratio(("status", "readyReplicas"), ("spec", "replicas"))),
        Column("Up-to-date", _at("status", "updatedReplicas", default=0), "integer"),
        Column("Available", _at("status", "availableReplicas", default=0), "integer"),
        _AGE,
    ],
    ("apps", "replicasets"): [
        _NAME,
        Column("Desired", _at("spec", "replicas", default=0), "integer"),
        Column("Current", _at("status", "replicas", default=0), "integer"),
        Column("Ready", _at("status", "readyReplicas", default=0), "integer"),
        _AGE,
    ],
    ("apps", "statefulsets"): [
        _NAME,
        Column("Ready", _ratio(("status", "readyReplicas"), ("spec", "replicas"))),
        _AGE,
    ],
    ("autoscaling", "horizontalpodautoscalers"): [
        _NAME,
        Column("Reference", lambda obj, _now: "{kind}/{name}".format(**obj["spec"]["scaleTargetRef"])),
        Column("Targets", lambda _obj, _now: _UNKNOWN),
        Column("MinPods", _at("spec", "minReplicas", default="<unset>")),
        Column("MaxPods", _at("spec", "maxReplicas"), "integer"),
        Column("Replicas", _at("status", "currentReplicas", default=0), "integer"),
        _AGE,
    ],
    ("batch", "jobs"): [
        _NAME,
        Column("Status", _job_status),
        Column("Completions", _ratio(("status", "succeeded"), ("spec", "completions"))),
        Column("Duration", lambda obj, now: _since((obj.get("status") or {}).get("startTime"), now)),
        _AGE,
    ],
    ("policy", "poddisruptionbudgets"): [
        _NAME,
        Column("Min Available", _at("spec", "minAvailable", default="N/A")),
        Column("Max Unavailable", _at("spec", "maxUnavailable", default="N/A")),
        Column("Allowed Disruptions", _at("status", "disruptionsAllowed", default=0), "integer"),
        _AGE,
    ],
}


def _columns_of(resource: Resource) -> list[Column]:
    if not resource.crd:
        return _COLUMNS.get(resource.group_plural, [_NAME, _AGE])
    if not resource.columns:
        return [_NAME, _AGE]
    return [_NAME, *(_custom_column(column) for column in resource.columns)]


def _custom_column(column: Json) -> Column:
    def cell(obj: Json, now: float) -> Any:
        found = json_path(obj, column["jsonPath"])
        if column["type"] == "date":
            return _since(found, now)
        if found is None:
            return None if column["type"] in ("integer", "number", "boolean") else ""
        return found if column["type"] in ("integer", "number", "boolean") else _text(found)

    return Column(column["name"], cell, column["type"], column.get("priority", 0))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)


def table_of(resource: Resource, body: Json, now: float, include: str) -> Json:
    """An object or a list as `meta.k8s.io/v1` Table. `include`: `None`, `Metadata` or `Object`, in each row."""
    is_list = body["kind"] == resource.kind_of_list and "items" in body
    items = body["items"] if is_list else [body]
    columns = _columns_of(resource)
    heads = [
        {
            "name": column.name,
            "type": column.type,
            "format": "name" if column.name == "Name" else "",
            "description": "",
            "priority": column.priority,
        }
        for column in columns
    ]
    rows = [{"cells": [c.cell(obj, now) for c in columns], "object": _included(obj, include)} for obj in items]
    metadata = body["metadata"] if is_list else {"resourceVersion": body["metadata"].get("resourceVersion", "")}
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": heads,
        "rows": rows,
    }


def _included(obj: Json, include: str) -> Any:
    match include:
        case "None":
            return None
        case "Object":
            return obj
        case _:
            return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
