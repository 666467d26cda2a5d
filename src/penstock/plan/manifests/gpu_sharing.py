"""The GPUs of a pod: whole ones, MIG slices, turns on one, or claims; and what the GPU operator must be told. Pure.

Guarantees: GPUs asked for over all pods of a replica are its tensor × pipeline × data; a ResourceClaimTemplate, which
can't be changed, gets a new name when its content changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from penstock.facts import MigProfile, find_gpu, mig_profiles
from penstock.plan.manifests.emit import emit
from penstock.plan.manifests.manifest import Manifest, Wave
from penstock.plan.manifests.names import dns_name
from penstock.plan.manifests.needs import ModelNeeds
from penstock.plan.manifests.site import Site

__all__ = [
    "CLAIM",
    "claim_template_name",
    "gpu_resource",
    "gpu_share",
    "operator_values",
    "pod_gpus",
    "pods_of_replica",
    "render_gpu_claims",
]

CLAIM = "gpus"
"""Name of the claim inside a pod."""
_PLUGIN = "nvidia.com/gpu"


def pods_of_replica(site: Site, needs: ModelNeeds) -> int:
    """Pods, each on a node of its own, that one replica is made of."""
    if needs.is_simulated:
        return 1
    per_node = site.gpu_class(needs).gpus_per_node
    return next(n for n in range(1, needs.gpus + 1) if needs.gpus % n == 0 and needs.gpus // n <= per_node)


def pod_gpus(site: Site, needs: ModelNeeds) -> int:
    """GPUs of one pod."""
    return needs.gpus // pods_of_replica(site, needs)


def gpu_resource(site: Site, needs: ModelNeeds) -> str | None:
    """The resource that is asked for; None where there are no GPUs, or they are claimed."""
    gpus = site.gpu_class(needs)
    if needs.is_simulated or gpus.dra_class is not None:
        return None
    if "resource" in gpus.model_fields_set:
        return gpus.resource
    mig = needs.spec.hardware.mig if needs.spec.hardware is not None else None
    if mig is not None:
        return f"nvidia.com/mig-{mig}"
    return "amd.com/gpu" if needs.gpu.vendor == "amd" else _PLUGIN


def claim_template_name(site: Site, needs: ModelNeeds) -> str | None:
    """Name of the template that a pod's claim is made from; None where GPUs are not claimed."""
    gpus = site.gpu_class(needs)
    if needs.is_simulated or gpus.dra_class is None:
        return None
    digest = hashlib.sha256(json.dumps(_claim(site, needs), sort_keys=True).encode()).hexdigest()[:6]
    return f"{site.names[needs.spec.name]}-{CLAIM}-{digest}"


def render_gpu_claims(site: Site, needs: ModelNeeds) -> Iterator[Manifest]:
    """The template of a model's claims, where its GPUs are claimed."""
    name = claim_template_name(site, needs)
    if name is None:
        return
    own = site.names[needs.spec.name]
    yield Manifest(
        body={
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceClaimTemplate",
            "metadata": site.metadata("engine", name, own),
            "spec": {"spec": {"devices": {"requests": [_claim(site, needs)]}}},
        },
        wave=Wave.STORE,
        file=f"{own}/engine",
        heading="The GPUs of one pod, claimed (Kubernetes 1.34 or newer, with a DRA driver). A template can't be "
        "changed, so another content has another name.",
    )


def _claim(site: Site, needs: ModelNeeds) -> dict[str, Any]:
    gpus = site.gpu_class(needs)
    mig = needs.spec.hardware.mig if needs.spec.hardware is not None else None
    device: dict[str, Any] = {
        "deviceClassName": gpus.dra_class,
        "allocationMode": "ExactCount",
        "count": pod_gpus(site, needs),
    }
    if mig is not None:
        rule = f'device.attributes["gpu.nvidia.com"].profile == "{mig}"'
        device["selectors"] = [{"cel": {"expression": rule}}]
    return {"name": "gpu", "exactly": device}


