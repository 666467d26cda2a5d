"""The nodes: pods that were bound start, get ready, fail, end, as their annotations and probes say. Pure.

A pod is ready `start_s` after its node took it. A startup or liveness probe whose budget is shorter kills it before,
again and again, as the real kubelet does with a model that loads longer than its probe allows.
"""

from __future__ import annotations

from typing import Any

from penstock.operate.testing.controllers.world import ANNOTATION, World, with_condition
from penstock.operate.testing.writing import rfc3339

__all__ = ["probe_budget_s", "run_nodes"]

Json = dict[str, Any]


def run_nodes(world: World) -> None:
    for pod in world.all("pods"):
        if pod["metadata"].get("deletionTimestamp"):
            _stop(world, pod)
        elif pod["spec"].get("nodeName") and pod["status"].get("phase") in ("Pending", "Running"):
            _run(world, pod)


def _said(pod: Json, name: str, default: float) -> float:
    return float((pod["metadata"].get("annotations") or {}).get(f"{ANNOTATION}/{name}", default))


def _stop(world: World, pod: Json) -> None:
    """Ends the pod once its process is gone: after `stop_s`, or when its grace is over."""
    metadata = pod["metadata"]
    grace = metadata.get("deletionGracePeriodSeconds", 0)
    asked_s_ago = world.since(metadata["deletionTimestamp"]) + grace
    if asked_s_ago >= min(grace, _said(pod, "stop-s", world.behaviour.stop_s)):
        world.remove("pods", "", pod)
    elif grace:
        status = with_condition(pod["status"], world.time, "Ready", "False", "PodTerminating", "")
        world.set_status("pods", "", pod, status)


def probe_budget_s(probe: Json | None) -> float | None:
    """Seconds until a probe that never succeeds ends its container; None without a probe."""
    if probe is None:
        return None
    waits = probe.get("initialDelaySeconds", 0)
    return float(waits + probe["periodSeconds"] * probe["failureThreshold"])


def _limit_s(pod: Json) -> float | None:
    """How long a start may take before a probe ends it; None for ever."""
    found = [
        budget
        for container in pod["spec"]["containers"]
        if (budget := probe_budget_s(container.get("startupProbe") or container.get("livenessProbe"))) is not None
    ]
    return min(found, default=None)


