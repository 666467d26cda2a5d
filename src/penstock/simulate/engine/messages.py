"""What goes into the simulated engine and what comes out: plain values between `Engine` and its driver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from penstock.facts.architecture import Architecture, Task
from penstock.facts.gpus import Gpu
from penstock.perf.calibration import Calibration

__all__ = [
    "EngineConfig",
    "EngineRequest",
    "EngineStats",
    "FinishReason",
    "RequestTimes",
    "StepResult",
    "TokenOutput",
]

FinishReason = Literal["stop", "length", "abort"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """What an engine is. Defaults are those of vLLM 0.32 on a GPU server."""

    model: Architecture
    gpu: Gpu
    max_model_len: int | None = None
    """Longest prompt plus output, tokens. None: the model's context."""
    max_num_seqs: int = 1024
    max_num_batched_tokens: int = 8192
    block_size: int = 16
    num_gpu_blocks: int | None = None
    """KV blocks. None: what fits in the GPU's memory."""
    gpu_memory_utilization: float = 0.92
    tensor_parallel: int = 1
    policy: Literal["fcfs", "priority"] = "fcfs"
    enable_prefix_caching: bool = True
    enable_chunked_prefill: bool = True
    kv_dtype: str | None = None
    """Dtype of the KV cache. None: the model's."""
    enforce_eager: bool = False
    """No CUDA graphs."""
    async_scheduling: bool = True
    """Decide a step while the GPU runs the one before."""
    calibration: Calibration | None = None
    """Overheads of the steps. None: the GPU's default."""
    speed: float = 1.0
    """How many times faster than the GPU steps pass."""
    seed: int = 0
    """Added to each request's seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRequest:
    """One request. Its generation ends at `max_model_len` at the latest."""

    id: str
    prompt_ids: Sequence[int]
    max_tokens: int
    min_tokens: int = 0
    ignore_eos: bool = False
    stop_token_ids: frozenset[int] = frozenset()
    seed: int = 0
    priority: int = 0
    """Lower runs first, with policy `priority`."""
    forced_ids: tuple[int, ...] | None = None
    """Output that is known beforehand (structured output, tool calls); given out token by token, then the end."""
    cache_salt: str = ""
    """Prefix blocks are shared only between requests of the same salt."""
    task: Task = "generate"
    arrival: float | None = None
    """When it came, seconds; None: when submitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTimes:
    """When things happened to a request, in the driver's seconds."""

    arrival: float
    scheduled_at: float
    """Start of the first step that ran it."""
    first_token_at: float
    finished_at: float
    preemptions: int


class TokenOutput(NamedTuple):
    """What one step gave one request. A named tuple, for a step makes hundreds."""

    request_id: str
    token_ids: tuple[int, ...]
    """New tokens; the end-of-sequence or stop token is included where one ended it. Empty for an embedding."""
    finish_reason: FinishReason | None = None
    stop_reason: int | None = None
    """The id of `stop_token_ids` that ended it; None for end of sequence."""
    first: bool = False
    cached_tokens: int = 0
    """Prompt tokens that were found in the prefix cache when it was first scheduled."""
    times: RequestTimes | None = None
    """Set on the last output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """One engine step: what was decided at `starts_at`, and the outputs that are due at `ends_at`.

    With async scheduling the outputs are those of the step before.
    """

    starts_at: float
    ends_at: float
    outputs: tuple[TokenOutput, ...]
    prefill_tokens: int
    decode_tokens: int
    preempted: int
    running: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """Gauges now and totals since the start, in tokens where not said otherwise."""

    running: int
    waiting: int
    kv_usage: float
    """Share of KV blocks held by running requests, 0 to 1."""
    prefix_queries: int
    prefix_hits: int
    preemptions: int
    """Requests."""
    prompt_tokens: int
    """Prompt tokens of requests whose prefill is complete, cached ones included."""
    cached_tokens: int
    """The part of `prompt_tokens` that came from the prefix cache."""
    generation_tokens: int
    num_gpu_blocks: int
    free_blocks: int
