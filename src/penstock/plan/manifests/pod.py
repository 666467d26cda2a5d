"""The pod of an engine: one container, its probes, resources, volumes and end. Pure.

Guarantees: restricted pod security; memory request and limit are one number that holds /dev/shm; GPUs are asked for as
the plan lays the model out over them; nothing in it changes unless something that matters does.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

from penstock.plan.manifests.command import CACHE, Command, command_of
from penstock.plan.manifests.fetch import job_name, pull_containers
from penstock.plan.manifests.gpu_sharing import CLAIM, claim_template_name, gpu_resource, pod_gpus, pods_of_replica
from penstock.plan.manifests.manifest import Because, plain
from penstock.plan.manifests.names import component_labels
from penstock.plan.manifests.needs import ModelNeeds
from penstock.plan.manifests.placement import placement, spot_of
from penstock.plan.manifests.probes import ending_of, probes
from penstock.plan.manifests.quantities import canonical
from penstock.plan.manifests.security import container_security, pod_security
from penstock.plan.manifests.site import ENGINE_PORT, Site
from penstock.plan.manifests.volumes import Files, files_of
from penstock.spec.quantity import parse_quantity

__all__ = ["POOL", "Role", "pod_labels", "pod_selector", "pod_template"]

POOL = "penstock.dev/pool"
"""Label that tells a model's Deployments apart: `main`, and `on-demand` where some replicas stay off spot nodes."""
_EVICTABLE = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
_GIB = 1 << 30
_PROCESS_BYTES = 4 * _GIB
_CACHE_BYTES = 16 * _GIB
"""Compiled graphs and kernels of one engine: a few GiB."""
_TMP_BYTES = 4 * _GIB
_SIMULATED_CPU, _SIMULATED_MEMORY = "250m", "512Mi"


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """Which of a model's pods it is."""

    pool: str = "main"
    words: tuple[Any, ...] = ()
    """More of the command line: a node's place in its group."""
    env: tuple[Any, ...] = ()
    """More of its environment."""
    answers: bool = True
    """Whether it serves HTTP. Of a replica over several nodes only the first does."""
    revision_label: str = "pod-template-hash"


def pod_selector(site: Site, needs: ModelNeeds, pool: str) -> dict[str, str]:
    """Labels by which a Deployment finds its pods; never changed."""
    return {**site.selector("engine", site.names[needs.spec.name]), POOL: pool}


def pod_labels(site: Site, needs: ModelNeeds, pool: str) -> dict[str, str]:
    """All labels of a pod."""
    extra = {**site.fleet.metadata.labels, **site.kubernetes.labels}
    return {**component_labels(site.name, "engine", site.names[needs.spec.name], extra), POOL: pool}


def pod_template(site: Site, needs: ModelNeeds, role: Role) -> dict[str, Any]:
    """`spec.template` of whatever runs it."""
    files = files_of(site, needs)
    command = command_of(site, needs, files)
    reason = "Names what the engine runs with: image, command, variables, files. Two pods with one value run the same."
    spec = _pod(site, needs, role, files, command)
    annotations = {
        "penstock.dev/revision": Because(_revision(site, needs, command), reason),
        _EVICTABLE: _evictable(spec["volumes"]),
    }
    return {"metadata": {"labels": pod_labels(site, needs, role.pool), "annotations": annotations}, "spec": spec}


def _evictable(volumes: list[dict[str, Any]]) -> Because:
    """Volumes on the node's disk that nobody misses. Says nothing of how many replicas there are or what counts them:
    a change of that would restart them all."""
    names = [v["name"] for v in volumes if "emptyDir" in v and "medium" not in v["emptyDir"]]
    reason = (
        "Scratch only: cluster-autoscaler may empty a node that is mostly idle, one replica at a time. Without this it "
        "would keep the node for ever."
    )
    return Because(",".join(names), reason)


def _revision(site: Site, needs: ModelNeeds, command: Command) -> str:
    adapters = [[a.name, a.source, a.revision] for a in needs.spec.adapters]
    source = [needs.spec.source_or_name, needs.spec.revision]
    content = [_image(site, needs), plain(command.command), plain(command.args), plain(command.env), source, adapters]
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()[:10]


