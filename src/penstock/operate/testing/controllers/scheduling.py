"""The scheduler: which node takes a pod, and in the scheduler's words why none does. Pure.

Looks at: cordons, taints, node selectors and required affinity, anti-affinity by topology, spread constraints that may
not be broken, resources (GPUs and MIG slices are resources like others), unbound claims, priority with preemption.
Leaves out: preferred terms, inter-pod affinity, volumes' topology, device claims.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from penstock.operate.testing.controllers.world import World, with_condition
from penstock.operate.testing.quantities import amount_of
from penstock.operate.testing.selectors import Requirement, label_selector_matches

__all__ = ["requests_of", "schedule"]

Json = dict[str, Any]
_UNHELPED = ("node(s)", "Too many")
"""How reasons begin that no preemption can help with; what is insufficient, it might."""


def requests_of(pod: Json) -> dict[str, Fraction]:
    """What a pod asks of a node: the sum of its containers, or the largest of its init containers."""
    total: dict[str, Fraction] = {}
    for container in pod["spec"].get("containers") or ():
        for name, amount in ((container.get("resources") or {}).get("requests") or {}).items():
            total[name] = total.get(name, Fraction(0)) + amount_of(amount)
    for container in pod["spec"].get("initContainers") or ():
        for name, amount in ((container.get("resources") or {}).get("requests") or {}).items():
            if container.get("restartPolicy") == "Always":
                total[name] = total.get(name, Fraction(0)) + amount_of(amount)
            else:
                total[name] = max(total.get(name, Fraction(0)), amount_of(amount))
    return total


def _is_on(pod: Json, node: str) -> bool:
    return pod["spec"].get("nodeName") == node and pod["status"].get("phase") not in ("Succeeded", "Failed")


def _priority(world: World, pod: Json) -> int:
    name = pod["spec"].get("priorityClassName")
    found = world.get("priorityclasses", "scheduling.k8s.io", "", name) if name else None
    return int(found["value"]) if found else int(pod["spec"].get("priority", 0))


def schedule(world: World) -> None:
    """Binds what fits, highest priority first, then oldest; tells of the rest why not."""
    waiting = [
        pod
        for pod in world.all("pods")
        if not pod["spec"].get("nodeName")
        and not pod["metadata"].get("deletionTimestamp")
        and not pod["spec"].get("schedulingGates")
    ]
    waiting.sort(
        key=lambda pod: (-_priority(world, pod), pod["metadata"]["creationTimestamp"], pod["metadata"]["name"])
    )
    for pod in waiting:
        _place(world, pod)


def _place(world: World, pod: Json) -> None:
    nodes = world.all("nodes")
    pods = world.all("pods")
    blocked = _unbound_claim(world, pod)
    if blocked:
        _tell_pending(world, pod, f"0/{len(nodes)} nodes are available: {blocked}.")
        return
    if not nodes:
        _tell_pending(world, pod, "no nodes available to schedule pods")
        return
    reasons = {node["metadata"]["name"]: list(_reasons(pod, node, nodes, pods)) for node in nodes}
    fitting = [node for node in nodes if not reasons[node["metadata"]["name"]]]
    if fitting:
        best = min(fitting, key=lambda node: (_likeness(pod, node, pods), node["metadata"]["name"]))
        status = with_condition(pod["status"], world.time, "PodScheduled", "True", "", "")
        bound = world.update("pods", "", pod, spec=pod["spec"] | {"nodeName": best["metadata"]["name"]})
        world.set_status("pods", "", bound, status)
        words = f"Successfully assigned {pod['metadata']['namespace']}/{pod['metadata']['name']} to "
        name = best["metadata"]["name"]
        world.event(pod, "Scheduled", words + name, kind="Normal", component="default-scheduler")
        return
    if not _preempt(world, pod, nodes, pods):
        _tell_pending(world, pod, _message(reasons))


def _message(reasons: Mapping[str, list[str]]) -> str:
    counts = Counter(reason for found in reasons.values() for reason in found)
    total = len(reasons)
    said = ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))
    hopeless = sum(any(reason.startswith(_UNHELPED) for reason in found) for found in reasons.values())
    rest = [
        *([f"{hopeless} Preemption is not helpful for scheduling"] if hopeless else []),
        *([f"{total - hopeless} No preemption victims found for incoming pod"] if total - hopeless else []),
    ]
    start = f"0/{total} nodes are available: "
    return f"{start}{said}. preemption: {start}{', '.join(sorted(rest))}."


def _tell_pending(world: World, pod: Json, message: str) -> None:
    status = with_condition(pod["status"], world.time, "PodScheduled", "False", "Unschedulable", message)
    world.set_status("pods", "", pod, status)
    world.event(pod, "FailedScheduling", message, component="default-scheduler")


def _unbound_claim(world: World, pod: Json) -> str:
    namespace = pod["metadata"]["namespace"]
    for volume in pod["spec"].get("volumes") or ():
        name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if not name:
            continue
        claim = world.get("persistentvolumeclaims", "", namespace, name)
        if claim is None:
            return f'persistentvolumeclaim "{name}" not found'
        if claim["status"].get("phase") != "Bound" and not _waits_for_consumer(world, claim):
            return "pod has unbound immediate PersistentVolumeClaims"
    return ""


def _waits_for_consumer(world: World, claim: Json) -> bool:
    name = claim["spec"].get("storageClassName", "")
    found = world.get("storageclasses", "storage.k8s.io", "", name)
    return found is not None and found.get("volumeBindingMode") == "WaitForFirstConsumer"


def _reasons(pod: Json, node: Json, nodes: list[Json], pods: list[Json]) -> Iterator[str]:
    """Why this node cannot take it: the first filter that says no, and for resources each one that is short."""
    if (node.get("spec") or {}).get("unschedulable"):
        yield "node(s) were unschedulable"
        return
    for taint in (node.get("spec") or {}).get("taints") or ():
        if taint.get("effect") in ("NoSchedule", "NoExecute") and not _tolerates(pod, taint):
            yield f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
            return
    if not _selects(pod, node):
        yield "node(s) didn't match Pod's node affinity/selector"
        return
    short = list(_short(pod, node, pods))
    if short:
        yield from short
        return
    if _is_averse(pod, node, nodes, pods):
        yield "node(s) didn't match pod anti-affinity rules"
    elif _is_lopsided(pod, node, nodes, pods):
        yield "node(s) didn't match pod topology spread constraints"


def _tolerates(pod: Json, taint: Json) -> bool:
    for each in pod["spec"].get("tolerations") or ():
        if each.get("effect") not in (None, "", taint.get("effect")):
            continue
        if each.get("operator", "Equal") == "Exists":
            if each.get("key") in (None, "", taint["key"]):
                return True
        elif each.get("key") == taint["key"] and each.get("value", "") == taint.get("value", ""):
            return True
    return False


_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "absent"}


def _term_matches(term: Json, node: Json) -> bool:
    labels = node["metadata"].get("labels") or {}
    for each in term.get("matchExpressions") or ():
        if each["operator"] in ("Gt", "Lt"):
            value, bound = labels.get(each["key"]), int(each["values"][0])
            if value is None or not (int(value) > bound if each["operator"] == "Gt" else int(value) < bound):
                return False
        elif not Requirement(each["key"], _OPERATORS[each["operator"]], tuple(each.get("values") or ())).matches(
            labels
        ):
            return False
    for each in term.get("matchFields") or ():
        if each["key"] == "metadata.name" and node["metadata"]["name"] not in (each.get("values") or ()):
            return False
    return bool(term.get("matchExpressions") or term.get("matchFields"))


def _selects(pod: Json, node: Json) -> bool:
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in (pod["spec"].get("nodeSelector") or {}).items()):
        return False
    affinity = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    return affinity is None or any(_term_matches(term, node) for term in affinity["nodeSelectorTerms"])


def _short(pod: Json, node: Json, pods: list[Json]) -> Iterator[str]:
    allocatable = (node.get("status") or {}).get("allocatable") or {}
    there = [each for each in pods if _is_on(each, node["metadata"]["name"])]
    if "pods" in allocatable and len(there) + 1 > int(amount_of(allocatable["pods"])):
        yield "Too many pods"
    for name, amount in sorted(requests_of(pod).items()):
        used = sum((requests_of(each).get(name, Fraction(0)) for each in there), Fraction(0))
        if amount and used + amount > amount_of(allocatable.get(name, "0")):
            yield f"Insufficient {name}"


def _domain(node: Json, key: str) -> str | None:
    found = (node["metadata"].get("labels") or {}).get(key)
    return found if found is not None or key != "kubernetes.io/hostname" else node["metadata"]["name"]


def _neighbours(key: str, node: Json, nodes: list[Json], pods: list[Json]) -> list[Json]:
    """The pods in the same domain of a topology as `node`."""
    domain = _domain(node, key)
    names = {each["metadata"]["name"] for each in nodes if domain is not None and _domain(each, key) == domain}
    return [pod for pod in pods if any(_is_on(pod, name) for name in names)]


def _is_averse(pod: Json, node: Json, nodes: list[Json], pods: list[Json]) -> bool:
    def terms(of: Json) -> list[Json]:
        found = (of["spec"].get("affinity") or {}).get("podAntiAffinity") or {}
        return list(found.get("requiredDuringSchedulingIgnoredDuringExecution") or ())

    def hits(term: Json, one: Json, other: Json) -> bool:
        same = one["metadata"]["namespace"] == other["metadata"]["namespace"]
        return same and label_selector_matches(term.get("labelSelector"), other["metadata"].get("labels"))

    for term in terms(pod):
        if any(hits(term, pod, each) for each in _neighbours(term["topologyKey"], node, nodes, pods)):
            return True
    return any(
        hits(term, each, pod)
        for each in pods
        for term in terms(each)
        if each in _neighbours(term["topologyKey"], node, nodes, pods)
    )


def _is_lopsided(pod: Json, node: Json, nodes: list[Json], pods: list[Json]) -> bool:
    for each in pod["spec"].get("topologySpreadConstraints") or ():
        if each["whenUnsatisfiable"] != "DoNotSchedule":
            continue
        key = each["topologyKey"]
        eligible = [other for other in nodes if _domain(other, key) is not None and _selects(pod, other)]
        if _domain(node, key) is None:
            return True

        def count(other: Json, each: Json = each, key: str = key) -> int:
            near = _neighbours(key, other, nodes, pods)
            return sum(label_selector_matches(each.get("labelSelector"), one["metadata"].get("labels")) for one in near)

        if count(node) + 1 - min(count(other) for other in eligible) > each["maxSkew"]:
            return True
    return False


def _likeness(pod: Json, node: Json, pods: list[Json]) -> int:
    """How many pods like this one the node has: fewer is better, which spreads replicas."""
    labels = pod["metadata"].get("labels") or {}
    return sum(
        _is_on(each, node["metadata"]["name"]) and (each["metadata"].get("labels") or {}) == labels for each in pods
    )


def _preempt(world: World, pod: Json, nodes: list[Json], pods: list[Json]) -> bool:
    """Ends pods of lower priority where that makes room; they go with their grace, and the pod waits for that."""
    mine = _priority(world, pod)
    if pod["spec"].get("preemptionPolicy") == "Never" or pod["status"].get("nominatedNodeName"):
        return bool(pod["status"].get("nominatedNodeName"))
    for node in nodes:
        name = node["metadata"]["name"]
        lower = [each for each in pods if _is_on(each, name) and _priority(world, each) < mine]
        victims: list[Json] = []
        for each in sorted(lower, key=lambda each: (_priority(world, each), each["metadata"]["name"])):
            victims.append(each)
            if not list(_reasons(pod, node, nodes, [other for other in pods if other not in victims])):
                for victim in victims:
                    if not victim["metadata"].get("deletionTimestamp"):
                        words = f"Preempted by pod {pod['metadata']['uid']} on node {name}"
                        world.event(victim, "Preempted", words, kind="Normal", component="default-scheduler")
                        world.delete("pods", "", victim)
                world.set_status("pods", "", pod, pod["status"] | {"nominatedNodeName": name})
                return True
    return False
