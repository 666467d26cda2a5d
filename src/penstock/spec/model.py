"""One model of the fleet: where it comes from, how it runs, what it promises."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from penstock.spec.base import Finding, Refusal, SpecObject, Words
from penstock.spec.demand import DemandSpec
from penstock.spec.placement import ResourcesSpec, SchedulingSpec
from penstock.spec.scaling import AutoscalingSpec
from penstock.spec.storage import StorageSpec
from penstock.spec.traffic import FallbackSpec, PriceSpec, RequestsSpec

__all__ = ["AdapterSpec", "EngineSpec", "HardwareSpec", "ModelSpec", "ObjectivesSpec", "Quantization"]

ModelName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$", max_length=200),
    Words("at most 200 letters, digits, `.`, `_`, `:`, `/` and `-`, a letter or digit first"),
]


def _endpoint_url(value: str) -> str:
    """Checks that an endpoint is `http://host[:port]` with nothing after it; returns it without a trailing slash."""
    parts = urlsplit(value)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError("must be http://HOST:PORT, as in http://127.0.0.1:9001")
    if parts.path.rstrip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("must be http://HOST:PORT without path, query or user; the API path is added for you")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("must name a port from 1 to 65535 after the host")
    return f"http://{parts.netloc}"


EndpointUrl = Annotated[str, AfterValidator(_endpoint_url), Words("http://HOST:PORT, as in `http://127.0.0.1:9001`")]
FlagName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$"),
    Words("an engine flag without its leading dashes, as in `max-model-len`"),
]
FlagValue = Annotated[str | int | float | bool | None, Words("text, a number, true, false or null")]
Quantization = Literal["none", "fp8", "fp8-weights", "awq", "gptq", "mxfp4", "any"]
FlagValues = Annotated[FlagValue | list[FlagValue], Words("text, a number, true, false, null or a list of these")]


class EngineSpec(SpecObject):
    """How the engine of this model is started."""

    type: Literal["auto", "vllm", "simulated"] = "auto"
    """Which engine runs. `auto`: vLLM where it is installed and `source` is a folder on disk, else the simulated
    engine; `up` says which and why."""
    version: str = "0.32.0"
    """vLLM version whose API and flags are meant, as in `0.32.0`."""
    image: str | None = None
    """Container image on Kubernetes. Default: the image of `version`."""
    venv: str | None = None
    """Virtual environment that has the `vllm` command, for `penstock up`. Default: the one Penstock runs in, then
    PATH."""
    args: dict[FlagName, FlagValues] = Field(default_factory=dict)
    """Engine flags by name without dashes, as in `max-model-len: 8192`. `true` gives the bare flag, `null` removes one
    of ours, a list repeats the value."""
    env: dict[str, str] = Field(default_factory=dict)
    """Environment variables of the engine process."""
    speed: Annotated[float, Field(gt=0)] = 1.0
    """Simulated engine only: how many times faster than the named GPU it runs."""
    start_timeout_s: Annotated[float, Field(gt=0)] = 600.0
    """Seconds from start until the engine must answer ready; past it the replica is restarted."""
    stop_timeout_s: Annotated[float, Field(ge=0)] = 30.0
    """Seconds that running requests get to finish when a replica is stopped; past it the process is killed."""


class HardwareSpec(SpecObject):
    """What one replica runs on."""

    gpu: str = "H100"
    """GPU by its facts name, as in `H100`, `L4`, `H200`."""
    count: Annotated[int, Field(ge=1, le=64)] = 1
    """GPUs of one replica. `penstock plan` tells how many it needs."""
    tensor_parallel: Annotated[int, Field(ge=1, le=64)] | None = None
    """Tensor-parallel size: GPUs that share each layer. Default: what `count` leaves to it."""
    pipeline_parallel: Annotated[int, Field(ge=1, le=16)] = 1
    """Pipeline-parallel size: groups of GPUs that hold successive layers. Tensor × pipeline × data is `count`."""
    data_parallel: Annotated[int, Field(ge=1, le=64)] = 1
    """Data-parallel size: copies of the engine in one replica."""
    mig: Annotated[str, Field(pattern=r"^[1-7]g\.[0-9]+gb$"), Words("a MIG profile, as in `1g.10gb`")] | None = None
    """Slice of the GPU instead of all of it, by its MIG profile. A replica has one."""

    @model_validator(mode="after")
    def _a_slice_is_one(self) -> Self:
        if self.mig is not None and self.count != 1:
            message = f"is a slice of one GPU, and `count` is {self.count}: an engine cannot span slices"
            raise Refusal([Finding(at=("mig",), message=message, hint="keep one of the two")])
        return self

    @property
    def tensor_parallel_size(self) -> int:
        """The tensor-parallel size as meant: what is given, else what `count` leaves to it."""
        return self.tensor_parallel or max(1, self.count // (self.pipeline_parallel * self.data_parallel))

    @property
    def engine_flags(self) -> dict[str, str]:
        """The parallel sizes as flags of the engine; sizes of one are left out."""
        sizes = {"tensor": self.tensor_parallel_size, "pipeline": self.pipeline_parallel, "data": self.data_parallel}
        return {f"{name}-parallel-size": str(size) for name, size in sizes.items() if size > 1}


class AdapterSpec(SpecObject):
    """A LoRA adapter that the model's engines serve under a name of its own."""

    name: ModelName
    """Name that clients send in `model`."""
    source: str
    """Hub name, object store address or folder of the adapter."""
    revision: str | None = None
    """Revision of `source`. Pin it in production."""


