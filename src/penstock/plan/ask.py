"""What is asked of a plan for one model: the model, the demand, the promises, and what is already decided. Pure.

Built from a fleet file by `ask_of_model`, or from anything else that fills the record. What is None is free: planning
decides it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from penstock.errors import UsageError
from penstock.facts import MODELS, Architecture, Gpu, find_gpu, mig_profiles, mig_slice
from penstock.perf import Calibration
from penstock.plan.demand import INPUT_TOKENS, Demand, plain_demand
from penstock.plan.quantization import CHOICES, Quantization
from penstock.plan.refusal import Refusal
from penstock.spec import DemandSpec, HardwareSpec, ModelSpec, parse_quantity
from penstock.spec.base import FieldPath
from penstock.spec.nearest import nearest

__all__ = ["Ask", "Objectives", "ask_of_model", "unknown_model"]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Objectives:
    """What is promised, milliseconds at the 95th percentile; None where nothing is."""

    ttft_ms: float | None = None
    itl_ms: float | None = None
    e2e_ms: float | None = None

    @property
    def named(self) -> tuple[tuple[str, float], ...]:
        """Those that are set."""
        pairs = (("TTFT", self.ttft_ms), ("ITL", self.itl_ms), ("E2E", self.e2e_ms))
        return tuple((name, value) for name, value in pairs if value is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One model to plan for."""

    name: str
    source: str
    model: Architecture
    demand: Demand
    """Its rate is 0 where none is said."""
    objectives: Objectives = Objectives()
    gpus: tuple[Gpu, ...]
    """That may be used, in the order of preference at equal cost."""
    rivals: tuple[Gpu, ...] = ()
    """Other GPUs to compare with, which the ask rules out."""
    is_gpu_given: bool = False
    count: int | None = None
    """GPUs of one replica."""
    tensor: int | None = None
    pipeline: int = 1
    data: int = 1
    quantization: Quantization | None = None
    is_any_quantization: bool = False
    dtype: str | None = None
    kv_dtype: str | None = None
    context: int | None = None
    max_num_seqs: int | None = None
    batched_tokens: int | None = None
    utilization: float | None = None
    replicas: int | None = None
    volume_bytes: int | None = None
    """Size of the volume that the model's files are kept on."""
    prices: Mapping[str, int] = field(default_factory=dict)
    """Millionths of a US dollar for one GPU for one hour, by GPU name."""
    price_words: str = ""
    """Where the prices are from."""
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    """Measured ones, by GPU name; where there is none, the default of `perf`."""
    places: Mapping[str, FieldPath] = field(default_factory=dict)
    """Where each of these was said: a path in the file below the model, or the option's name alone."""


def ask_of_model(
    model: ModelSpec,
    architecture: Architecture,
    *,
    demand: Demand | None,
    gpus: Sequence[Gpu],
    prices: Mapping[str, int],
    price_words: str = "",
    calibrations: Mapping[str, Calibration] | None = None,
) -> Ask | list[Refusal]:
    """What a model of the fleet file asks for. `demand`: from its trace; None: as the file says it.

    `gpus` are those to choose among where the model names none.
    """
    reader = _Reader(model)
    hardware = model.hardware or HardwareSpec()
    said = hardware.model_fields_set
    is_gpu_given = "gpu" in said or hardware.mig is not None
    chosen, rivals, prices = _to_choose_among(hardware, gpus, prices, reader)
    tensor = hardware.tensor_parallel or reader.number("tensor", "tensor-parallel-size")
    quantization = reader.quantization()
    ask = Ask(
        name=model.name,
        source=model.source_or_name,
        model=architecture,
        demand=demand if demand is not None else _stated_demand(model, architecture),
        objectives=Objectives(
            ttft_ms=model.objectives.ttft_ms, itl_ms=model.objectives.itl_ms, e2e_ms=model.objectives.e2e_ms
        ),
        gpus=chosen,
        rivals=tuple(gpu for gpu in rivals if gpu not in chosen),
        is_gpu_given=is_gpu_given,
        count=hardware.count if "count" in said or hardware.mig is not None else None,
        tensor=tensor,
        pipeline=reader.number("pipeline", "pipeline-parallel-size") or hardware.pipeline_parallel,
        data=reader.number("data", "data-parallel-size") or hardware.data_parallel,
        quantization=quantization,
        is_any_quantization=model.quantization == "any",
        dtype=model.dtype or reader.text("dtype", "dtype"),
        kv_dtype=model.kv_cache_dtype or reader.text("kv_dtype", "kv-cache-dtype"),
        context=model.context_length or reader.number("context", "max-model-len"),
        max_num_seqs=model.concurrency or reader.number("max_num_seqs", "max-num-seqs"),
        batched_tokens=reader.number("batched_tokens", "max-num-batched-tokens"),
        utilization=reader.share("utilization", "gpu-memory-utilization"),
        replicas=model.replicas if "replicas" in model.model_fields_set else None,
        volume_bytes=int(parse_quantity(model.storage.size)) if model.storage.size else None,
        prices=prices,
        price_words=price_words,
        calibrations=calibrations or {},
        places={**_PLACES, **reader.places},
    )
    return reader.refusals or ask