def _run(world: World, pod: Json) -> None:
    reason = (pod["metadata"].get("annotations") or {}).get(f"{ANNOTATION}/fails", "")
    if blocked := _unmounted(world, pod):
        world.event(pod, "FailedMount", blocked, component="kubelet")
        _waiting(world, pod, "ContainerCreating")
        return
    started = pod["status"].get("startTime") or world.time
    ran_s = world.since(started)
    needs_s = _said(pod, "start-s", world.behaviour.start_s)
    limit_s = _limit_s(pod)
    if reason in ("ImagePullBackOff", "ErrImagePull", "CreateContainerConfigError"):
        _waiting(world, pod, reason)
    elif reason:
        _failing(world, pod, started, reason, restarts=1 + int(ran_s // 10))
    elif limit_s is not None and limit_s < needs_s and ran_s >= limit_s:
        words = "Container failed startup probe, will be restarted"
        world.event(pod, "Unhealthy", words, component="kubelet")
        _failing(world, pod, started, "CrashLoopBackOff", restarts=int(ran_s // limit_s))
    elif _is_of_job(pod) and ran_s >= _said(pod, "run-s", world.behaviour.run_s):
        _finish(world, pod, started)
    else:
        _running(world, pod, started, is_ready=ran_s >= needs_s)


def _is_of_job(pod: Json) -> bool:
    return any(owner["kind"] == "Job" for owner in pod["metadata"].get("ownerReferences") or ())


def _unmounted(world: World, pod: Json) -> str:
    """Why a volume cannot be mounted: something is absent, or a claim for one node is in use on another."""
    namespace = pod["metadata"]["namespace"]
    for volume in pod["spec"].get("volumes") or ():
        for kind, field, plural in (("configMap", "name", "configmaps"), ("secret", "secretName", "secrets")):
            source = volume.get(kind)
            if source and not source.get("optional") and world.get(plural, "", namespace, source[field]) is None:
                singular = kind.lower()
                return (
                    f'MountVolume.SetUp failed for volume "{volume["name"]}" : {singular} "{source[field]}" not found'
                )
        name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        claim = world.get("persistentvolumeclaims", "", namespace, name) if name else None
        if claim is not None and set(claim["spec"]["accessModes"]) <= {"ReadWriteOnce", "ReadWriteOncePod"}:
            other = _elsewhere(world, pod, str(name))
            if other:
                disk = claim["spec"].get("volumeName", "")
                return f'Multi-Attach error for volume "{disk}" Volume is already used by pod(s) {other}'
    return ""


def _elsewhere(world: World, pod: Json, claim: str) -> str:
    for other in world.all("pods", "", pod["metadata"]["namespace"]):
        uses = any(
            (volume.get("persistentVolumeClaim") or {}).get("claimName") == claim
            for volume in other["spec"].get("volumes") or ()
        )
        is_apart = other["spec"].get("nodeName") not in (None, pod["spec"]["nodeName"])
        if uses and is_apart and other["status"].get("startTime") and not pod["status"].get("startTime"):
            return str(other["metadata"]["name"])
    return ""


def _statuses(pod: Json, state: Json, *, is_ready: bool, restarts: int = 0, last: Json | None = None) -> list[Json]:
    return [
        {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": is_ready,
            "started": is_ready,
            "restartCount": restarts,
            "state": state,
            "lastState": last or {},
        }
        for container in pod["spec"]["containers"]
    ]


def _write(world: World, pod: Json, status: Json, *, is_ready: bool, reason: str = "ContainersNotReady") -> None:
    value = "True" if is_ready else "False"
    names = " ".join(container["name"] for container in pod["spec"]["containers"])
    words = "" if is_ready else f"containers with unready status: [{names}]"
    for kind in ("ContainersReady", "Ready"):
        status = with_condition(status, world.time, kind, value, "" if is_ready else reason, words)
    status = with_condition(status, world.time, "Initialized", "True", "", "")
    world.set_status("pods", "", pod, status)


def _waiting(world: World, pod: Json, reason: str) -> None:
    statuses = _statuses(pod, {"waiting": {"reason": reason}}, is_ready=False)
    status = pod["status"] | {"phase": "Pending", "containerStatuses": statuses}
    if reason != "ContainerCreating":
        status["startTime"] = pod["status"].get("startTime", world.time)
    _write(world, pod, status, is_ready=False)


def _running(world: World, pod: Json, started: str, *, is_ready: bool) -> None:
    number = int(pod["metadata"]["uid"][:4], 16)
    address = pod["status"].get("podIP") or f"10.244.{number // 256}.{number % 256}"
    status = pod["status"] | {
        "phase": "Running",
        "startTime": started,
        "podIP": address,
        "podIPs": [{"ip": address}],
        "containerStatuses": _statuses(pod, {"running": {"startedAt": started}}, is_ready=is_ready),
    }
    _write(world, pod, status, is_ready=is_ready)


def _failing(world: World, pod: Json, started: str, reason: str, *, restarts: int) -> None:
    ended = {
        "exitCode": 137 if reason == "OOMKilled" else 1,
        "reason": "OOMKilled" if reason == "OOMKilled" else "Error",
    }
    if pod["spec"].get("restartPolicy") == "Never":
        statuses = _statuses(pod, {"terminated": ended}, is_ready=False)
        status = pod["status"] | {"phase": "Failed", "startTime": started, "containerStatuses": statuses}
        _write(world, pod, status, is_ready=False, reason="PodFailed")
        return
    state = {"waiting": {"reason": "CrashLoopBackOff"}}
    statuses = _statuses(pod, state, is_ready=False, restarts=restarts, last={"terminated": ended})
    status = pod["status"] | {"phase": "Running", "startTime": started, "containerStatuses": statuses}
    _write(world, pod, status, is_ready=False)


def _finish(world: World, pod: Json, started: str) -> None:
    ended = {"exitCode": 0, "reason": "Completed", "startedAt": started, "finishedAt": rfc3339(world.now)}
    statuses = _statuses(pod, {"terminated": ended}, is_ready=False)
    status = pod["status"] | {"phase": "Succeeded", "startTime": started, "containerStatuses": statuses}
    _write(world, pod, status, is_ready=False, reason="PodCompleted")
