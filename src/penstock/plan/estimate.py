"""The one door from planning to `facts` and `perf`: memory and step times of one layout of a model.

Everything that planning asks of the performance model is asked here, so that a better model or a calibration changes
this module only. A layout is how one replica stands on GPUs: tensor × pipeline × data parallel, and its numbers' types.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from penstock.errors import UsageError
from penstock.facts import Architecture, Gpu, engine_defaults
from penstock.perf import (
    Calibration,
    Interval,
    MemoryPlan,
    Regime,
    StepTime,
    default_calibration,
    plan_memory,
    weight_bytes,
)
from penstock.perf.overheads import SPELLS, slowed
from penstock.plan.quantization import Quantization, quantized

__all__ = ["Estimate", "Layout", "MemoryBar", "StepParts", "fits", "graph_bytes", "safe_utilization"]

_GIB = 1 << 30
_GRAPHS_BYTES_PER_LAYER = 31 * (1 << 20)
"""CUDA graphs of 51 batch sizes: 0.98 GiB for 32 layers, 1.33 GiB for 62 measured."""
_OUTSIDE_BYTES = round(1.5 * _GIB)
"""What a ready engine holds beyond its request and its graphs: compiled kernels and libraries, 1.2 to 1.6 GiB measured
on H200."""
_PIPELINE_SHARE = 0.85
"""Of a pipeline's ideal throughput: its stages are never quite equal. Not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One replica on its GPUs."""

    gpu: Gpu
    tensor: int = 1
    pipeline: int = 1
    data: int = 1
    quantization: Quantization = "none"
    kv_dtype: str | None = None
    utilization: float = 0.92
    batched_tokens: int = 8192
    max_num_seqs: int = 256

    @property
    def gpus(self) -> int:
        return self.tensor * self.pipeline * self.data

    @property
    def words(self) -> str:
        """`4× H100 (TP 4)`."""
        sizes = [f"{n} {s}" for n, s in (("TP", self.tensor), ("PP", self.pipeline), ("DP", self.data)) if s > 1]
        return f"{self.gpus}× {self.gpu.name}" + (f" ({' · '.join(sizes)})" if sizes else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBar:
    """Bytes on each GPU, part by part; the parts add up to `total`. `free` below 0: it does not fit."""

    total: int
    weights: int
    kv_cache: int
    activations: int
    graphs: int
    non_torch: int
    free: int
    kv_tokens: int
    """Of one engine: what vLLM prints as the KV cache's size."""
    kv_tokens_low: int
    kv_tokens_high: int
    """Ends of its 90 % interval."""
    kv_bytes_per_token: int
    """On each GPU, of a layer that attends to everything times their number."""
    full_requests: float
    """Requests of full context that it holds: vLLM's "maximum concurrency"."""

    @property
    def parts(self) -> tuple[tuple[str, int], ...]:
        """Name and bytes, in the order of a drawing."""
        return (
            ("weights", self.weights),
            ("KV cache", self.kv_cache),
            ("activations", self.activations),
            ("graphs", self.graphs),
            ("non-torch", self.non_torch),
            ("free", self.free),
        )


class StepParts(NamedTuple):
    """Seconds of one step, apart: the host prepares a step while the GPU runs the one before."""

    gpu_s: float
    host_s: float
    """To schedule, launch and deliver, while the host is quick."""

    def host_in(self, spell: float) -> float:
        """Of the host, while it takes so many times as long."""
        return self.host_s * spell

    def times(self, steps: int) -> StepParts:
        """So many such steps as one."""
        return StepParts(self.gpu_s * steps, self.host_s * steps)


class Estimate:
    """What `perf` says of one model in one layout. Nothing is worked out before it is asked for."""

    def __init__(
        self, model: Architecture, layout: Layout, context: int, calibration: Calibration | None = None
    ) -> None:
        self.source = model
        self.model = quantized(model, layout.quantization)
        self.layout = layout
        self.context = context
        self.calibration = calibration or default_calibration(layout.gpu)

    @cached_property
    def memory(self) -> MemoryBar:
        """Memory of each GPU.

        Raises:
            UsageError: the weights leave no room for a cache.
        """
        planned = self._planned
        graphs = max(graph_bytes(self.model, self.layout.pipeline), planned.graphs_set_aside)
        beyond = planned.non_torch + _OUTSIDE_BYTES
        cache = planned.kv_cache if planned.kv_bytes_per_token else 0
        used = planned.weights + cache + planned.activations + graphs + beyond
        low, high = planned.kv_tokens_interval
        return MemoryBar(
            total=planned.total,
            weights=planned.weights,
            kv_cache=cache,
            activations=planned.activations,
            graphs=graphs,
            non_torch=beyond,
            free=planned.total - used,
            kv_tokens=planned.kv_tokens,
            kv_tokens_low=low,
            kv_tokens_high=high,
            kv_bytes_per_token=planned.kv_bytes_per_token,
            full_requests=planned.concurrency if planned.kv_tokens else math.inf,
        )

    @cached_property
    def _planned(self) -> MemoryPlan:
        layout = self.layout
        return plan_memory(
            self.model,
            layout.gpu,
            utilization=layout.utilization,
            max_num_batched_tokens=layout.batched_tokens,
            max_num_seqs=layout.max_num_seqs,
            max_model_len=self.context,
            tensor_parallel=layout.tensor,
            pipeline_parallel=layout.pipeline,
            data_parallel=layout.data,
            kv_dtype=layout.kv_dtype,
        )

    def requests_of(self, tokens: float) -> float:
        """Decoding requests of this length that the KV cache holds at once; without end where there is no cache."""
        planned = self._planned
        if not planned.kv_tokens:
            return math.inf
        length = max(1, round(tokens))
        return planned.num_blocks / planned.layout.blocks_held(length)

    @cached_property
    def weight_bytes(self) -> int:
        """Of the whole model, in the numbers that the GPUs hold."""
        return weight_bytes(self.model)

    @cached_property
    def source_bytes(self) -> int:
        """Of the model's files, before the engine quantizes them."""
        return weight_bytes(self.source)

    @cached_property
    def _times(self) -> StepTime:
        layout = self.layout
        return StepTime(
            self.model,
            layout.gpu,
            tensor_parallel=layout.tensor,
            kv_dtype=layout.kv_dtype,
            calibration=self.calibration,
        )

    def step(self, *, prompts: float, prefill_tokens: float, decodes: float, context: float, pairs: float) -> StepParts:
        """One step of one engine; `context` is the sum over its decodes."""
        times, stages = self._times, self.layout.pipeline
        prefill = max(1, round(prefill_tokens / stages)) if prefill_tokens else 0
        decoding = max(1, round(decodes / stages)) if decodes else 0
        started = max(1, round(prompts))
        busy = times.gpu_s(
            prefill_tokens=prefill,
            prefill_requests=started,
            decode_requests=decoding,
            decode_context=round(context / stages),
            prefill_pairs=pairs / stages,
        )
        requests = decoding + (started if prefill else 0)
        slower = 1.0 if stages == 1 else 1.0 / _PIPELINE_SHARE
        host = times.launch_s(prefill, decoding) + times.schedule_s(requests) + times.deliver_s(requests)
        return StepParts(gpu_s=busy * slower, host_s=host * slower)

    def seconds(self, step: StepParts, left: float = 0.0) -> float:
        """How much later a step's result is than the one's before, whatever the host's pace.

        `left`: of the GPU's work on the step before, when this one is decided: its launch hides behind that.
        """
        busy, host = step
        if host * self.spells[-1][1] - left <= busy:
            return busy
        return sum(chance * max(busy, host * spell - left) for chance, spell in self.spells)

    def left(self, step: StepParts, before: float | None = None) -> float:
        """What the GPU still has to do of a step when the next one is decided.

        `before` is the same of the one before; None: steps like it came before.
        """
        busy, host = step
        if before is None:
            return sum(chance * busy for chance, spell in self.spells if host * spell < busy)
        return sum(chance * min(busy, max(0.0, busy + before - host * spell)) for chance, spell in self.spells)

    @cached_property
    def spells(self) -> tuple[tuple[float, float], ...]:
        """(probability, factor) of the host's paces, the slowest last: it is quick or slow for a while."""
        slowest = self.calibration.host.slowest
        return tuple((chance, slowed(slowest, draw)) for chance, draw in SPELLS)

    @property
    def lead_s(self) -> float:
        """From a decision until an idle GPU has begun, and from its end until that is known."""
        return self._times.lead_s

    def front_s(self, prompt_tokens: float) -> float:
        """Seconds that the API server adds to a first token."""
        front, tokens = self.calibration.front_end, round(prompt_tokens)
        return (front.before(tokens) + front.after(tokens)) * front.mean_slower

    @property
    def sent_token_s(self) -> float:
        """Seconds for each token of a step until the API server has sent it."""
        front = self.calibration.front_end
        return (front.per_token_s + front.transit_token_s) * front.mean_slower

    def front_busy_s(self, prompt_tokens: float, output_tokens: float) -> float:
        """Seconds of the API server's one process for a whole request."""
        tokens = self.calibration.front_end.per_token_s * max(0.0, output_tokens - 1.0)
        return self.front_s(prompt_tokens) + tokens * self.calibration.front_end.mean_slower

    def interval(self, value: float, regime: Regime) -> Interval:
        """The 90 % interval of a figure: wider for kinds of model that were not measured."""
        return self._times.interval(value, regime)


def graph_bytes(model: Architecture, pipeline: int = 1) -> int:
    """What CUDA graphs take on each GPU."""
    return math.ceil(model.layers / pipeline) * _GRAPHS_BYTES_PER_LAYER


def safe_utilization(gpu: Gpu, model: Architecture, pipeline: int = 1) -> float:
    """The share of memory to ask for, so that graphs and what else comes on top still fit; 0.92 at most.

    vLLM sets nothing aside for the graphs of a dense model: they come on top of what it was told to use.
    """
    on_top = graph_bytes(model, pipeline) + _OUTSIDE_BYTES
    share = 1.0 - on_top / gpu.memory_bytes - 0.005
    default = engine_defaults(gpu).gpu_memory_utilization
    return min(default, max(0.5, math.floor(share * 100) / 100))


def fits(estimate: Estimate) -> str | None:
    """Why it does not fit, in words; None where it does."""
    try:
        memory = estimate.memory
    except UsageError as error:
        return error.message
    return None if memory.kv_cache >= 0 else "no room for a KV cache"
