"""Rules on what a cluster measured: starts against probes, budgets, rollouts, volumes, Services as they are. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from penstock.operate.doctor.case import Case
from penstock.operate.doctor.evidence import Node, Resource
from penstock.operate.doctor.findings import Hit, Rule, Severity
from penstock.operate.doctor.reports import condition, moment, objects, owner, shown, statuses, unscheduled

__all__ = ["RULES"]

_SPARE = 1.5
"""A startup probe should have this times the measured start, at least: disks and networks have slow days."""
_GRACE_S = 30.0
_KILLED = ("137", "143")
_TOO_LONG_S = 900.0
"""A pod that is not ready after this long is not merely loading."""


def _number(node: Node, default: float) -> float:
    return default if node.number is None else node.number


def _container(pod: Resource, name: str) -> Node:
    nodes = [*pod.root.at("spec", "containers"), *pod.root.at("spec", "initContainers")]
    return next((node for node in nodes if node["name"].text == name), pod.root["none"])


def _probe(container: Node) -> tuple[str, Node]:
    """What ends a container that does not come up: its startup probe, else its liveness probe."""
    name = "startupProbe" if container["startupProbe"].mapping else "livenessProbe"
    return name, container[name]


def _budget_s(probe: Node) -> float:
    period, failures = _number(probe["periodSeconds"], 10), _number(probe["failureThreshold"], 3)
    return _number(probe["initialDelaySeconds"], 0) + period * failures


def _near_budget(case: Case) -> Iterator[Hit]:
    for pod, status in statuses(case):
        name, probe = _probe(_container(pod, status["name"].text))
        ready = condition(pod, "Ready")
        began, done = moment(status.at("state", "running", "startedAt")), None
        if ready is not None and ready["status"].text == "True":
            done = moment(ready["lastTransitionTime"])
        if name != "startupProbe" or not probe.mapping or began is None or done is None:
            continue
        took, budget = done - began, _budget_s(probe)
        if budget / _SPARE < took <= budget + _number(probe["periodSeconds"], 10):  # later: it flapped since
            yield Hit(
                where=status.at("state", "running", "startedAt").where,
                message=f"container {status['name'].text} of pod {pod.name} took {took:.0f} s to be ready, and its"
                f" startup probe ends it after {budget:.0f} s",
                evidence=f"startedAt {status.at('state', 'running', 'startedAt').text}, Ready"
                f" {ready['lastTransitionTime'].text if ready else ''}",
                fix=f"failureThreshold: {2 * took / _number(probe['periodSeconds'], 10):.0f}"
                f" with periodSeconds {_number(probe['periodSeconds'], 10):.0f}: twice what it took",
            )


def _cut_off(case: Case) -> Iterator[Hit]:
    for pod, status in statuses(case):
        ended = status.at("lastState", "terminated")
        if ended["exitCode"].text not in _KILLED or ended["reason"].text == "OOMKilled" or status["ready"].value:
            continue
        name, probe = _probe(_container(pod, status["name"].text))
        began, done = moment(ended["startedAt"]), moment(ended["finishedAt"])
        if not probe.mapping or began is None or done is None:
            continue
        ran, budget, period = done - began, _budget_s(probe), _number(probe["periodSeconds"], 10)
        grace = _number(pod.root.at("spec", "terminationGracePeriodSeconds"), _GRACE_S)
        if budget - period <= ran <= budget + grace + 2 * period:
            yield Hit(
                where=ended["finishedAt"].where,
                message=f"container {status['name'].text} of pod {pod.name} was ended {ran:.0f} s after its start,"
                f" when its {name} ({budget:.0f} s) gave up",
                evidence=f"exit code {ended['exitCode'].text}, restarts: {status['restartCount'].text or '?'}",
                fix=f"A startupProbe with at least {2 * budget:.0f} s: see in the log how far it came.",
            )


def _budget_blocks(case: Case) -> Iterator[Hit]:
    for budget in objects(case, "PodDisruptionBudget"):
        status = budget.root["status"]
        told = condition(budget, "DisruptionAllowed")
        if told is not None and told["reason"].text == "SyncFailed":
            yield Hit(
                where=told["reason"].where,
                message=f"budget {budget.name} cannot be counted and lets no pod go",
                evidence=shown(told["message"].text),
            )
            continue
        allowed, expected = status["disruptionsAllowed"].number, status["expectedPods"].number or 0
        if allowed == 0 and expected and (status["currentHealthy"].number or 0) >= expected:
            yield Hit(
                where=status["disruptionsAllowed"].where,
                message=f"budget {budget.name} lets no pod go now, though all {expected:.0f} are healthy",
                evidence=f"disruptionsAllowed: 0, currentHealthy: {status['currentHealthy'].text},"
                f" desiredHealthy: {status['desiredHealthy'].text}",
            )


def _stuck(case: Case) -> Iterator[Hit]:
    for workload in objects(case, "Deployment"):
        told = condition(workload, "Progressing")
        if told is None or told["reason"].text != "ProgressDeadlineExceeded":
            continue
        status = workload.root["status"]
        yield Hit(
            where=told["reason"].where,
            message=f"Deployment {workload.name}: the rollout stands still, with {status['updatedReplicas'].text or 0}"
            f" new and {status['availableReplicas'].text or 0} serving replicas of"
            f" {workload.root.at('spec', 'replicas').text or 1}",
            evidence=shown(told["message"].text),
        )


def _surge_deadlock(case: Case) -> Iterator[Hit]:
    waiting = {what.removeprefix("pod ").rpartition("/")[2] for _, what, m in unscheduled(case) if "nsufficient" in m}
    makers = {(r.namespace, r.name): owner(r)[1] for r in objects(case, "ReplicaSet")}
    by_workload: dict[tuple[str, str], list[Resource]] = defaultdict(list)
    for pod in objects(case, "Pod"):
        maker = makers.get((pod.namespace, owner(pod)[1]))
        if maker:
            by_workload[pod.namespace, maker].append(pod)
    for workload in objects(case, "Deployment"):
        pods = by_workload.get((workload.namespace, workload.name), [])
        stuck = {owner(pod)[1] for pod in pods if pod.name in waiting and _wants_gpu(pod)}
        old = [pod for pod in pods if owner(pod)[1] not in stuck and pod.root.at("status", "phase").text == "Running"]
        if stuck and old and _keeps_all(workload):
            node = workload.root.at("spec", "strategy", "rollingUpdate", "maxUnavailable")
            yield Hit(
                where=node.where if node else case.node_of(workload).where,
                message=f"Deployment {workload.name}: new pods wait for the GPUs of {len(old)} old ones, which wait for"
                f" the new ones to be ready",
                evidence=node.shown if node else "strategy: 25 % of few replicas is none",
            )


def _wants_gpu(pod: Resource) -> bool:
    return any(
        "/gpu" in key or "/mig-" in key
        for container in pod.root.at("spec", "containers")
        for table in ("limits", "requests")
        for key in container.at("resources", table).mapping
    )


def _keeps_all(workload: Resource) -> bool:
    """Whether an update may take no pod away before a new one is ready."""
    if workload.root.at("spec", "strategy", "type").text == "Recreate":
        return False
    node = workload.root.at("spec", "strategy", "rollingUpdate", "maxUnavailable")
    replicas = _number(workload.root.at("spec", "replicas"), 1)
    text = node.text or "25%"
    share = text.removesuffix("%")
    if not share.replace(".", "").isdigit():
        return False
    return int(replicas * float(share) / 100) == 0 if text.endswith("%") else float(share) == 0


def _claim_on_nodes(case: Case) -> Iterator[Hit]:
    nodes: dict[tuple[str, str], set[str]] = defaultdict(set)
    for pod in objects(case, "Pod"):
        if pod.root.at("status", "phase").text not in ("Failed", "Succeeded"):
            for volume in pod.root.at("spec", "volumes"):
                name = volume.at("persistentVolumeClaim", "claimName").text
                if name and pod.root.at("spec", "nodeName").text:
                    nodes[pod.namespace, name].add(pod.root.at("spec", "nodeName").text)
    for claim in objects(case, "PersistentVolumeClaim"):
        modes = claim.root.at("spec", "accessModes")
        on = sorted(nodes.get((claim.namespace, claim.name), ()))
        if len(on) > 1 and modes and all(mode.text.startswith("ReadWriteOnce") for mode in modes):
            yield Hit(
                where=modes.where,
                message=f"claim {claim.name} is for one node, and its pods are on {len(on)}: {', '.join(on[:4])}",
                evidence=modes.shown,
            )


def _no_endpoint(case: Case) -> Iterator[Hit]:
    slices: dict[tuple[str, str], list[Resource]] = defaultdict(list)
    for found in objects(case, "EndpointSlice"):
        slices[found.namespace, str(found.labels.get("kubernetes.io/service-name", ""))].append(found)
    pods: dict[str, list[Resource]] = defaultdict(list)
    for pod in objects(case, "Pod"):
        pods[pod.namespace].append(pod)
    for service in objects(case, "Service"):
        own = slices.get((service.namespace, service.name), [])
        selector = service.root.at("spec", "selector")
        endpoints = [e for found in own for e in found.root["endpoints"]]
        if not own or not selector.mapping or any(e.at("conditions", "ready").value is not False for e in endpoints):
            continue
        picked = [p for p in pods[service.namespace] if _picked(selector, p)]
        if not endpoints and any(_is_ready(pod) for pod in picked):
            yield Hit(
                where=selector.key_where,
                message=f"Service {service.name} has no endpoint, though it picks pods that are ready: its targetPort"
                f" names a port that they lack",
                evidence=", ".join(port["targetPort"].shown for port in service.root.at("spec", "ports")),
            )
        elif endpoints and picked and all(_is_late(pod, case.evidence.now) for pod in picked):
            yield Hit(
                where=selector.key_where,
                message=f"Service {service.name}: none of its {len(endpoints)} endpoints has been ready for"
                f" {_TOO_LONG_S / 60:.0f} min",
                evidence=", ".join(sorted(pod.name for pod in picked)[:3]),
            )


def _picked(selector: Node, pod: Resource) -> bool:
    return all(str(pod.labels.get(key, "\0")) == node.text for key, node in selector.fields())


def _is_ready(pod: Resource) -> bool:
    told = condition(pod, "Ready")
    return told is not None and told["status"].text == "True"


def _is_late(pod: Resource, now: float) -> bool:
    """Whether a pod has not been ready for long; False where the time is not known."""
    told = condition(pod, "Ready")
    since = moment(told["lastTransitionTime"]) if told is not None and told["status"].text == "False" else None
    return bool(now) and since is not None and now - since > _TOO_LONG_S


RULES = (
    Rule(
        id="PS250-budget-blocks-now",
        title="A disruption budget lets no pod go now",
        severity=Severity.ERROR,
        rows=(25,),
        consequence="Draining any of its nodes waits for ever: upgrades and the cluster autoscaler stop there.",
        fix="`maxUnavailable: 1`; with one replica a second one, or no budget.",
        check=_budget_blocks,
        is_live=True,
    ),
    Rule(
        id="PS251-rollout-stuck",
        title="A rollout stands still",
        severity=Severity.ERROR,
        rows=(28,),
        consequence="Old and new replicas stay side by side; the change is not live, and nothing rolls it back.",
        fix="`kubectl describe` and the log of a new pod say why; `kubectl rollout undo` goes back. A model that loads"
        " for long needs a larger progressDeadlineSeconds.",
        check=_stuck,
        is_live=True,
    ),
    Rule(
        id="PS252-surge-deadlock",
        title="An update waits for GPUs that it holds itself",
        severity=Severity.ERROR,
        rows=(28,),
        consequence="The rollout never goes on.",
        fix="`maxSurge: 0` and `maxUnavailable: 1`, or free GPUs for one more replica.",
        check=_surge_deadlock,
        is_live=True,
    ),
    Rule(
        id="PS253-start-near-budget",
        title="The start takes almost all of the startup probe's time",
        severity=Severity.WARNING,
        rows=(23,),
        consequence="On a slower day it is cut off just before it is done, and begins again: for ever.",
        fix="Give the startup probe twice the time that the start was measured to take.",
        check=_near_budget,
        is_live=True,
    ),
    Rule(
        id="PS254-start-cut-off",
        title="A probe ended the container while it started",
        severity=Severity.ERROR,
        rows=(23, 24),
        consequence="It begins to load again, for ever.",
        fix="Give the startup probe the time that loading takes, twice.",
        check=_cut_off,
        is_live=True,
    ),
    Rule(
        id="PS255-claim-on-many-nodes",
        title="A claim for one node is mounted on several",
        severity=Severity.ERROR,
        rows=(17,),
        consequence="Only one node's pods start; the others stay in ContainerCreating.",
        fix="ReadWriteMany or ReadOnlyMany of a file store, or a claim for each pod.",
        check=_claim_on_nodes,
        is_live=True,
    ),
    Rule(
        id="PS256-no-ready-endpoint",
        title="A Service without a ready endpoint",
        severity=Severity.ERROR,
        rows=(),
        consequence="Clients get connection refused or 503.",
        fix="`kubectl get endpointslices`; compare the Service's targetPort with the pod's ports, and see why the pods"
        " are not ready.",
        check=_no_endpoint,
        is_live=True,
    ),
)