_PLACES: dict[str, FieldPath] = {
    "gpu": ("hardware", "gpu"),
    "count": ("hardware", "count"),
    "tensor": ("hardware", "tensorParallel"),
    "pipeline": ("hardware", "pipelineParallel"),
    "data": ("hardware", "dataParallel"),
    "quantization": ("quantization",),
    "dtype": ("dtype",),
    "kv_dtype": ("kvCacheDtype",),
    "context": ("contextLength",),
    "max_num_seqs": ("concurrency",),
    "demand": ("demand",),
    "ttft": ("objectives", "ttftMs"),
    "itl": ("objectives", "itlMs"),
    "e2e": ("objectives", "e2eMs"),
    "source": ("source",),
    "volume": ("storage", "size"),
    "mig": ("hardware", "mig"),
}


def _to_choose_among(
    hardware: HardwareSpec, gpus: Sequence[Gpu], prices: Mapping[str, int], reader: _Reader
) -> tuple[tuple[Gpu, ...], tuple[Gpu, ...], Mapping[str, int]]:
    """The GPUs that may be used, all to compare with, and their prices: those of slices too where one is asked for."""
    everything = tuple(gpus)
    if "gpu" not in hardware.model_fields_set and hardware.mig is None:
        return everything, everything, prices
    try:
        whole = find_gpu(hardware.gpu)
    except UsageError as error:
        reader.refuse("gpu", ("hardware", "gpu"), error.message, error.hint)
        return everything, everything, prices
    if hardware.mig is None:
        return (whole,), everything, prices
    try:
        part = mig_slice(whole.name, hardware.mig)
    except UsageError as error:
        reader.refuse("mig", ("hardware", "mig"), error.message, error.hint)
        return (whole,), everything, prices
    slices = _priced_slices(whole, prices)
    return (part,), (*(gpu for gpu, _ in slices), *everything), {**prices, **{gpu.name: cost for gpu, cost in slices}}


def _priced_slices(gpu: Gpu, prices: Mapping[str, int]) -> list[tuple[Gpu, int]]:
    """Slices of a GPU with what each costs where it is cut into as many of them as there can be; none without a
    price."""
    whole = prices.get(gpu.name)
    if whole is None:
        return []
    return [(mig_slice(gpu.name, found.name), whole // found.count_max) for found in mig_profiles(gpu)]


def _stated_demand(model: ModelSpec, architecture: Architecture) -> Demand:
    said = model.demand or DemandSpec()
    output = 0 if architecture.task == "embed" else said.output_tokens
    prompt = said.input_tokens
    if prompt is None and architecture.context < 2 * INPUT_TOKENS:
        prompt = architecture.context // 2
    return plain_demand(said.requests_per_s or 0.0, prompt, output, cached_share=said.cached_share)


def unknown_model(source: str, about: str = "source") -> Refusal:
    """Nothing is known of a model: told with the nearest names."""
    near = nearest(source, [model.name for model in MODELS], limit=3)
    hint = f"did you mean {' or '.join(near)}? else " if near else ""
    return Refusal(
        about=about,
        message=f"nothing is known of the model {source!r}: its size cannot be told from its name",
        hint=f"{hint}give a folder that holds its config.json",
    )


class _Reader:
    """Reads the engine flags of a model that planning depends on; notes where each stands and what cannot be read."""

    def __init__(self, model: ModelSpec) -> None:
        self.refusals: list[Refusal] = []
        self.places: dict[str, FieldPath] = {}
        self._args = {name.replace("_", "-"): (name, value) for name, value in model.engine.args.items()}
        self._model = model

    def refuse(self, about: str, at: FieldPath, message: str, hint: str | None) -> None:
        self.places[about] = at
        self.refusals.append(Refusal(about=about, message=message, hint=hint or "", at=at))

    def number(self, about: str, flag: str) -> int | None:
        return self._read(about, flag, _whole, "a whole number of 1 or more")

    def share(self, about: str, flag: str) -> float | None:
        return self._read(about, flag, _share, "a number above 0, at most 1")

    def text(self, about: str, flag: str) -> str | None:
        value = self._read(about, flag, str, "text")
        return None if value == "auto" else {"half": "float16", "float": "float32"}.get(value or "", value)

    def quantization(self) -> Quantization | None:
        value = self._model.quantization or self.text("quantization", "quantization")
        return next((choice for choice in CHOICES if choice == value), None)  # others are sized as the source is

    def _read(self, about: str, flag: str, convert: Callable[[object], _T], words: str) -> _T | None:
        name, value = self._args.get(flag, ("", None))
        if value is None:
            return None
        at: FieldPath = ("engine", "args", name)
        self.places[about] = at
        try:
            return convert(value)
        except (TypeError, ValueError):
            self.refuse(about, at, f"must be {words}, not {value!r}", None)
            return None


def _whole(value: object) -> int:
    """As the engine reads it: `8192`, and `8k` or `8K`."""
    text = str(value).strip()
    factor = {"k": 1000, "K": 1024, "m": 1_000_000, "M": 1 << 20}.get(text[-1:], 1)
    number = int(text if factor == 1 else text[:-1]) * factor
    if number < 1 or isinstance(value, bool):
        raise ValueError
    return number


def _share(value: object) -> float:
    number = float(str(value))
    if not 0 < number <= 1:
        raise ValueError
    return number
