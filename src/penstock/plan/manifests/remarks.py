"""What of a model's engines cannot be rendered, and what a person should know before applying the rest. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.plan.manifests.command import SECRET_VARIABLES, command_of
from penstock.plan.manifests.fetch import TOKEN_VARIABLES, job_name
from penstock.plan.manifests.gpu_sharing import gpu_share, pod_gpus, pods_of_replica
from penstock.plan.manifests.needs import ModelNeeds
from penstock.plan.manifests.quantities import canonical
from penstock.plan.manifests.rolling import rolling_of
from penstock.plan.manifests.site import Site
from penstock.plan.manifests.sources import is_path
from penstock.plan.manifests.volumes import MODELS, fetched, files_of, image_reference
from penstock.spec.base import FieldPath, Finding
from penstock.spec.quantity import parse_quantity

__all__ = ["engine_findings", "engine_notes"]


def engine_findings(site: Site) -> Iterator[Finding]:
    """Everything that is wrong at once, each with its place in the fleet file."""
    if site.needs and not site.name[0].isalpha():
        hint = "begin it with a letter, as in `fleet-" + site.name + "`"
        message = f"is {site.name}: Services are named after it, and their names begin with a letter"
        yield Finding(at=("metadata", "name"), message=message, hint=hint)
    places = {model.name: place for place, model in enumerate(site.fleet.spec.models)}
    for name, needs in site.needs.items():
        at: FieldPath = ("spec", "models", places[name])
        for found in (
            *_of_secrets(needs),
            *_of_storage(site, needs),
            *_of_hardware(site, needs),
            *_of_counts(site, needs),
        ):
            yield Finding(at=(*at, *found.at), message=found.message, hint=found.hint)


def _of_secrets(needs: ModelNeeds) -> Iterator[Finding]:
    """The file itself is kept in the cluster, for the gateway."""
    message = "is a secret in the file, and the file is kept in the cluster for all to read"
    for name in needs.spec.engine.env:
        if name in TOKEN_VARIABLES:
            hint = "name its Secret in `kubernetes.huggingFaceToken`, and revoke this one"
            yield Finding(at=("engine", "env", name), message=message, hint=hint)
        elif name in SECRET_VARIABLES:
            yield Finding(at=("engine", "env", name), message=message, hint="take it out, and revoke it")
    for name in needs.spec.engine.args:
        if name.replace("_", "-") == "api-key":
            hint = "take it out: network policies keep all but the gateway away from engines"
            yield Finding(at=("engine", "args", name), message=message, hint=hint)


def _of_storage(site: Site, needs: ModelNeeds) -> Iterator[Finding]:
    source, storage = needs.spec.source_or_name, site.storage(needs)
    if needs.is_simulated:
        return
    if is_path(source) and not source.startswith("/"):
        message = f"is {source}, a folder of this machine, which a pod does not have"
        hint = "name a hub name or an object store; or a folder below /models with `storage.claim`"
        yield Finding(at=("source",), message=message, hint=hint)
    if storage.claim is not None and source.startswith("/") and not source.startswith(f"{MODELS}/"):
        message = f"is {source}, and the claim {storage.claim} is mounted at {MODELS}"
        yield Finding(at=("source",), message=message, hint=f"name the folder as it is below {MODELS}")
    if storage.mode == "image" and storage.claim is None and image_reference(site, needs) is None:
        message = "is `image`, and no artifact is named"
        hint = "name it in `storage.image`, or as an `oci://` source"
        yield Finding(at=("storage", "mode"), message=message, hint=hint)
    if storage.mode == "none" and "://" in source and not source.startswith("hf://"):
        message = f"is `none`, and vLLM itself downloads from the hub only, not from {source}"
        yield Finding(at=("storage", "mode"), message=message, hint="use `node`: each replica pulls for itself")


def _of_hardware(site: Site, needs: ModelNeeds) -> Iterator[Finding]:
    gpus, pods = site.gpu_class(needs), pods_of_replica(site, needs)
    if needs.is_simulated:
        return
    if pods > 1 and needs.data > 1:
        message = f"is {needs.data} in a replica of {needs.gpus} GPUs, more than the {gpus.gpus_per_node} of a node"
        hint = "copies of an engine need not stand in one replica: use `replicas`"
        yield Finding(at=("hardware", "dataParallel"), message=message, hint=hint)
    share = gpu_share(site, needs)
    if share is None:
        return
    if needs.gpus > 1:
        message = f"is {needs.gpus}, and turns are taken on one GPU at a time (`timeSlices`)"
        yield Finding(at=("hardware", "count"), message=message, hint="use whole GPUs for this model")
    if "gpu-memory-utilization" not in needs.spec.engine.args and needs.source_bytes > share * needs.gpu.memory_bytes:
        message = (
            f"has {needs.source_bytes / 1e9:.1f} GB of weights, and one of {gpus.time_slices} turns on a "
            f"{needs.gpu.name} has {share * needs.gpu.memory_bytes / 1e9:.1f} GB"
        )
        yield Finding(at=("hardware",), message=message, hint="fewer `timeSlices`, or a larger GPU")


def _of_counts(site: Site, needs: ModelNeeds) -> Iterator[Finding]:
    floor, scaling = needs.spec.scheduling.on_demand_replicas, needs.spec.autoscaling
    at: FieldPath = ("scheduling", "onDemandReplicas")
    most = needs.replicas if scaling is None else scaling.max_replicas
    if floor > most:
        word = "replicas" if scaling is None else "autoscaling.maxReplicas"
        yield Finding(at=at, message=f"is {floor}, more than `{word}`, which is {most}")
    if floor and pods_of_replica(site, needs) > 1:
        yield Finding(at=at, message="is for replicas of one node, and these span several")
    resources = needs.spec.resources
    if resources.shm is not None and resources.memory is not None:
        shm, memory = parse_quantity(resources.shm), parse_quantity(resources.memory)
        if shm >= memory:
            message = f"is {canonical(resources.shm)}, and counts as memory, of which there is {resources.memory}"
            yield Finding(at=("resources", "shm"), message=message)


def engine_notes(site: Site) -> Iterator[str]:
    """In the order of the file, what several models share once; what concerns the whole cluster last."""
    models: dict[str, list[str]] = {}
    for needs in site.needs.values():
        for note in _notes(site, needs):
            models.setdefault(note, []).append(needs.spec.name)
    yield from (f"{', '.join(names)}: {note}" for note, names in models.items())
    yield from _of_cluster(site)


def _notes(site: Site, needs: ModelNeeds) -> Iterator[str]:
    yield from command_of(site, needs, files_of(site, needs)).notes
    if needs.is_simulated:
        return
    if any(not folder.is_pinned for folder in fetched(site, needs)):
        yield "no commit is pinned, so two pulls may differ. `revision: COMMIT` names the one that was tried."
    rolling = rolling_of(site, needs)
    if rolling.has_gap:
        yield (
            "a gap of a cold start in each rollout, as the only replica is replaced in place and no GPUs are spare. "
            "Two replicas or `spareGpus` close it."
        )
    image = site.engine_image(needs)
    if "@" not in image and (":" not in image.rpartition("/")[2] or image.endswith(":latest")):
        yield f"the image {image} names no version: nodes may run different ones. Pin a tag, better a digest."
    if needs.spec.adapters and "max-lora-rank" not in {n.replace("_", "-") for n in needs.spec.engine.args}:
        yield "the engine takes adapters up to rank 16; for others set `engine.args: {max-lora-rank: 64}`."
    if pods_of_replica(site, needs) > 1 and needs.tensor > pod_gpus(site, needs):
        yield (
            f"its {needs.tensor} tensor-parallel GPUs are on several nodes, and each layer waits for the network "
            "between them. `pipelineParallel` keeps layers inside a node."
        )
    if needs.gpu.vendor == "amd" and "rocm" not in image:
        yield f"{needs.gpu.name} is AMD's, and the image {image} is for NVIDIA's GPUs: name one in `engine.image`."


def _of_cluster(site: Site) -> Iterator[str]:
    all_needs = list(site.needs.values())
    shared = [n for n in all_needs if job_name(site, n) is not None and site.storage(n).mode == "shared"]
    if any(site.storage(n).storage_class is None and site.storage(n).claim is None for n in shared):
        yield (
            "Models are kept on ReadWriteMany volumes of the cluster's default StorageClass, and block storage, which "
            "the default often is, has none. Name one in `storage.storageClass`: EFS or FSx for Lustre on AWS, "
            "Filestore on Google Cloud, Azure Files (NFS) on Azure; or use `mode: readOnlyMany`."
        )
    if any(pods_of_replica(site, n) > 1 for n in all_needs):
        yield (
            "A replica spans nodes: the cluster needs the LeaderWorkerSet controller, 0.6 or newer "
            "(https://lws.sigs.k8s.io/docs/installation)."
        )
    real = [n for n in all_needs if not n.is_simulated]
    if any(site.gpu_class(n).dra_class is not None for n in real):
        yield "GPUs are claimed: the cluster needs Kubernetes 1.34 or newer, and a DRA driver with that DeviceClass."
    if any(site.storage(n).mode == "image" and site.storage(n).claim is None for n in real):
        yield "Models are OCI artifacts: image volumes are on by default from Kubernetes 1.35, with containerd 2.1."
    if any(site.gpu_class(n).time_slices is not None for n in real):
        yield "Models take turns on GPUs: for development only, as nothing keeps one from slowing the others."
