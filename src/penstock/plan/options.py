"""Every configuration that could serve a model, sized: how many replicas it takes, what that costs, or why it cannot.

Guarantees: the same ask gives the same options in the same order; an option that fits knows the rate that one replica
takes with head-room, and how the demand goes with it; one that does not fit carries the reason in words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from penstock.facts import Architecture, Gpu, engine_defaults
from penstock.perf import Regime
from penstock.plan.ask import Ask, Objectives
from penstock.plan.checks import tensor_misfit
from penstock.plan.demand import Demand
from penstock.plan.estimate import Estimate, Layout, fits, safe_utilization
from penstock.plan.quantization import Quantization, misfit, native, quantized
from penstock.plan.serving import Engine, OperatingPoint

__all__ = ["HEADROOM", "Option", "context_of", "options_of", "tuned"]

HEADROOM = 0.8
"""Share of saturation that a replica is loaded to at the peak: beyond it, latency grows faster than load, and the model
of performance is less sure."""
_TENSOR_SIZES = (1, 2, 4, 8)
"""GPUs of one machine that share each layer."""
_CONTEXT_ASSUMED = 8192
"""Context planned for where none is said."""
_FULL_REQUESTS_MIN = 4
"""Requests of full context that the KV cache should hold, where hardware is free to choose: fewer, and one long request
starves the others."""
_SEQS_MIN, _SEQS_STEP = 16, 8
_BISECTIONS = 10
REGIMES: dict[str, Regime] = {"TTFT": "ttft", "ITL": "itl", "E2E": "itl"}
"""Which interval holds for which objective; a whole request is mostly its gaps."""


@dataclass(frozen=True)
class Option:
    """One layout of the model. `why_not`: what rules it out; empty where nothing does."""

    ask: Ask
    layout: Layout
    context: int
    why_not: str = ""
    is_possible: bool = True
    """It runs, though it may miss an objective."""

    @cached_property
    def estimate(self) -> Estimate:
        gpu, known = self.layout.gpu, self.ask.calibrations
        return Estimate(self.ask.model, self.layout, self.context, known.get(gpu.name) or known.get(gpu.slice_of))

    @cached_property
    def engine(self) -> Engine:
        if self.ask.calibrations:
            return Engine(self.estimate, self.ask.demand)
        return _engine(self.ask.model, self.layout, self.context, self.ask.demand.lengths)

    @cached_property
    def saturation(self) -> float:
        """Requests per second of one replica beyond which its queue has no end."""
        return self.engine.saturation() * self.layout.data

    @cached_property
    def capacity(self) -> float:
        """Requests per second that one replica takes with head-room while the objectives hold; 0 where none do."""
        return self.engine_capacity * self.layout.data

    @cached_property
    def engine_capacity(self) -> float:
        """The same of one engine of the replica."""
        return _capacity(self.engine, self.ask.objectives)

    @cached_property
    def at_capacity(self) -> OperatingPoint:
        """One engine at the rate that it takes with head-room."""
        rate = self.engine_capacity
        return (self.engine.at_rate(rate) if rate else None) or self.alone

    def missed(self, point: OperatingPoint) -> tuple[str, ...]:
        """Objectives that do not hold at a point, at the pessimistic end of the interval: names."""
        return _missed(self.estimate, self.ask.objectives, point)

    @cached_property
    def alone(self) -> OperatingPoint:
        """One request at a time: the best latency it has."""
        return self.engine.at_arrivals(1e-6)

    @cached_property
    def replicas(self) -> int:
        """That the demand needs; what the file says where no rate is said, else one. 0: no number is enough."""
        rate = self.ask.demand.requests_per_s
        if not rate:
            return max(1, self.ask.replicas or 1)
        return math.ceil(rate / self.capacity - 1e-9) if self.capacity else 0

    @cached_property
    def replica_price(self) -> int | None:
        """Millionths of a dollar for one replica for one hour."""
        price = self.ask.prices.get(self.layout.gpu.name)
        return None if price is None else price * self.layout.gpus

    @property
    def price(self) -> int | None:
        """Millionths of a dollar for all replicas for one hour."""
        return None if self.replica_price is None else self.replica_price * max(1, self.replicas)

    @property
    def price_floor(self) -> int:
        """At least this: by saturation alone, without looking at the objectives."""
        replicas = max(1, math.ceil(self.ask.demand.requests_per_s / (HEADROOM * self.saturation) - 1e-9))
        return (self.replica_price or 0) * (replicas if self.ask.demand.requests_per_s else 1)

    @cached_property
    def at_demand(self) -> OperatingPoint:
        """One engine at its share of the demand; without a rate, at its capacity."""
        engines = max(1, self.replicas) * self.layout.data
        rate = self.ask.demand.requests_per_s / engines or self.engine_capacity
        return (self.engine.at_rate(rate) if rate else self.alone) or self.engine.at_arrivals(self.engine.arrivals_max)

    @property
    def quantization(self) -> Quantization:
        return self.layout.quantization

    @property
    def layout_alike(self) -> tuple[object, ...]:
        """The same for options that differ in settings only."""
        layout = self.layout
        return (layout.gpu.name, layout.tensor, layout.pipeline, layout.data, layout.quantization)


@lru_cache(maxsize=32)
def _engine(model: Architecture, layout: Layout, context: int, lengths: Demand) -> Engine:
    """The same for equal asks: a fleet has many models alike."""
    return Engine(Estimate(model, layout, context), lengths)


@lru_cache(maxsize=64)
def _capacity(engine: Engine, objectives: Objectives) -> float:
    """Requests per second that one engine takes with head-room while the objectives hold; 0 where none do."""
    top = engine.saturation() * HEADROOM
    if not objectives.named:
        return top
    point = engine.at_rate(top)
    assert point is not None
    missed = _missed(engine.estimate, objectives, point)
    if not missed:
        return top
    low, high = 0.0, point.arrivals
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if _holds(engine, objectives, middle, missed) else (low, middle)
    return 0.0 if low == 0.0 else min(top, engine.at_arrivals(low).requests_per_s)


def _holds(engine: Engine, objectives: Objectives, arrivals: float, names: tuple[str, ...]) -> bool:
    """Whether these objectives hold; the others do at any lower load, since they do at a higher one."""
    if "ITL" in names and _is_missed(engine.estimate, objectives, "ITL", engine.tpot_p95_s(arrivals)):
        return False
    if names == ("ITL",):
        return True
    return not _missed(engine.estimate, objectives, engine.at_arrivals(arrivals))


def _missed(estimate: Estimate, objectives: Objectives, point: OperatingPoint) -> tuple[str, ...]:
    seconds = {"TTFT": point.ttft_p95_s, "ITL": point.tpot_p95_s, "E2E": point.e2e_p95_s}
    return tuple(name for name, _ in objectives.named if _is_missed(estimate, objectives, name, seconds[name]))


def _is_missed(estimate: Estimate, objectives: Objectives, name: str, seconds: float) -> bool:
    return estimate.interval(seconds, REGIMES[name]).high * 1000 > dict(objectives.named)[name]


def context_of(ask: Ask) -> int:
    """Prompt plus answer to plan for: what is said, else what the demand's longest request needs, 8,192 at least."""
    if ask.context is not None:
        return ask.context
    needed = max(_CONTEXT_ASSUMED, ask.demand.longest_tokens)
    return min(ask.model.context, 1 << (needed - 1).bit_length())


