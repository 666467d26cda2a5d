"""A pod that asks a GPU how it is, and what its answer means (requirement R4). Pure."""

from __future__ import annotations

import re
from typing import Any

from penstock.facts.cuda import IMAGE_CUDA_MAJOR, driver_min, image_cuda_major
from penstock.operate.apply.objects import Object, at
from penstock.operate.preflight.case import failed, ok
from penstock.operate.preflight.survey import Check
from penstock.plan.manifests import ModelNeeds, Site

__all__ = ["answer_of", "gpu_test_pod", "trouble_of"]

_DRIVER = re.compile(r"Driver Version:\s*(\d+)(?:\.[\d.]+)?")
_GPUS = re.compile(r"^\|\s+\d+\s+(\S.*?)\s{2,}", re.MULTILINE)


def gpu_test_pod(site: Site, needs: ModelNeeds, resource: str) -> Object:
    """A pod that runs `nvidia-smi` once, on a node where the model's engines would run."""
    entry = site.gpu_class(needs)
    taint: dict[str, Any] = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    tolerations = [taint, *(t.model_dump(exclude_none=True) for t in entry.tolerations)]
    container = {
        "name": "smi",
        "image": site.engine_image(needs),
        "command": ["nvidia-smi"],
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi", resource: "1"}, "limits": {resource: "1"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "activeDeadlineSeconds": 300,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "tolerations": tolerations,
        "containers": [container],
    }
    if entry.node_selector:
        spec["nodeSelector"] = dict(entry.node_selector)
    if entry.runtime_class is not None:
        spec["runtimeClassName"] = entry.runtime_class
    metadata = site.metadata("preflight", f"{site.names[needs.spec.name]}-gpu-test")
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def answer_of(model: str, log: str, image: str) -> Check:
    """What the pod's words mean for the model."""
    found = _DRIVER.search(log)
    if found is None:
        last = log.strip().splitlines()[-1:] or ["it said nothing"]
        message = f"nvidia-smi does not answer: {last[0]}"
        return failed("gpu-test", model, message, hint="see the driver and the container toolkit of the node")
    driver = int(found.group(1))
    cuda = image_cuda_major(image.rpartition(":")[2]) or IMAGE_CUDA_MAJOR
    names = ", ".join(sorted({match.strip() for match in _GPUS.findall(log)})) or "a GPU"
    if driver < driver_min(cuda):
        message = (
            f"{names} with driver {driver}; {image} is built for CUDA {cuda}, which needs {driver_min(cuda)} or newer"
        )
        return failed("gpu-test", model, message, hint="upgrade the driver, or name an engine image of an older CUDA")
    return ok("gpu-test", model, f"{names} with driver {driver}")


def trouble_of(pod: Object) -> str:
    """Why a pod has not run, in the words of the cluster; empty where it says nothing."""
    for entry in at(pod, "status", "conditions", default=()):
        if entry.get("type") == "PodScheduled" and entry.get("status") == "False":
            return str(entry.get("message") or entry.get("reason") or "")
    for entry in at(pod, "status", "containerStatuses", default=()):
        waiting = at(entry, "state", "waiting", default={})
        if waiting:
            return f"{waiting.get('reason', '')}: {waiting.get('message', '')}".strip(": ")
    return ""