def _image(site: Site, needs: ModelNeeds) -> str:
    return site.image if needs.is_simulated else site.engine_image(needs)


def _pod(site: Site, needs: ModelNeeds, role: Role, files: Files, command: Command) -> dict[str, Any]:
    ending = ending_of(site, needs)
    secrets = [{"name": name} for name in site.kubernetes.image_pull_secrets]
    labels = site.selector("engine", site.names[needs.spec.name])
    spot = spot_of(needs, is_floor=role.pool == "on-demand")
    claim = claim_template_name(site, needs)
    before = _before(site, needs, files)
    return {
        "automountServiceAccountToken": Because(False, "An engine has no business with the API server."),
        "enableServiceLinks": Because(
            False, "Else a Service called `vllm` would set VLLM_PORT, which the engine takes for its own."
        ),
        **({"imagePullSecrets": secrets} if secrets else {}),
        **placement(site, needs, labels, spot=spot, revision=role.revision_label),
        "securityContext": pod_security(),
        "terminationGracePeriodSeconds": Because(ending.grace_s, ending.grace_reason),
        **({"resourceClaims": [{"name": CLAIM, "resourceClaimTemplateName": claim}]} if claim else {}),
        **({"initContainers": before} if before else {}),
        "containers": [_container(site, needs, role, files, command)],
        "volumes": [*files.volumes, *_scratch(site, needs, files)],
    }


def _before(site: Site, needs: ModelNeeds, files: Files) -> list[dict[str, Any]]:
    """What runs before the engine: a pull of the pod's own, or a wait for the Job's."""
    if files.pulled:
        assert files.pull_mount is not None
        return pull_containers(site, needs, files.pulled, files.pull_mount)
    if job_name(site, needs) is None:
        return []
    tests = " && ".join(f"test -e '{marker}'" for marker in files.markers)
    script = f"until {tests}; do echo 'waiting for the files of the model: see its Job'; sleep 5; done"
    return [
        {
            "name": "wait-for-files",
            "image": Because(_image(site, needs), "The engine's own, which is pulled anyway."),
            "command": [
                "sh",
                "-c",
                Because(script, "The marker is written last, when all files are there and verified."),
            ],
            "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "64Mi"}},
            "securityContext": container_security(),
            "volumeMounts": [*files.mounts],
        }
    ]


def _container(site: Site, needs: ModelNeeds, role: Role, files: Files, command: Command) -> dict[str, Any]:
    ending = ending_of(site, needs)
    sleep = Because(ending.sleep_s, ending.sleep_reason)
    serving: dict[str, Any] = {
        "ports": [{"name": "http", "containerPort": ENGINE_PORT, "protocol": "TCP"}],
        **probes(site, needs),
    }
    if not role.answers:
        serving = {}
        sleep = Because(ending.sleep_s + ending.stop_s, "Its GPUs stay until what runs in the first pod has finished.")
    return {
        "name": "engine",
        "image": _image(site, needs),
        "imagePullPolicy": "IfNotPresent",
        **({"command": command.command} if command.command else {}),
        "args": [*_args(command, role), *role.words],
        "env": [*command.env, *role.env],
        **serving,
        "lifecycle": {"preStop": {"sleep": {"seconds": sleep}}},
        "resources": _resources(site, needs, files),
        "securityContext": container_security(),
        "volumeMounts": [*files.mounts, *_scratch_mounts(needs)],
    }


def _args(command: Command, role: Role) -> list[Any]:
    """What only concerns requests is left to the pod that gets them."""
    if role.answers:
        return command.args
    return [word for word in command.args if not str(plain(word)).startswith("--shutdown-timeout=")]