class ObjectivesSpec(SpecObject):
    """What the model promises. Goodput counts the requests that met all that are set."""

    ttft_ms: Annotated[float, Field(gt=0)] | None = None
    """Time to first token, milliseconds, at the 95th percentile."""
    itl_ms: Annotated[float, Field(gt=0)] | None = None
    """Time between tokens, milliseconds, at the 95th percentile."""
    e2e_ms: Annotated[float, Field(gt=0)] | None = Field(default=None, alias="e2eMs")  # the generator says e2EMs
    """Whole request, milliseconds, at the 95th percentile."""


class ModelSpec(SpecObject):
    """One model and its replicas."""

    name: ModelName
    """Name that clients send in `model`."""
    source: str | None = None
    """Hub name as in `Qwen/Qwen3-8B`, or a folder on disk. Default: `name`."""
    revision: str | None = None
    """Revision of `source`: a commit, tag or branch. Pin it in production."""
    aliases: list[ModelName] = Field(default_factory=list)
    """Other names that clients may send; answered by this model."""
    task: Literal["auto", "generate", "embed"] = "auto"
    """What the model does. `auto`: from what is known of `source`."""
    replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    """Engines that serve this model."""
    hardware: HardwareSpec | None = None
    """What each replica runs on. Default: the cheapest GPUs of `spec.hardware` that hold the objectives, H100s where
    that names none; `up` simulates one H100."""
    engine: EngineSpec = Field(default_factory=EngineSpec)
    """How the engine is started."""
    quantization: Quantization | None = None
    """How the weights are quantized. `fp8` needs a GPU with FP8 units, `fp8-weights` only stores them so; `awq`, `gptq`
    and `mxfp4` need a `source` that was made so; `any` lets `penstock plan` choose between the source's own and fp8.
    Default: as `source` has it."""
    dtype: Literal["bfloat16", "float16", "float32"] | None = None
    """Numbers that the engine computes with. Default: as `source` has it."""
    kv_cache_dtype: Literal["fp8"] | None = None
    """Numbers of the KV cache; `fp8` holds twice the tokens. Default: as `dtype`."""
    context_length: Annotated[int, Field(ge=16, le=20_000_000)] | None = None
    """Longest prompt plus answer, tokens (`max-model-len`). Default: the model's own longest; `penstock plan` proposes
    what the demand needs."""
    concurrency: Annotated[int, Field(ge=1, le=65_536)] | None = None
    """Requests that one engine runs at once (`max-num-seqs`); more wait. Default: the engine's."""
    objectives: ObjectivesSpec = Field(default_factory=ObjectivesSpec)
    """What the model promises."""
    demand: DemandSpec | None = None
    """What clients ask of it at the busiest time, for `penstock plan`."""
    adapters: list[AdapterSpec] = Field(default_factory=list)
    """LoRA adapters of this model."""
    requests: RequestsSpec = Field(default_factory=RequestsSpec)
    """What a request to this model may ask for. Default: as `gateway.requests` says."""
    price: PriceSpec | None = None
    """What its tokens cost, for budgets and reports. Default: it costs nothing."""
    fallbacks: list[FallbackSpec] = Field(default_factory=list)
    """Who answers when it can't, in this order."""
    trust_remote_code: bool = False
    """Whether Python code that comes with the model is run. Only with a pinned `revision`: it can do all that the
    engine can."""
    autoscaling: AutoscalingSpec | None = None
    """How many replicas run as the load changes. Default: always `replicas`."""
    storage: StorageSpec = Field(default_factory=StorageSpec)
    """Where the model's files are kept in a cluster. Default: as the fleet's `storage` says."""
    resources: ResourcesSpec = Field(default_factory=ResourcesSpec)
    """What one replica asks of its node, GPUs apart."""
    scheduling: SchedulingSpec = Field(default_factory=SchedulingSpec)
    """On which nodes of a cluster the replicas run."""
    endpoints: Annotated[list[EndpointUrl], Field(min_length=1)] | None = None
    """Engines that already run elsewhere, as `http://HOST:PORT`. With it nothing is started for this model."""

    @model_validator(mode="after")
    def _fields_fit_together(self) -> Self:
        findings: list[Finding] = []
        if len(set(self.aliases)) != len(self.aliases) or self.name in self.aliases:
            findings += _repeated_names(self.name, self.aliases)
        if self.endpoints is not None:
            findings += self._misfits_of_endpoints(self.endpoints)
        findings += self._said_twice()
        findings += self._unpinned_code()
        if findings:
            raise Refusal(findings)
        return self

    def _unpinned_code(self) -> list[Finding]:
        """Code from a branch that its owner can change at any time."""
        is_local = self.source_or_name.startswith(("/", "./", "../", "~"))
        if not self.trust_remote_code or self.revision is not None or is_local:
            return []
        message = "runs whatever code the model's owner puts there, as no `revision` is pinned"
        return [Finding(at=("trustRemoteCode",), message=message, hint="pin `revision` to a commit that was read")]

    def _misfits_of_endpoints(self, endpoints: list[str]) -> list[Finding]:
        """What can't stand beside engines that already run elsewhere."""
        findings: list[Finding] = []
        if self.hardware is not None:
            message = "is for engines to start, but `endpoints` names engines that already run: keep one of the two"
            findings.append(Finding(at=("hardware",), message=message))
        if "replicas" in self.model_fields_set and self.replicas != len(endpoints):
            message = f"is {self.replicas}, but `endpoints` names {len(endpoints)}: with endpoints nothing is started"
            findings.append(Finding(at=("replicas",), message=message, hint="remove `replicas`"))
        for place, url in enumerate(endpoints):
            if url in endpoints[:place]:
                findings.append(Finding(at=("endpoints", place), message=f"{url} is listed twice"))
        return findings

    def _said_twice(self) -> list[Finding]:
        """Engine flags that a field of ours says too."""
        written = {name.replace("_", "-"): name for name in self.engine.args}
        fields = {**_FIELD_OF_FLAG, **{f"{name}-parallel-size": f"hardware.{name}Parallel" for name in _PARALLEL}}
        ours = {*self.engine_flags, *(self.hardware.engine_flags if self.hardware is not None else ())}
        return [
            Finding(
                at=("engine", "args", written[flag]),
                message=f"says the same as `{fields[flag]}`: the engine would be told twice",
                hint="keep one of the two",
            )
            for flag in sorted(ours & set(written))
            if flag != "tensor-parallel-size" or (self.hardware is not None and self.hardware.tensor_parallel)
        ]

    @property
    def engine_flags(self) -> dict[str, str]:
        """What these fields say as flags of the engine, hardware apart; nothing for what is not set."""
        quantization = {"fp8-weights": "fp8", "none": None, "any": None}.get(self.quantization or "", self.quantization)
        values = (quantization, self.dtype, self.kv_cache_dtype, self.context_length, self.concurrency)
        return {f: str(v) for f, v in zip(_FIELD_OF_FLAG, values, strict=True) if v is not None}

    @property
    def names(self) -> tuple[str, ...]:
        """Every name a client may send for this model, the main one first."""
        return (self.name, *self.aliases, *(adapter.name for adapter in self.adapters))

    @property
    def source_or_name(self) -> str:
        """The model's source; its name where none is given."""
        return self.source if self.source is not None else self.name


_FIELD_OF_FLAG = {
    "quantization": "quantization",
    "dtype": "dtype",
    "kv-cache-dtype": "kvCacheDtype",
    "max-model-len": "contextLength",
    "max-num-seqs": "concurrency",
}
_PARALLEL = ("tensor", "pipeline", "data")


def _repeated_names(name: str, aliases: list[str]) -> list[Finding]:
    known = {name}
    findings: list[Finding] = []
    for place, alias in enumerate(aliases):
        if alias in known:
            message = f"{alias!r} is already a name of this model"
            findings.append(Finding(at=("aliases", place), message=message, hint="remove it"))
        known.add(alias)
    return findings