def options_of(ask: Ask, *, is_allowed: Callable[[Quantization], bool] | None = None) -> Iterator[Option]:
    """Every layout that may be used, possible or not, in a fixed order: as sized, not yet compared.

    `is_allowed` leaves out ways of quantizing.
    """
    hows = [how for how in _quantizations(ask) if is_allowed is None or is_allowed(how)]
    for gpu in ask.gpus:
        for how in hows:
            for tensor, pipeline in _shapes(ask):
                yield _sized(ask, gpu, how, tensor, pipeline)


def _quantizations(ask: Ask) -> tuple[Quantization, ...]:
    """What is said, else the source's own; and what else there is to compare with."""
    own = native(ask.model)
    if ask.quantization is not None:
        return (ask.quantization,)
    if own != "none" or ask.model.is_encoder:
        return (own,)
    return ("none", "fp8", "awq")


def _shapes(ask: Ask) -> tuple[tuple[int, int], ...]:
    """Tensor × pipeline sizes to try."""
    if ask.tensor is not None:
        return ((ask.tensor, ask.pipeline),)
    if ask.count is not None:
        return ((ask.count // (ask.pipeline * ask.data), ask.pipeline),)
    sizes = [(n, ask.pipeline) for n in _TENSOR_SIZES if tensor_misfit(ask.model, n) is None]
    if ask.pipeline == 1:
        sizes.append((max(n for n, _ in sizes), 2))  # two machines
    return tuple(sizes)


def _sized(ask: Ask, gpu: Gpu, how: Quantization, tensor: int, pipeline: int) -> Option:
    model, defaults, context = quantized(ask.model, how), engine_defaults(gpu), context_of(ask)
    layout = Layout(
        gpu=gpu,
        tensor=tensor,
        pipeline=pipeline,
        data=ask.data,
        quantization=how,
        kv_dtype=ask.kv_dtype,
        utilization=ask.utilization or safe_utilization(gpu, model, pipeline),
        batched_tokens=ask.batched_tokens or max(defaults.max_num_batched_tokens, ask.max_num_seqs or 0),
        max_num_seqs=ask.max_num_seqs or defaults.max_num_seqs,
    )
    option = Option(ask, layout, context)
    reason = _impossible(option)
    if reason:
        return replace(option, why_not=reason, is_possible=False)
    return option


def _impossible(option: Option) -> str:
    """Why this layout cannot run, or not with the context asked for; empty where it can."""
    ask, layout, estimate = option.ask, option.layout, option.estimate
    found = misfit(ask.model, layout.gpu, layout.quantization)
    if found is not None:
        return found.message
    if layout.gpu.slice_of and layout.gpus > 1:
        return "MIG slices share nothing: an engine cannot span them"
    reason = fits(estimate)
    if reason is not None:
        return reason
    memory = estimate.memory
    if not ask.model.has_kv_cache:
        return ""
    room = memory.full_requests
    needed = 1 if ask.is_gpu_given and (ask.count or ask.tensor) else _FULL_REQUESTS_MIN
    if room >= needed:
        return ""
    gib = 1 << 30
    per_request = option.context * memory.kv_bytes_per_token / gib
    if room < 1:
        return (
            f"one request of {option.context:,} tokens needs {per_request:.1f} GiB of KV cache on each GPU, and"
            f" {memory.kv_cache / gib:.1f} GiB are left: no room for one ({memory.kv_tokens:,} tokens)"
        )
    return f"room for {room:.1f} requests of {option.context:,} tokens; {needed} is the least that is planned with"


def tuned(option: Option) -> Option:
    """The same with `max_num_seqs` where the objectives, or the KV cache, set the end: bursts up to saturation are let
    in, avalanches are not."""
    if option.ask.max_num_seqs is not None or not option.is_possible:
        return option
    default, engine = option.layout.max_num_seqs, option.engine
    wanted = engine.kv_requests_max
    if option.ask.objectives.named and option.capacity:
        end = engine.at_rate(min(option.engine_capacity / HEADROOM, engine.saturation()))
        wanted = min(wanted, end.running if end is not None else engine.running_max)
    seqs = max(_SEQS_MIN, math.ceil(min(wanted, default) / _SEQS_STEP) * _SEQS_STEP)
    return replace(option, layout=replace(option.layout, max_num_seqs=min(default, seqs)))
