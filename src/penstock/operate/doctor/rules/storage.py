"""Rules on volumes and the weights in them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from penstock.facts import find_model
from penstock.facts.kubernetes import BLOCK_CLASSES, BLOCK_DRIVERS
from penstock.operate.doctor.case import Case
from penstock.operate.doctor.charts import model_specs
from penstock.operate.doctor.engines import Engine
from penstock.operate.doctor.evidence import Node, Resource
from penstock.operate.doctor.findings import Hit, Rule, Severity
from penstock.operate.doctor.pods import Container, Pod
from penstock.operate.doctor.sizing import sized_model
from penstock.perf import weight_bytes

__all__ = ["RULES"]

_DOWNLOADS = re.compile(
    r"\bhf\s+download|huggingface-cli\s+download|snapshot_download|git\s+(?:lfs\s+)?clone"
    r"|\bwget\b|\bcurl\b.*\s-[oO]|aws\s+s3\s+(?:cp|sync)"
    r"|gsutil\b|gcloud\s+storage\s+cp|rclone\s+(?:copy|sync)|azcopy\s+copy|\btouch\s+/|\bmkdir\s",
)
_FETCHES = re.compile(_DOWNLOADS.pattern.replace(r"|\btouch\s+/|\bmkdir\s", ""))
_SINGLE = re.compile(r"(?:-[efs]\s+|test\s+|ls\s+|exists\()[\"']?[^\s\"';]*/model\.safetensors(?![\w.])")
_ONE_FILE_MAX = 5_000_000_000
"""A checkpoint above it is cut into several files (the hub's default)."""
_CACHE = re.compile(r"/\.cache/huggingface(/hub)?/?$|/hf[-_]cache/?$")
_STREAMING = frozenset(
    {"runai_streamer", "runai_streamer_sharded", "fastsafetensors", "instanttensor", "tensorizer", "sharded_state"}
)
_ONE_NODE = frozenset({"ReadWriteOnce", "ReadWriteOncePod"})
_RWX_BYTES_MIN = 8 << 30
"""Weights above it take long enough to read for the way of reading to matter."""


def _claims(case: Case) -> Iterator[tuple[Resource, Node, Node, Node]]:
    """Claims: the object, its modes, its class and the node to look for a source in."""
    for resource in case.kind("PersistentVolumeClaim"):
        spec = resource.root["spec"]
        yield resource, spec["accessModes"], spec["storageClassName"], spec


def _modes(node: Node) -> list[str]:
    return [item.text for item in node]


def _has_source(spec: Node) -> bool:
    return bool(spec["dataSource"] or spec["dataSourceRef"] or spec["volumeName"].text)


def _mounts_of(pod: Pod, volume: Node) -> Iterator[tuple[Container, Node]]:
    name = volume["name"].text
    for container in pod.containers:
        for mount in container.mounts:
            if mount["name"].text == name:
                yield container, mount


def _script(container: Container) -> str:
    return "\n".join(node.text for node in [*container.node["command"], *container.node["args"]])


def _readonly_written(case: Case) -> Iterator[Hit]:
    for resource, modes, storage, spec in _claims(case):
        writer = next((c for c, _ in _writers(case, resource)), None)
        is_other = _has_source(spec) or (writer is None and _block_of(case, storage.text) is not None)
        if _modes(modes) != ["ReadOnlyMany"] or is_other:
            continue
        who = (
            f"container {writer.name} of {writer.pod.title} downloads into it"
            if writer
            else "nothing that fills it is named (dataSource or volumeName)"
        )
        yield Hit(
            where=modes[0].where,
            message=f"claim {resource.name} is ReadOnlyMany, and {who}",
            evidence=f"accessModes: {', '.join(_modes(modes))}",
        )
    for pod in case.pods:
        for volume in pod.spec["volumes"]:
            claimed = volume["persistentVolumeClaim"]
            for container, mount in _mounts_of(pod, volume):
                is_closed = mount["readOnly"].value is True or claimed["readOnly"].value is True
                if (
                    claimed
                    and is_closed
                    and _FETCHES.search(_script(container))
                    and mount["mountPath"].text.rstrip("/") in _script(container)
                ):
                    node = mount["readOnly"] if mount["readOnly"] else claimed["readOnly"]
                    yield Hit(
                        where=node.where,
                        message=f"container {container.name} of {pod.title} downloads into {mount['mountPath'].text},"
                        f" which it mounts read-only",
                        evidence=node.shown,
                    )


def _writers(case: Case, claim: Resource) -> Iterator[tuple[Container, Node]]:
    for pod in case.pods:
        for name, volume in pod.claims():
            if name == claim.name and pod.resource.namespace in (claim.namespace, ""):
                engine = case.engine_pods.get(id(pod))
                for container, mount in _mounts_of(pod, volume):
                    is_cache = engine is not None and engine.container is container and _downloads(engine, mount)
                    if is_cache or _DOWNLOADS.search(_script(container)):
                        yield container, mount


def _downloads(engine: Engine, mount: Node) -> bool:
    """Whether an engine fills the hub's cache here by itself."""
    is_name = bool(engine.model) and not engine.model.startswith(("/", "."))
    is_offline = engine.env.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true")
    return is_name and not is_offline and _CACHE.search(mount["mountPath"].text) is not None


def _block_of(case: Case, name: str) -> str | None:
    for resource in case.kind("StorageClass"):
        if resource.name == name:
            return BLOCK_DRIVERS.get(resource.root["provisioner"].text)
    return BLOCK_CLASSES.get(name)


def _block_shared(case: Case) -> Iterator[Hit]:
    for resource, modes, storage, spec in _claims(case):
        block = _block_of(case, storage.text)
        is_clone = _has_source(spec) and "GCE" in (
            block or ""
        )  # a persistent disk that is filled may have many readers
        shared = [m for m in modes if m.text == "ReadWriteMany" or (m.text == "ReadOnlyMany" and not is_clone)]
        if block is not None and shared:
            yield _block_hit(f"claim {resource.name}", storage, block, shared[0].text)
    for spec in (s for r in case.resources for s in model_specs(r)):
        block = _block_of(case, spec["storageClass"].text)
        if block is not None and "ReadWriteMany" in _modes(spec["pvcAccessMode"]):
            yield _block_hit(f"model {spec['name'].text}", spec["storageClass"], block, "ReadWriteMany")
    for pod in case.pods:
        for template in pod.resource.root.at("spec", "volumeClaimTemplates"):
            block = _block_of(case, template.at("spec", "storageClassName").text)
            if block is not None and "ReadWriteMany" in _modes(template.at("spec", "accessModes")):
                yield _block_hit(
                    f"the claim template of {pod.title}",
                    template.at("spec", "storageClassName"),
                    block,
                    "ReadWriteMany",
                )


def _block_hit(what: str, storage: Node, block: str, mode: str) -> Hit:
    return Hit(
        where=storage.where,
        message=f"{what} wants {mode} of class {storage.text}: {block}, which one node can mount",
        evidence=storage.shown,
    )


def _most(case: Case, pod: Pod) -> int:
    """Replicas that a workload may reach."""
    key = (pod.resource.namespace, pod.kind, pod.resource.name)
    most = [scaler.max_replicas for scaler in case.scalers_by_key.get(key, ())]
    return max([pod.replicas or 1, *most])


def _many_readers(case: Case) -> Iterator[Hit]:
    claims = {(r.namespace, r.name): m for r, m, _, _ in _claims(case)}
    for pod in case.pods:
        if pod.is_batch or pod.kind == "DaemonSet":
            continue
        for name, volume in pod.claims():
            modes = _modes(claims.get((pod.resource.namespace, name)) or claims.get(("", name)) or volume["none"])
            if modes and set(modes) <= _ONE_NODE and _most(case, pod) > 1:
                node = volume.at("persistentVolumeClaim", "claimName")
                yield Hit(
                    where=node.where,
                    message=f"{pod.title} may have {_most(case, pod)} replicas, and its claim {name} is {modes[0]}",
                    evidence=node.shown,
                )
    for spec in (s for r in case.resources for s in model_specs(r)):
        modes, count = _modes(spec["pvcAccessMode"]) or ["ReadWriteOnce"], spec["replicaCount"].number or 1
        if spec["pvcStorage"] and count > 1 and set(modes) <= _ONE_NODE:
            yield Hit(
                where=spec["replicaCount"].where,
                message=f"model {spec['name'].text} has {count:g} replicas, and its claim is {modes[0]}",
                evidence=spec["replicaCount"].shown,
            )


def _single_file(case: Case) -> Iterator[Hit]:
    for snippet in case.snippets("shell"):
        for match in _SINGLE.finditer(snippet.text):
            path = match.group()
            model = find_model(re.sub(r"/model\.safetensors.*", "", path).rsplit("/", 1)[-1])
            if not model.is_guess and weight_bytes(model) <= _ONE_FILE_MAX:
                continue
            line = snippet.text.count("\n", 0, match.start()) + 1
            column = match.start() - snippet.text.rfind("\n", 0, match.start())
            yield Hit(
                where=snippet.where(line, column),
                message="the script looks for model.safetensors, which a model in several files never has",
                evidence=path,
            )


def _placeholder(case: Case) -> Iterator[Hit]:
    for snippet in case.snippets("shell"):
        match = re.search(r"echo\s.*would\s+(?:download|fetch|pull)", snippet.text, re.IGNORECASE)
        if match is not None and not _FETCHES.search(snippet.text):
            line = snippet.text.count("\n", 0, match.start()) + 1
            yield Hit(
                where=snippet.where(line, 1 + match.start() - snippet.text.rfind("\n", 0, match.start()) - 1),
                message="the script only says that it would download the model",
                evidence=" ".join(match.group().split()),
            )


def _path_mismatch(case: Case) -> Iterator[Hit]:
    for engine in case.whole_engines:
        pod, container = engine.pod, engine.container
        if pod is None or container is None or not engine.model or engine.model.startswith(("/", ".")):
            continue
        for mount in container.mounts:
            if not _CACHE.search(mount["mountPath"].text):
                continue
            for init in pod.containers:
                script = _script(init)
                paths = [m["mountPath"].text.rstrip("/") for m in init.mounts if m["name"].text == mount["name"].text]
                if (
                    init.is_init
                    and any(f"{p}/" in script and "HF_HOME" not in script and "cache-dir" not in script for p in paths)
                    and not _CACHE.search(paths[0])
                ):
                    yield Hit(
                        where=mount["mountPath"].where,
                        message=f"{init.name} puts the files into {paths[0]}, {engine.title} mounts the volume as the"
                        f" hub's cache and asks for {engine.model}: it downloads again",
                        evidence=mount["mountPath"].shown,
                        fix="mount the volume at one path and give the engine that path as its model",
                    )


def _rwx_engines(case: Case) -> Iterator[tuple[Engine, Node]]:
    shared = {
        (r.namespace, r.name)
        for r, modes, storage, _ in _claims(case)
        if {"ReadWriteMany", "ReadOnlyMany"} & set(_modes(modes)) and _block_of(case, storage.text) is None
    }
    for engine in case.whole_engines:
        if engine.chart is not None and "ReadWriteMany" in _modes(engine.chart["pvcAccessMode"]):
            yield engine, engine.chart["pvcAccessMode"][0]
        if engine.pod is not None:
            for name, volume in engine.pod.claims():
                if (engine.pod.resource.namespace, name) in shared or ("", name) in shared:
                    yield engine, volume.at("persistentVolumeClaim", "claimName")


def _mapped_over_network(case: Case) -> Iterator[Hit]:
    for engine, node in _rwx_engines(case):
        model = sized_model(engine)
        flags = engine.flags
        reads = (flags.text("load-format") or "") in _STREAMING or flags.text("safetensors-load-strategy") in (
            "prefetch",
            "eager",
        )
        if reads or model is None or weight_bytes(model) < _RWX_BYTES_MIN or flags.find("model-loader-extra-config"):
            continue
        yield Hit(
            where=node.where,
            message=f"{engine.title} reads {weight_bytes(model) / 1e9:.0f} GB from a network volume by memory"
            f" mapping, page by page",
            evidence=node.shown,
            fix="--safetensors-load-strategy prefetch, or --load-format runai_streamer",
        )


RULES = (
    Rule(
        id="PS016-read-only-volume-written",
        title="A volume that nobody can write must be filled",
        severity=Severity.ERROR,
        rows=(16,),
        consequence="The download fails, or the volume stays empty: no pod ever starts.",
        fix="ReadWriteMany, or a ReadWriteOnce claim that a Job fills and a ReadOnlyMany clone of its"
        " snapshot; mount it `readOnly: true` in the engines only.",
        check=_readonly_written,
    ),
    Rule(
        id="PS017-block-storage-shared",
        title="Block storage for many readers",
        severity=Severity.ERROR,
        rows=(17,),
        consequence="The claim stays Pending, or the second node waits with a Multi-Attach error.",
        fix="A file store: EFS or FSx for Lustre; Filestore, Hyperdisk ML (read-only) or GCS FUSE;"
        " Azure Files or Blob NFS.",
        check=_block_shared,
    ),
    Rule(
        id="PS122-one-writer-many-replicas",
        title="Several replicas on a claim for one node",
        severity=Severity.ERROR,
        rows=(17,),
        consequence="Pods on a second node wait for ever: Multi-Attach error for volume.",
        fix="ReadWriteMany or ReadOnlyMany, a claim for each pod (StatefulSet), or a cache on the node.",
        check=_many_readers,
    ),
    Rule(
        id="PS018-single-weight-file",
        title="A check for one weight file",
        severity=Severity.ERROR,
        rows=(18,),
        consequence="A sharded model has model-00001-of-000NN.safetensors: the check never passes, or"
        " downloads again each time.",
        fix="`hf download REPO --revision SHA --local-dir DIR` in a Job; verify against"
        " model.safetensors.index.json, then write a marker file last.",
        check=_single_file,
    ),
    Rule(
        id="PS124-download-left-out",
        title="The script only says that it would download",
        severity=Severity.ERROR,
        rows=(18,),
        consequence="Nothing is downloaded: the pod never starts.",
        fix="Download in a Job: `hf download REPO --revision SHA --local-dir DIR`.",
        check=_placeholder,
    ),
    Rule(
        id="PS123-weights-path-mismatch",
        title="The engine looks for the weights elsewhere",
        severity=Severity.ERROR,
        rows=(18,),
        consequence="The prepared files are not found, and each pod downloads the whole model again.",
        fix="Mount the volume at one path in both, and serve that path.",
        check=_path_mismatch,
    ),
    Rule(
        id="PS047-mapped-over-network",
        title="Weights read from a network volume by memory mapping",
        severity=Severity.INFO,
        rows=(47,),
        consequence="Page-sized reads over the network: loading can take longer than a direct download.",
        fix="A streaming or prefetching loader, or a cache on the node; measure.",
        check=_mapped_over_network,
    ),
)
