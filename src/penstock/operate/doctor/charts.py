"""Engines in files that are no Kubernetes objects: values of the production-stack chart, and our fleet files. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.facts import Gpu
from penstock.facts.node_labels import gpu_of_label
from penstock.operate.doctor.engines import Engine
from penstock.operate.doctor.evidence import Node, Resource
from penstock.operate.doctor.flags import Arg, parse_flags
from penstock.operate.doctor.images import Image, image_of

__all__ = ["chart_engines", "fleet_engines", "model_specs", "spec_title"]

_VALUES = {
    "tensorParallelSize": "tensor-parallel-size", "pipelineParallelSize": "pipeline-parallel-size",
    "maxModelLen": "max-model-len", "dtype": "dtype", "maxNumSeqs": "max-num-seqs",
    "gpuMemoryUtilization": "gpu-memory-utilization", "maxLoras": "max-loras", "v1": "",
}  # fmt: skip
_DEPTH = 8
"""How far below a file's top the chart's values may lie: values of a subchart in an Argo CD Application."""


def model_specs(resource: Resource) -> Iterator[Node]:
    """Every entry of `servingEngineSpec.modelSpec`, wherever the chart's values lie in a document."""
    for node in resource.root.walk() if "servingEngineSpec" in resource.keys else ():
        if len(node.path) <= _DEPTH + len(resource.base) and node.path[-1:] == ("servingEngineSpec",):
            for entry in node["modelSpec"]:
                if isinstance(entry.value, dict):
                    yield entry


def chart_engines(resource: Resource, asked_version: str) -> Iterator[Engine]:
    """An engine for each entry."""
    for spec in model_specs(resource):
        args: list[Arg] = []
        config = spec["vllmConfig"]
        for key, node in config.fields():
            flag = _VALUES.get(key)
            if flag and node.text:
                args.append(Arg(text=f"--{flag}={node.text}", where=node.key_where))
        extra = [*config["extraArgs"], *spec["extraArgs"]]
        args += [Arg(text=node.text, where=node.where, node=node) for node in extra]
        image = None
        if spec["repository"].text:
            image = Image(repository=spec["repository"].text, tag=spec["tag"].text)
        gpus = spec["requestGPU"].number
        kind = spec["requestGPUType"].text
        replicas = spec["replicaCount"].number
        yield Engine(
            form="chart",
            where=spec["name"].where,
            title=f"model {spec['name'].text}",
            flags=parse_flags(args),
            image=image,
            image_node=spec["tag"] if spec["tag"] else spec["repository"],
            env={e["name"].text: e["value"].text for e in spec["env"]},
            model=spec["modelURL"].text,
            model_where=spec["modelURL"].where,
            gpus=None if gpus is None else int(gpus),
            gpus_where=spec["requestGPU"].where,
            mig=kind.removeprefix("nvidia.com/mig-") if kind.startswith("nvidia.com/mig-") else "",
            gpu=_gpu(spec),
            chart=spec,
            replicas=int(replicas) if replicas is not None else 1,
            asked_version=asked_version,
        )


def _gpu(spec: Node) -> Gpu | None:
    labels = [(key, node.text) for key, node in spec["nodeSelector"].fields()]
    for term in spec["nodeSelectorTerms"]:
        for expression in term["matchExpressions"]:
            values = [value.text for value in expression["values"]]
            if expression["operator"].text == "In" and len(values) == 1:
                labels.append((expression["key"].text, values[0]))
    return next((gpu for key, value in labels if (gpu := gpu_of_label(key, value)) is not None), None)


def spec_title(spec: Node) -> str:
    """How messages call an entry."""
    return f"model {spec['name'].text}"


def fleet_engines(resource: Resource, asked_version: str) -> Iterator[Engine]:
    """An engine for each model of a fleet file; what hardware it needs is `penstock plan`'s to say."""
    if resource.kind != "Fleet" or not resource.api_version.startswith("penstock.dev/"):
        return
    for model in resource.root.at("spec", "models"):
        args = [
            Arg(text=f"--{key}" if node.value is True else f"--{key}={node.text}", where=node.key_where, node=node)
            for key, node in model.at("engine", "args").fields()
            if node.value not in (False, None)
        ]
        image = model.at("engine", "image")
        yield Engine(
            form="fleet",
            where=model["name"].where,
            title=f"model {model['name'].text}",
            flags=parse_flags(args),
            image=image_of(image.text) if image.text else None,
            image_node=image,
            env={key: node.text for key, node in model.at("engine", "env").fields()},
            asked_version=asked_version,
        )
