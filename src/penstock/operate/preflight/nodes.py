"""The GPUs of a cluster: which nodes have them, what is free, and why a replica would not land there. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock.operate.apply.objects import FLEET_LABEL, Object, at, conditions, labels
from penstock.spec import parse_quantity

__all__ = ["Demand", "Room", "driver_major", "gpu_nodes", "misfit", "number", "place", "pod_requests", "rooms_of"]

_SICK = ("GpuUnhealthy", "GPUUnhealthy", "GpuProblem", "NvidiaGpuXidError", "GpuEccError")
"""Node conditions by which problem detectors say that a GPU is broken (R7); any of them True keeps pods off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """One node and what is left of it."""

    name: str
    node: Object
    free: Mapping[str, float]
    """By resource, bytes and CPUs included."""
    allocatable: Mapping[str, float]
    why_not: str = ""
    """What keeps every pod off: cordoned, not ready, a broken GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one pod asks of a node."""

    requests: Mapping[str, float]
    node_selector: Mapping[str, str]
    tolerations: Sequence[Mapping[str, Any]]


def rooms_of(nodes: Iterable[Object], pods: Iterable[Object], fleet: str) -> list[Room]:
    """Every node with what is free. Pods of `fleet` itself count as gone: it is what would be applied anew."""
    taken: dict[str, dict[str, float]] = {}
    for pod in pods:
        node = at(pod, "spec", "nodeName")
        is_over = at(pod, "status", "phase") in ("Succeeded", "Failed")
        if node is None or is_over or labels(pod).get(FLEET_LABEL) == fleet:
            continue
        held = taken.setdefault(node, {})
        for name, amount in pod_requests(at(pod, "spec", default={})).items():
            held[name] = held.get(name, 0.0) + amount
    return [_room(node, taken.get(node["metadata"]["name"], {})) for node in nodes]


def _room(node: Object, taken: Mapping[str, float]) -> Room:
    allocatable = {name: number(text) for name, text in at(node, "status", "allocatable", default={}).items()}
    free = {name: amount - taken.get(name, 0.0) for name, amount in allocatable.items()}
    return Room(name=node["metadata"]["name"], node=node, free=free, allocatable=allocatable, why_not=_closed(node))


def _closed(node: Object) -> str:
    if at(node, "spec", "unschedulable"):
        return "it is cordoned"
    found = conditions(node)
    if found.get("Ready", {}).get("status", "True") != "True":
        return "it is not ready"
    sick = next((name for name in _SICK if found.get(name, {}).get("status") == "True"), None)
    return f"its condition {sick} is true" if sick else ""


def pod_requests(spec: Mapping[str, Any]) -> dict[str, float]:
    """What a pod is scheduled by: its containers together, or its largest init container."""
    total: dict[str, float] = {}
    for container in at(spec, "containers", default=()):
        for name, amount in _requests(container).items():
            total[name] = total.get(name, 0.0) + amount
    for container in at(spec, "initContainers", default=()):
        for name, amount in _requests(container).items():
            total[name] = max(total.get(name, 0.0), amount)
    return total


def _requests(container: Mapping[str, Any]) -> dict[str, float]:
    said = {**at(container, "resources", "limits", default={}), **at(container, "resources", "requests", default={})}
    return {name: number(text) for name, text in said.items()}


def number(text: object) -> float:
    """What a quantity means; 0 for what is none."""
    try:
        return float(parse_quantity(str(text)))
    except ValueError:
        return 0.0


def gpu_nodes(rooms: Iterable[Room], resource: str) -> list[Room]:
    """Nodes whose device plugin counts this resource."""
    return [room for room in rooms if room.allocatable.get(resource, 0) > 0]


def misfit(room: Room, demand: Demand) -> str:
    """Why a pod cannot be on a node even if it were empty; empty where it can."""
    if room.why_not:
        return room.why_not
    own = labels(room.node)
    for name, value in demand.node_selector.items():
        if own.get(name) != value:
            return f"it has no label {name}={value}"
    for taint in at(room.node, "spec", "taints", default=()):
        if taint.get("effect") != "PreferNoSchedule" and not any(_stands(t, taint) for t in demand.tolerations):
            return f"its taint {taint['key']} is not tolerated"
    for name, amount in demand.requests.items():
        if room.allocatable.get(name, 0.0) < amount:
            return f"it has {_shown(name, room.allocatable.get(name, 0.0))} of {_shown(name, amount)} {name}"
    return ""


def _stands(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return bool(toleration.get("key") == taint["key"]) and toleration.get("value", "") == taint.get("value", "")


def _shown(name: str, amount: float) -> str:
    return f"{amount / (1 << 30):.0f} GiB" if name in ("memory", "ephemeral-storage") else f"{amount:g}"


def place(rooms: Sequence[Room], demands: Sequence[Demand]) -> tuple[list[int], list[Room]]:
    """Places pods one after the other on the fullest node that takes them; returns places left out, and what is left.

    Pods that ask most come first, so that they are not the ones left out.
    """
    left = list(rooms)
    order = sorted(range(len(demands)), key=lambda n: -max(demands[n].requests.values(), default=0.0))
    homeless: list[int] = []
    for number in order:
        demand = demands[number]
        fitting = [
            place
            for place, room in enumerate(left)
            if not misfit(room, demand) and all(room.free.get(n, 0.0) >= a for n, a in demand.requests.items())
        ]
        if not fitting:
            homeless.append(number)
            continue
        best = min(fitting, key=lambda place: (sum(_gpus(left[place].free)), left[place].name))
        room = left[best]
        free = {name: amount - demand.requests.get(name, 0.0) for name, amount in room.free.items()}
        left[best] = Room(name=room.name, node=room.node, free=free, allocatable=room.allocatable, why_not=room.why_not)
    return sorted(homeless), left


def _gpus(free: Mapping[str, float]) -> list[float]:
    return [amount for name, amount in free.items() if "/" in name]


def driver_major(node: Object) -> int | None:
    """The branch of a node's GPU driver, as feature discovery labels it; None where it says nothing."""
    own = labels(node)
    text = own.get("nvidia.com/cuda.driver.major") or own.get("nvidia.com/cuda.driver-version.major") or ""
    return int(text) if text.isdigit() else None
