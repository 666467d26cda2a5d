"""On which nodes of a cluster a replica runs, and with what share of them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from penstock.spec.base import Finding, Refusal, SpecObject, Words
from penstock.spec.quantity import ByteSize, Cpu
from penstock.spec.storage import ObjectName

__all__ = ["GpuClassSpec", "ResourcesSpec", "SchedulingSpec", "TolerationSpec"]

GpuName = Annotated[str, Field(min_length=1, max_length=60), Words("a GPU by its facts name, as in `H100`")]
LabelKey = Annotated[
    str,
    Field(pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$", max_length=317),
    Words("a label's name, as in `nvidia.com/gpu.product`"),
]
LabelValue = Annotated[
    str,
    Field(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63),
    Words("at most 63 letters, digits, `-`, `_` and `.`"),
]


class TolerationSpec(SpecObject):
    """A taint that the pods stand."""

    key: LabelKey
    """Name of the taint."""
    operator: Literal["Exists", "Equal"] = "Exists"
    """`Exists`: any value; `Equal`: `value` only."""
    value: LabelValue | None = None
    """Value of the taint, with `Equal`."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """What the taint does. Default: any."""

    @model_validator(mode="after")
    def _value_fits_operator(self) -> Self:
        if self.operator == "Exists" and self.value is not None:
            message = "stands beside `operator: Exists`, which takes any value"
            raise Refusal([Finding(at=("value",), message=message, hint="say `operator: Equal`")])
        if self.operator == "Equal" and self.value is None:
            raise Refusal([Finding(at=(), message="says `operator: Equal` without a `value`")])
        return self


class GpuClassSpec(SpecObject):
    """The nodes of the cluster that have one kind of GPU."""

    gpu: GpuName
    """Which GPU; models name it in `hardware.gpu`."""
    resource: LabelKey = "nvidia.com/gpu"
    """Resource that its device plugin counts. A MIG slice is counted as `nvidia.com/mig-PROFILE`."""
    node_selector: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    """Labels of these nodes."""
    tolerations: list[TolerationSpec] = Field(default_factory=list)
    """Taints of these nodes, besides `nvidia.com/gpu`, which is always stood."""
    gpus_per_node: Annotated[int, Field(ge=1, le=16)] = 8
    """GPUs of one node. A replica with more runs on several nodes, as a LeaderWorkerSet."""
    spare_gpus: Annotated[int, Field(ge=0)] = 0
    """GPUs that stay free for a rolling update. With enough for a replica, the new one starts before the old one ends;
    else one at a time is replaced."""
    time_slices: Annotated[int, Field(ge=2, le=32)] | None = None
    """Pods that take turns on one GPU. For development: they share its memory and nothing keeps them apart."""
    dra_class: ObjectName | None = None
    """DeviceClass by which GPUs are claimed through dynamic resource allocation, as in `gpu.nvidia.com`. Default: the
    device plugin's resource."""
    runtime_class: ObjectName | None = None
    """RuntimeClass of the pods, as in `nvidia`. Default: the node's default."""

    @model_validator(mode="after")
    def _one_way_to_share(self) -> Self:
        if self.dra_class is not None and self.time_slices is not None:
            message = "is for the device plugin, which `draClass` does without: keep one of the two"
            raise Refusal([Finding(at=("timeSlices",), message=message)])
        return self


class ResourcesSpec(SpecObject):
    """What one replica's container asks of its node, GPUs apart."""

    cpu: Cpu | None = None
    """CPUs it is promised. Default: from the number of GPUs."""
    memory: ByteSize | None = None
    """Host memory, request and limit. Default: from the plan."""
    shm: ByteSize | None = None
    """Size of /dev/shm, which counts as memory. Default: from the number of GPUs."""


class SchedulingSpec(SpecObject):
    """On which nodes the replicas of a model run."""

    priority: Literal["serving", "batch"] = "serving"
    """`serving` evicts `batch` when GPUs are short."""
    spot: Literal["never", "allowed", "only"] = "never"
    """Whether replicas may run on nodes that the cloud takes back at short notice."""
    on_demand_replicas: Annotated[int, Field(ge=0, le=1000)] = 0
    """`spot: allowed` only: replicas that stay off such nodes, whatever happens."""
    spread: Literal["zone", "host", "none"] = "host"
    """What replicas are spread over: `zone` is zones, and hosts inside them."""
    node_selector: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    """Labels that the nodes must have, besides those of the GPU's class."""
    tolerations: list[TolerationSpec] = Field(default_factory=list)
    """Taints that the pods stand, besides those of the GPU's class."""

    @model_validator(mode="after")
    def _floor_needs_spot(self) -> Self:
        if self.on_demand_replicas and self.spot != "allowed":
            message = f"is a floor beside `spot: allowed`, but spot is `{self.spot}`"
            raise Refusal([Finding(at=("onDemandReplicas",), message=message)])
        return self