def _resources(site: Site, needs: ModelNeeds, files: Files) -> dict[str, Any]:
    memory, memory_reason = _memory(site, needs)
    cpu, cpu_reason = _cpu(needs, pod_gpus(site, needs))
    requests: dict[str, Any] = {"cpu": Because(cpu, cpu_reason), "memory": memory}
    limits: dict[str, Any] = {"memory": Because(memory, memory_reason)}
    if files.downloads:
        disk = _gib(needs.host.disk_bytes + _CACHE_BYTES + _TMP_BYTES)
        requests["ephemeral-storage"] = Because(disk, "It downloads the model onto the node's own disk at each start.")
        limits["ephemeral-storage"] = disk
    resource = gpu_resource(site, needs)
    if resource is not None:
        count = str(pod_gpus(site, needs))
        sizes = (("tensor", needs.tensor), ("pipeline", needs.pipeline), ("data", needs.data))
        product = " × ".join(f"{name} {size}" for name, size in sizes if size > 1) or "one"
        pods = pods_of_replica(site, needs)
        over = f", over {pods} pods" if pods > 1 else ""
        requests[resource] = count
        limits[resource] = Because(count, f"{product[0].upper()}{product[1:]}{over}, as the engine is told.")
    claims = {"claims": [{"name": CLAIM}]} if claim_template_name(site, needs) else {}
    return {"requests": requests, "limits": limits, **claims}


def _cpu(needs: ModelNeeds, gpus: int) -> tuple[str, str]:
    no_limit = "No limit: throttled, a step that takes milliseconds waits for tens of them while the GPU idles."
    if needs.spec.resources.cpu is not None:
        return canonical(needs.spec.resources.cpu), f"As the file says. {no_limit}"
    if needs.is_simulated:
        return _SIMULATED_CPU, no_limit
    reason = f"Two for the API and the scheduler, two for each GPU's process. {no_limit}"
    return str(2 + 2 * gpus), reason


def _memory(site: Site, needs: ModelNeeds) -> tuple[str, str]:
    said = needs.spec.resources.memory
    if said is not None:
        return canonical(said), "As the file says; request and limit are one number, so that none is promised twice."
    if needs.is_simulated:
        return _SIMULATED_MEMORY, "A simulated engine holds no weights."
    pods, shm = pods_of_replica(site, needs), _shm_bytes(site, needs)
    gpus = pod_gpus(site, needs)
    processes = _PROCESS_BYTES * (1 + gpus)
    cache = math.ceil(needs.host.page_cache_bytes / pods)
    reason = (
        f"{processes / _GIB:.0f} GiB for processes, {cache / _GIB:.1f} GiB so that the weights stay in the page cache "
        f"and a restart is warm, {shm / _GIB:.3g} GiB of /dev/shm. Request and limit are one number: none "
        "is promised twice."
    )
    return _gib(processes + cache + shm), reason


def _gib(count: int) -> str:
    return canonical(f"{-(-count // _GIB)}Gi")


def _shm_bytes(site: Site, needs: ModelNeeds) -> int:
    """Bytes of /dev/shm."""
    said = needs.spec.resources.shm
    if said is not None:
        return int(parse_quantity(said))
    return (1 + pod_gpus(site, needs)) * _GIB


def _scratch(site: Site, needs: ModelNeeds, files: Files) -> list[dict[str, Any]]:
    """What it can write."""
    tmp = {"name": "tmp", "emptyDir": {"sizeLimit": _gib(_TMP_BYTES)}}
    if needs.is_simulated:
        return [{"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}}]
    said = needs.spec.resources.shm
    gpus = pod_gpus(site, needs)
    reason = f"For what the processes of {gpus} GPU{'s' * (gpus > 1)} tell each other: 64 MiB by default, too few."
    shm = Because(canonical(said) if said else _gib(_shm_bytes(site, needs)), f"{reason} It counts as memory.")
    cache = _CACHE_BYTES + (needs.host.disk_bytes if files.downloads else 0)
    return [
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": shm}},
        {"name": "cache", "emptyDir": {"sizeLimit": _gib(cache)}},
        tmp,
    ]


def _scratch_mounts(needs: ModelNeeds) -> list[dict[str, Any]]:
    tmp = {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108 — the pod's own
    if needs.is_simulated:
        return [tmp]
    return [{"name": "shm", "mountPath": "/dev/shm"}, {"name": "cache", "mountPath": CACHE}, tmp]  # noqa: S108
