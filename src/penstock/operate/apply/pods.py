"""Why a pod does not serve yet, in words: the scheduler's, the node's, the container's. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from penstock.operate.apply.objects import Object, at, conditions

__all__ = ["is_ready", "latest_warning", "pod_trouble", "restarts_of"]

_IMAGE = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
_SETUP = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}


def is_ready(pod: Object) -> bool:
    return conditions(pod).get("Ready", {}).get("status") == "True" and "deletionTimestamp" not in pod["metadata"]


def restarts_of(pod: Object) -> int:
    """How often its containers were started again."""
    return sum(int(status.get("restartCount") or 0) for status in _statuses(pod))


def pod_trouble(pod: Object, events: Iterable[Object] = ()) -> str:
    """Why a pod is not ready; empty where it is, or where it just starts."""
    if is_ready(pod) or at(pod, "status", "phase") == "Succeeded":
        return ""
    if "deletionTimestamp" in pod["metadata"]:
        return "is being deleted"
    scheduled = conditions(pod).get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return f"no node takes it: {scheduled.get('message') or scheduled.get('reason', '')}".rstrip(": ")
    for status in _statuses(pod):
        trouble = _container_trouble(status)
        if trouble:
            return trouble
    if at(pod, "status", "phase") == "Failed":
        reason = at(pod, "status", "reason", default="")
        message = at(pod, "status", "message", default="")
        return f"failed: {': '.join(filter(None, (reason, message))) or 'its containers ended'}"
    warning = latest_warning(events, at(pod, "metadata", "uid", default=""))
    if warning:
        return warning
    if any(at(status, "state", "running") is not None for status in _statuses(pod)):
        return "runs, and does not answer ready yet"
    return "waits for its volumes and images" if at(pod, "spec", "nodeName") else "waits for a node"


def latest_warning(events: Iterable[Object], uid: str) -> str:
    """The newest warning about an object; empty where there is none."""
    about = [e for e in events if e.get("type") == "Warning" and at(e, "involvedObject", "uid", default="") == uid]
    if not about or not uid:
        return ""
    newest = max(about, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    return f"{newest.get('reason', '')}: {newest.get('message', '')}".strip(": ")


def _statuses(pod: Object) -> list[Mapping[str, Any]]:
    return [
        *at(pod, "status", "initContainerStatuses", default=[]),
        *at(pod, "status", "containerStatuses", default=[]),
    ]


def _container_trouble(status: Mapping[str, Any]) -> str:
    name = str(status.get("name", ""))
    waiting = at(status, "state", "waiting", default={})
    reason, message = waiting.get("reason", ""), str(waiting.get("message", "")).strip()
    if reason in _IMAGE:
        return f"the image {status.get('image') or name} cannot be pulled: {message or reason}"
    if reason in _SETUP:
        return f"container {name} cannot be made: {message or reason}"
    ended = at(status, "state", "terminated", default=None) or at(status, "lastState", "terminated", default={})
    is_bad = bool(ended) and (ended.get("exitCode", 0) != 0 or ended.get("reason") == "OOMKilled")
    if reason == "CrashLoopBackOff" or is_bad:
        how = _end(ended) if ended else message
        return f"container {name} ends again and again ({status.get('restartCount', 0)} restarts): {how}"
    return ""


def _end(ended: Mapping[str, Any]) -> str:
    if ended.get("reason") == "OOMKilled":
        return "the node's kernel killed it, as it went over its memory limit (OOMKilled)"
    message = str(ended.get("message") or "").strip()
    words = f"exit code {ended.get('exitCode')}"
    return f"{words}: {message[-300:]}" if message else words
