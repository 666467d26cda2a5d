"""Rules on what a cluster reports: pods that wait or die, nodes without GPUs, scalers that stand still. Pure.

They read `kubectl get … -o yaml` and a live cluster alike: objects with a status, and Event objects.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from penstock.operate.doctor.case import Case
from penstock.operate.doctor.evidence import Node, Resource
from penstock.operate.doctor.findings import Hit, Rule, Severity
from penstock.operate.doctor.quantities import quantity
from penstock.operate.doctor.reports import (
    about,
    condition,
    events,
    moment,
    objects,
    shown,
    statuses,
    times,
    unscheduled,
)

__all__ = ["RULES"]

_THRASH = 6
"""Rescales in the events of one HPA (an hour's worth) that make a thrash."""
_FLAPS = 10
"""Failed readiness probes of one pod in its events."""
_GPU = "nvidia.com/gpu"


def _pending(pattern: str, meaning: str) -> Callable[[Case], Iterator[Hit]]:
    wanted = re.compile(pattern, re.IGNORECASE)

    def check(case: Case) -> Iterator[Hit]:
        for node, what, message in unscheduled(case):
            if wanted.search(message):
                yield Hit(where=node.where, message=f"{what} is not scheduled: {meaning}", evidence=shown(message))

    return check


def _tainted(case: Case) -> Iterator[Hit]:
    for node, what, message in unscheduled(case):
        is_gpu = re.search(r"insufficient (nvidia|amd)\.com", message, re.IGNORECASE)
        if not is_gpu and re.search(r"untolerated taint|didn't match Pod's node (affinity|selector)", message):
            yield Hit(
                where=node.where,
                message=f"{what} is not scheduled: no node has the labels it wants, or it does not tolerate their"
                f" taints",
                evidence=shown(message),
            )


def _has_gpu_label(node: Resource) -> bool:
    labels = node.labels
    return any(
        key in labels
        for key in (
            "nvidia.com/gpu.product",
            "nvidia.com/gpu.present",
            "cloud.google.com/gke-accelerator",
            "nvidia.com/cuda.driver.major",
            "k8s.amazonaws.com/accelerator",
        )
    )


def _no_plugin(case: Case) -> Iterator[Hit]:
    for node in objects(case, "Node"):
        allocatable = node.root.at("status", "allocatable")
        has_gpu = any(
            key == _GPU or key.startswith(("nvidia.com/mig-", f"{_GPU}.shared")) for key in allocatable.mapping
        )
        if allocatable and _has_gpu_label(node) and not has_gpu:
            yield Hit(
                where=allocatable.key_where,
                message=f"node {node.name} has a GPU by its labels and offers no {_GPU}: no device plugin runs there",
                evidence=f"allocatable without {_GPU}",
            )


def _no_gpus(case: Case) -> Iterator[Hit]:
    for node in objects(case, "Node"):
        allocatable, capacity = node.root.at("status", "allocatable", _GPU), node.root.at("status", "capacity", _GPU)
        has_slices = any(
            key.startswith("nvidia.com/mig-") and quantity(v)
            for key, v in node.root.at("status", "allocatable").mapping.items()
        )
        if allocatable and quantity(allocatable.value) == 0 and not has_slices:
            yield Hit(
                where=allocatable.where,
                message=f"node {node.name} offers 0 of its {capacity.text or '?'} GPUs",
                evidence=allocatable.shown,
            )


def _oom_killed(case: Case) -> Iterator[Hit]:
    for pod, status in statuses(case):
        for state in ("state", "lastState"):
            reason = status.at(state, "terminated", "reason")
            if reason.text == "OOMKilled":
                yield Hit(
                    where=reason.where,
                    message=f"container {status['name'].text} of pod {pod.name} was killed for host memory, not for"
                    f" GPU memory",
                    evidence=f"{reason.shown}, restarts: {status['restartCount'].text or '0'}",
                )
                break


def _image_pull(case: Case) -> Iterator[Hit]:
    for pod, status in statuses(case):
        waiting = status.at("state", "waiting")
        if waiting["reason"].text in ("ImagePullBackOff", "ErrImagePull", "InvalidImageName"):
            yield Hit(
                where=waiting["reason"].where,
                message=f"container {status['name'].text} of pod {pod.name} cannot pull"
                f" {status['image'].text or 'its image'}",
                evidence=shown(waiting["message"].text or waiting["reason"].text),
            )


def _crash_loop(case: Case) -> Iterator[Hit]:
    for pod, status in statuses(case):
        waiting = status.at("state", "waiting", "reason")
        ended = status.at("lastState", "terminated")
        if waiting.text == "CrashLoopBackOff" and ended["reason"].text != "OOMKilled":
            code = ended["exitCode"].text
            means = {
                "2": ": 2 is a wrong flag",
                "137": ": killed, by a probe or for memory",
                "139": ": a crash in native code",
                "143": ": told to stop, by a probe",
            }.get(code, "")
            yield Hit(
                where=waiting.where,
                message=f"container {status['name'].text} of pod {pod.name} ends again and"
                f" again{f' with exit code {code}{means}' if code else ''}",
                evidence=shown(ended["message"].text or f"restarts: {status['restartCount'].text or '?'}"),
                fix=f"kubectl logs --previous -n {pod.namespace or 'NAMESPACE'} {pod.name} -c"
                f" {status['name'].text} > pod.log; penstock doctor pod.log",
            )


def _probe_kills(case: Case) -> Iterator[Hit]:
    said: set[str] = set()
    for event, message in events(case, "Unhealthy", "Killing"):
        is_kill = re.search(r"(startup|liveness) probe failed|failed (startup|liveness) probe", message, re.IGNORECASE)
        if is_kill and about(event) not in said:
            said.add(about(event))
            kind = (is_kill.group(1) or is_kill.group(2)).lower()
            node = event.root["message"] if event.root["message"] else event.root["note"]
            yield Hit(where=node.where, message=f"{about(event)}: its {kind} probe ends it", evidence=shown(message))


def _flapping(case: Case) -> Iterator[Hit]:
    counts: dict[str, int] = {}
    places: dict[str, Resource] = {}
    for event, message in events(case, "Unhealthy"):
        if "readiness probe" in message.lower():
            counts[about(event)] = counts.get(about(event), 0) + times(event)
            places.setdefault(about(event), event)
    for what, count in counts.items():
        if count >= _FLAPS:
            node = places[what].root["message"]
            yield Hit(where=node.where, message=f"{what}: {count} failed readiness probes", evidence=shown(node.text))


def _claim_pending(case: Case) -> Iterator[Hit]:
    failed = {about(event): message for event, message in events(case, "ProvisioningFailed", "FailedBinding")}
    for claim in objects(case, "PersistentVolumeClaim"):
        phase = claim.root.at("status", "phase")
        if phase.text == "Pending":
            why = next((m for about, m in failed.items() if about.endswith(f"PersistentVolumeClaim/{claim.name}")), "")
            waits = claim.root.at("metadata", "annotations", "volume.kubernetes.io/selected-node")
            yield Hit(
                where=phase.where,
                message=f"claim {claim.name} is not"
                f" bound{'' if waits or why else ': nothing provisions it, or no pod uses it (WaitForFirstConsumer)'}",
                evidence=shown(why) or phase.shown,
            )


def _event_rule(reasons: tuple[str, ...], pattern: str, meaning: str) -> Callable[[Case], Iterator[Hit]]:
    wanted = re.compile(pattern, re.IGNORECASE)

    def check(case: Case) -> Iterator[Hit]:
        said: set[str] = set()
        for event, message in events(case, *reasons):
            if wanted.search(message) and about(event) not in said:
                said.add(about(event))
                node = event.root["message"] if event.root["message"] else event.root["note"]
                yield Hit(where=node.where, message=f"{about(event)}: {meaning}", evidence=shown(message))

    return check


def _unknown_metric(case: Case) -> Iterator[Hit]:
    for hpa in objects(case, "HorizontalPodAutoscaler"):
        told = condition(hpa, "ScalingActive")
        if told is not None and told["status"].text == "False" and told["reason"].text not in ("ScalingDisabled", ""):
            yield Hit(
                where=told["reason"].where,
                message=f"HPA {hpa.name} gets no metric and does not scale",
                evidence=shown(told["message"].text or told["reason"].text),
            )


def _ambiguous(case: Case) -> Iterator[Hit]:
    for hpa in objects(case, "HorizontalPodAutoscaler"):
        for told in hpa.root.at("status", "conditions"):
            if told["reason"].text == "AmbiguousSelector":
                yield Hit(
                    where=told["reason"].where,
                    message=f"HPA {hpa.name} shares its pods with another one",
                    evidence=shown(told["message"].text),
                )


def _at_max(case: Case) -> Iterator[Hit]:
    for hpa in objects(case, "HorizontalPodAutoscaler"):
        told = condition(hpa, "ScalingLimited")
        if told is not None and told["status"].text == "True" and told["reason"].text == "TooManyReplicas":
            most = hpa.root.at("spec", "maxReplicas")
            since = moment(told["lastTransitionTime"])
            minutes = (case.evidence.now - since) / 60 if case.evidence.now and since is not None else 0.0
            long = f" for {minutes:.0f} min" if minutes >= 1 else ""
            yield Hit(
                where=most.where,
                message=f"HPA {hpa.name} wants more than its {most.text} replicas{long}, and requests still wait",
                evidence="; ".join([shown(told["message"].text or told["reason"].text), *_over_target(hpa)]),
            )


def _over_target(hpa: Resource) -> Iterator[str]:
    """Metrics that stand above their targets, each as `name 45 of 20`."""
    wanted = {_metric_key(metric): _amount(metric, "target") for metric in hpa.root.at("spec", "metrics")}
    for metric in hpa.root.at("status", "currentMetrics"):
        key, now = _metric_key(metric), _amount(metric, "current")
        target = wanted.get(key)
        if now and target and (quantity(now) or 0) > (quantity(target) or 0):
            yield f"{key[1]} is {now}, its target {target}"


def _metric_key(metric: Node) -> tuple[str, str]:
    kind = metric["type"].text
    inner = metric[kind[:1].lower() + kind[1:]]
    return kind, inner.at("metric", "name").text or inner["name"].text


def _amount(metric: Node, side: str) -> str:
    kind = metric["type"].text
    amounts = metric.at(kind[:1].lower() + kind[1:], side)
    return next((amounts[n].text for n in ("averageUtilization", "averageValue", "value") if amounts[n]), "")


def _thrash(case: Case) -> Iterator[Hit]:
    counts: dict[str, list[Resource]] = {}
    for event, message in events(case, "SuccessfulRescale", "ScalingReplicaSet"):
        if event.root["reason"].text == "SuccessfulRescale" or re.search(r"Scaled (up|down)", message):
            counts.setdefault(about(event), []).append(event)
    for what, these in counts.items():
        said = " ".join(e.root["message"].text.lower() for e in these)
        has_both = ("below target" in said and "above target" in said) or (
            "scaled up" in said and "scaled down" in said
        )
        total = sum(times(event) for event in these)
        if has_both and total >= _THRASH:
            yield Hit(
                where=these[0].root["message"].where,
                message=f"{what} went up and down {total} times",
                evidence=shown(these[0].root["message"].text),
            )


def _keda_state(case: Case) -> Iterator[Hit]:
    for scaled in objects(case, "ScaledObject"):
        ready, fallback = condition(scaled, "Ready"), condition(scaled, "Fallback")
        if ready is not None and ready["status"].text == "False":
            yield Hit(
                where=ready["status"].where,
                message=f"ScaledObject {scaled.name} is not ready and does not scale",
                evidence=shown(ready["message"].text),
            )
        elif fallback is not None and fallback["status"].text == "True":
            yield Hit(
                where=fallback["status"].where,
                message=f"ScaledObject {scaled.name} is on its fallback: its source does not answer",
                evidence=shown(fallback["message"].text),
            )


def _evicted(case: Case) -> Iterator[Hit]:
    for pod in objects(case, "Pod"):
        if pod.root.at("status", "reason").text == "Evicted":
            message = pod.root.at("status", "message")
            yield Hit(
                where=message.where,
                message=f"pod {pod.name} was evicted: {_why_evicted(message.text)}",
                evidence=shown(message.text),
            )


def _why_evicted(message: str) -> str:
    """Which of the kubelet's reasons it was: the pod's own bound, or its node."""
    own = re.search(r"(ephemeral local storage usage|Usage of EmptyDir volume|ephemeral-storage usage)", message, re.I)
    if own:
        return "it wrote more than its own limit of local disk (caches, logs, emptyDir)"
    low = re.search(r"low on resource: \[?([\w-]+)", message)
    what = {"memory": "host memory", "ephemeral-storage": "local disk", "pids": "process ids"}
    return f"its node ran out of {what.get(low.group(1), low.group(1)) if low else 'disk or memory'}"


def _live(  # noqa: PLR0917 — a table below reads better without names
    id: str,  # noqa: A002
    title: str,
    consequence: str,
    fix: str,
    check: Callable[[Case], Iterator[Hit]],
    rows: tuple[int, ...] = (),
    severity: Severity = Severity.ERROR,
) -> Rule:
    return Rule(
        id=id, title=title, severity=severity, rows=rows, consequence=consequence, fix=fix, check=check, is_live=True
    )


RULES = (
    _live(
        "PS201-no-device-plugin",
        "A GPU node without a device plugin",
        "Pods that ask for a GPU never start there.",
        "Install the GPU operator or the device plugin; check its DaemonSet's tolerations and node selector.",
        _no_plugin,
    ),
    _live(
        "PS202-no-allocatable-gpu",
        "A node offers none of its GPUs",
        "Pods that ask for a GPU never start there.",
        "See the device plugin's log and `nvidia-smi` on the node; after an Xid error, drain and"
        " reset the GPU. With MIG, ask for the slices.",
        _no_gpus,
    ),
    _live(
        "PS203-insufficient-gpu",
        "Too few GPUs for the pod",
        "The pod stays Pending.",
        "Add nodes, lower the GPUs for each replica, or let an update go without surge (maxSurge 0).",
        _pending(r"insufficient (nvidia|amd)\.com/", "no node has that many GPUs free"),
        rows=(28,),
    ),
    _live(
        "PS204-no-matching-node",
        "No node fits the pod's labels and taints",
        "The pod stays Pending.",
        "Compare `kubectl get nodes --show-labels` and the nodes' taints with nodeSelector, affinity and tolerations.",
        _tainted,
        rows=(30,),
    ),
    _live(
        "PS205-oom-killed",
        "Killed for host memory",
        "The engine starts again and loads for minutes.",
        "Raise request and limit: 4 GiB for each GPU and 4 more, /dev/shm and offload on top."
        " gpu-memory-utilization has nothing to do with it.",
        _oom_killed,
        rows=(36,),
    ),
    _live(
        "PS206-image-pull",
        "The image cannot be pulled",
        "The pod stays Pending.",
        "Check name, tag and the pull secret.",
        _image_pull,
        rows=(39,),
    ),
    _live(
        "PS207-probe-ends-start",
        "A probe ends the engine",
        "It begins to load again, for ever.",
        "Give the startup probe the time that loading takes, twice; a liveness probe only after it.",
        _probe_kills,
        rows=(23, 24),
    ),
    _live(
        "PS208-readiness-flaps",
        "Readiness comes and goes",
        "The Service adds and drops the engine; clients see errors.",
        "timeoutSeconds 5 and more failures; look for CPU starvation of the API server.",
        _flapping,
        severity=Severity.WARNING,
    ),
    _live(
        "PS222-claim-pending",
        "The volume claim is not bound",
        "Pods that mount it stay Pending.",
        "`kubectl describe pvc`: class, access mode, quota; a block class offers no ReadWriteMany.",
        _claim_pending,
        rows=(17,),
    ),
    _live(
        "PS223-multi-attach",
        "A volume for one node is wanted on two",
        "The pod stays in ContainerCreating.",
        "ReadWriteMany or ReadOnlyMany of a file store, or a claim for each pod.",
        _event_rule(
            ("FailedAttachVolume", "FailedMount"),
            r"multi-attach|already (exclusively )?attached|already used by pod",
            "its volume is attached to another node",
        ),
        rows=(17,),
    ),
    _live(
        "PS224-hpa-unknown",
        "The HPA gets no metric",
        "It shows <unknown> and never scales.",
        "`kubectl get --raw /apis/custom.metrics.k8s.io/v1beta1`: is the metric there, with"
        " namespace and pod? Then the adapter's rule, the ServiceMonitor's labels, the metric's"
        " name.",
        _unknown_metric,
        rows=(5, 12),
    ),
    _live(
        "PS225-hpa-at-max",
        "The HPA is at its maximum and wants more",
        "Requests queue and time out.",
        "Raise maxReplicas with the nodes for it, or shed load in the gateway.",
        _at_max,
        severity=Severity.WARNING,
    ),
    _live(
        "PS226-scale-thrash",
        "Replicas go up and down",
        "Each turn loads a model for minutes and drops its cache.",
        "A longer scaleDown stabilization window, one pod at a time; a target with a gap between up and down.",
        _thrash,
        severity=Severity.WARNING,
    ),
    _live(
        "PS227-crash-loop",
        "A container that ends again and again",
        "It never serves.",
        "Read the log of the run before: `kubectl logs --previous`.",
        _crash_loop,
    ),
    _live(
        "PS231-keda-not-scaling",
        "KEDA does not scale",
        "Replicas stay as they are.",
        "`kubectl describe scaledobject`; ask Prometheus the query by hand.",
        _keda_state,
        rows=(10,),
        severity=Severity.WARNING,
    ),
    _live(
        "PS235-evicted",
        "A pod was evicted",
        "Its answers broke, and it loads elsewhere.",
        "Requests that equal limits; an ephemeral-storage request for the image and its compile cache.",
        _evicted,
        rows=(36,),
        severity=Severity.WARNING,
    ),
    _live(
        "PS236-hpas-share-pods",
        "Two HPAs on the same pods",
        "Neither scales.",
        "Keep one autoscaler for a workload.",
        _ambiguous,
        rows=(11,),
    ),
)