def operator_values(site: Site) -> Iterator[Manifest]:
    """Helm values for NVIDIA's GPU operator, where models take slices of GPUs or turns on them."""
    values: dict[str, Any] = {}
    wanted = _profiles_by_gpu(site)
    if wanted:
        configs = {f"penstock-{dns_name(gpu)}": _cut(profiles) for gpu, profiles in wanted.items()}
        data = {"version": "v1", "mig-configs": configs}
        values["mig"] = {"strategy": "mixed"}
        values["migManager"] = {
            "config": {"name": "penstock-mig-parted", "create": True, "data": {"config.yaml": _yaml(data)}}
        }
    slices = {e.gpu: e for e in site.fleet.spec.hardware.classes if e.time_slices is not None}
    if slices:
        plugin = {f"penstock-{dns_name(name)}": _yaml(_turns(e.resource, e.time_slices)) for name, e in slices.items()}
        values["devicePlugin"] = {"config": {"name": "penstock-device-plugin", "create": True, "data": plugin}}
    if not values:
        return
    yield Manifest(
        body={
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": site.fleet_metadata(dns_name(site.name, "gpu-operator")),
            "data": {"values.yaml": _yaml(values)},
        },
        wave=Wave.STORE,
        file="gpu-operator",
        heading="Not read in the cluster: values for the GPU operator's chart, which belongs to who runs the nodes. "
        f"kubectl get configmap {dns_name(site.name, 'gpu-operator')} -o jsonpath='{{.data.values\\.yaml}}' | helm "
        "upgrade gpu-operator nvidia/gpu-operator --reuse-values -f -, then label the nodes: "
        + " and ".join(_node_labels(wanted, slices)),
    )


def _node_labels(wanted: dict[str, list[MigProfile]], slices: dict[str, Any]) -> Iterator[str]:
    yield from (f"nvidia.com/mig.config=penstock-{dns_name(gpu)}" for gpu in wanted)
    yield from (f"nvidia.com/device-plugin.config=penstock-{dns_name(gpu)}" for gpu in slices)


def _profiles_by_gpu(site: Site) -> dict[str, list[MigProfile]]:
    """Profiles that models ask for, largest first, by the name of the whole GPU."""
    found: dict[str, list[MigProfile]] = {}
    for needs in site.needs.values():
        hardware = needs.spec.hardware
        if hardware is None or hardware.mig is None or needs.is_simulated:
            continue
        gpu = find_gpu(hardware.gpu)
        profiles = found.setdefault(gpu.name, [])
        profiles += [p for p in mig_profiles(gpu) if p.name == hardware.mig and p not in profiles]
    return {gpu: sorted(profiles, key=lambda p: -p.compute_slices) for gpu, profiles in sorted(found.items())}


def _cut(profiles: list[MigProfile]) -> list[dict[str, Any]]:
    """Every GPU of a node cut alike: one slice of each profile first, then as many of the smallest as there is room."""
    compute, memory = 7, 8
    counts = {profile.name: 0 for profile in profiles}
    for profile in (*profiles, *[profiles[-1]] * 7):
        fits = profile.compute_slices <= compute and profile.memory_slices <= memory
        if fits and counts[profile.name] < profile.count_max:
            counts[profile.name] += 1
            compute, memory = compute - profile.compute_slices, memory - profile.memory_slices
    cut = {name: count for name, count in counts.items() if count}
    return [{"devices": "all", "mig-enabled": True, "mig-devices": cut}]


def _turns(resource: str, slices: int | None) -> dict[str, Any]:
    return {
        "version": "v1",
        "sharing": {
            "timeSlicing": {
                "renameByDefault": False,
                "failRequestsGreaterThanOne": True,
                "resources": [{"name": resource, "replicas": slices}],
            }
        },
    }


def _yaml(value: dict[str, Any]) -> str:
    """A file inside a ConfigMap."""
    return emit(Manifest(body=value, wave=Wave.STORE, file=""))


def gpu_share(site: Site, needs: ModelNeeds) -> float | None:
    """Share of the GPU's memory that a pod may take where several take turns on it; None where it has it alone."""
    slices = site.gpu_class(needs).time_slices
    return None if slices is None or needs.is_simulated else int(90 / slices) / 100
