"""Rules on pods that do not start: what the scheduler, the quota and the kubelet say, told apart. Pure.

Messages are the scheduler's (`0/5 nodes are available: …`), the API server's (`exceeded quota`) and the kubelet's.
GPUs and taints have rules of their own in `cluster`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from penstock.operate.doctor.case import Case
from penstock.operate.doctor.evidence import Node
from penstock.operate.doctor.findings import Hit, Rule, Severity
from penstock.operate.doctor.pods import Pod
from penstock.operate.doctor.reports import about, condition, events, objects, shown, statuses, unscheduled, words

__all__ = ["RULES"]

_NO_GPU = re.compile(r"insufficient (nvidia|amd)\.com/", re.IGNORECASE)
_ROOM = re.compile(r"insufficient (cpu|memory|ephemeral-storage|hugepages-\S+|pods)|(too many pods)", re.IGNORECASE)
_VOLUME = (
    (r"persistentvolumeclaim \"?([\w.-]+)\"? not found", "the claim it mounts is not there"),
    (r"unbound immediate persistentvolumeclaims", "the claim it mounts is not bound"),
    (
        r"volume node affinity conflict|no available volume zone",
        "its volume is in another zone than the nodes that fit",
    ),
    (r"didn't find available persistent volumes", "no volume fits its claim"),
    (r"exceed max volume count", "no node that fits can attach one more volume"),
)
_SPREAD = re.compile(r"didn't (match|satisfy) (pod topology spread|(existing )?pods? anti-affinity)", re.IGNORECASE)
_SECRET_GONE = re.compile(r"secrets? \"?([\w./-]+)\"? not found", re.IGNORECASE)
_OLD_DRIVER = re.compile(r"unsatisfied condition: cuda|driver version is insufficient", re.IGNORECASE)
_NOT_CREATED = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError")


def _no_room(case: Case) -> Iterator[Hit]:
    for node, what, message in unscheduled(case):
        found = _ROOM.search(message)
        if found and not _NO_GPU.search(message):
            lacking = (found.group(1) or "pods").lower()
            yield Hit(
                where=node.where,
                message=f"{what} is not scheduled: no node has enough {lacking} free",
                evidence=shown(message),
            )


def _no_volume(case: Case) -> Iterator[Hit]:
    for node, what, message in unscheduled(case):
        meaning = next((m for pattern, m in _VOLUME if re.search(pattern, message, re.IGNORECASE)), "")
        if meaning:
            yield Hit(where=node.where, message=f"{what} is not scheduled: {meaning}", evidence=shown(message))


def _no_spread(case: Case) -> Iterator[Hit]:
    for node, what, message in unscheduled(case):
        if _SPREAD.search(message) and not _NO_GPU.search(message) and not _ROOM.search(message):
            yield Hit(
                where=node.where,
                message=f"{what} is not scheduled: its spread or anti-affinity leaves no node",
                evidence=shown(message),
            )


def _quota(case: Case) -> Iterator[Hit]:
    said: set[str] = set()
    for event, message in events(case, "FailedCreate"):
        if "exceeded quota" in message and about(event) not in said:
            said.add(about(event))
            yield Hit(
                where=words(event).where,
                message=f"{about(event)} may not make its pods: a quota is used up",
                evidence=shown(message),
            )
    if said:
        return
    for workload in objects(case, "Deployment", "ReplicaSet"):
        told = condition(workload, "ReplicaFailure")
        if told is not None and told["status"].text == "True" and "exceeded quota" in told["message"].text:
            yield Hit(
                where=told["message"].where,
                message=f"{workload.kind} {workload.name} may not make its pods: a quota is used up",
                evidence=shown(told["message"].text),
            )


def _not_created(case: Case) -> Iterator[Hit]:
    for pod, status in statuses(case):
        for state in (
            status.at("state", "waiting"),
            status.at("state", "terminated"),
            status.at("lastState", "terminated"),
        ):
            if state["reason"].text not in _NOT_CREATED or _SECRET_GONE.search(state["message"].text):
                continue
            is_driver = _OLD_DRIVER.search(state["message"].text)
            yield Hit(
                where=state["reason"].where,
                message=f"container {status['name'].text} of pod {pod.name} cannot be started"
                + (": the node's driver is too old for its image" if is_driver else ""),
                evidence=shown(state["message"].text) or state["reason"].shown,
                fix="A node with driver 580 or newer, or an image built for CUDA 12." if is_driver else "",
            )
            break


def _absent_secret(case: Case) -> Iterator[Hit]:
    said: set[tuple[str, str]] = set()
    for pod in case.pods:
        for name, node in _secret_nodes(pod):
            key = (pod.resource.namespace, name)
            if ("Secret", *key) in case.evidence.absent and key not in said:
                said.add(key)
                yield Hit(
                    where=node.where,
                    message=f"{pod.title} needs Secret {name}, which is not there",
                    evidence=node.shown,
                )
    for resource, node, message in _refusals(case):
        found = _SECRET_GONE.search(message)
        key = (resource, found.group(1).rpartition("/")[2]) if found else ("", "")
        if found and key not in said:
            said.add(key)
            yield Hit(where=node.where, message=f"Secret {key[1]} is not there", evidence=shown(message))


def _secret_nodes(pod: Pod) -> Iterator[tuple[str, Node]]:
    for volume in pod.spec["volumes"]:
        yield volume.at("secret", "secretName").text, volume.at("secret", "secretName")
    for container in pod.containers:
        refs = [env.at("valueFrom", "secretKeyRef") for env in container.env_nodes]
        refs += [source["secretRef"] for source in container.node["envFrom"]]
        yield from ((ref["name"].text, ref["name"]) for ref in refs if ref["name"])


def _refusals(case: Case) -> Iterator[tuple[str, Node, str]]:
    """What the kubelet says of things that it cannot mount or pass: namespace, place, words."""
    for pod, status in statuses(case):
        node = status.at("state", "waiting", "message")
        yield pod.namespace, node, node.text
    for event, message in events(case, "FailedMount"):
        yield event.namespace, words(event), message


def _rule(  # noqa: PLR0917 — a table below reads better without names
    id: str,  # noqa: A002
    title: str,
    consequence: str,
    fix: str,
    check: Callable[[Case], Iterator[Hit]],
    rows: tuple[int, ...] = (),
    severity: Severity = Severity.ERROR,
) -> Rule:
    return Rule(
        id=id,
        title=title,
        severity=severity,
        rows=rows,
        consequence=consequence,
        fix=fix,
        check=check,
        is_live=True,
    )


RULES = (
    _rule(
        "PS241-insufficient-room",
        "Too little CPU, memory or disk for the pod",
        "The pod stays Pending, though GPUs may be free.",
        "Ask for what is there: `kubectl describe node` shows what is allocated beside each GPU; or larger nodes.",
        _no_room,
    ),
    _rule(
        "PS242-pending-for-volume",
        "The pod waits for its volume",
        "The pod stays Pending.",
        "`kubectl describe pvc`; a class with WaitForFirstConsumer binds in the pod's zone; the claim is of the pod's"
        " namespace.",
        _no_volume,
        rows=(17,),
    ),
    _rule(
        "PS243-quota-used-up",
        "A quota is used up",
        "No pod is made, and none is Pending to show it.",
        "`kubectl describe quota`: raise it, or lower requests, replicas or surge.",
        _quota,
    ),
    _rule(
        "PS244-spread-leaves-no-node",
        "Spread or anti-affinity leaves no node",
        "The pod stays Pending.",
        "`whenUnsatisfiable: ScheduleAnyway`, or preferred instead of required anti-affinity, or more zones and nodes.",
        _no_spread,
    ),
    _rule(
        "PS245-container-not-created",
        "The container cannot be started",
        "The pod never runs.",
        "Its message names what is missing: a ConfigMap or key, a command, a device, a driver.",
        _not_created,
        rows=(45,),
    ),
    _rule(
        "PS246-secret-absent",
        "A Secret that a pod needs is not there",
        "The pod stays in CreateContainerConfigError or ContainerCreating.",
        "Create it in the pod's namespace, or see why External Secrets did not: `kubectl describe externalsecret`.",
        _absent_secret,
        rows=(37,),
    ),
)
