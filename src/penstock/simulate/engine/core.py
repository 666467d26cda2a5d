"""The simulated engine in virtual time: requests in, steps with tokens out. Pure: no clock, no thread, no randomness.

The driver calls `submit` and `abort` when they happen, and `step(now)` whenever `has_work` and no step is in progress. A
step is decided at `now` and over at `StepResult.ends_at`; its outputs exist from then on, so a driver in real time waits
until `ends_at`, delivers, and calls `step` again. What is submitted in between is seen by the next step. An abort
takes effect at once: outputs of the step in progress for that id are to be dropped by the driver (`is_live`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from penstock.facts.gpus import Gpu
from penstock.facts.models import Architecture, Task
from penstock.simulate.engine.generation import Continuation

__all__ = [
    "Engine",
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
    speed: float = 1.0
    """How many times faster than the GPU steps pass."""
    seed: int = 0
    """Added to each request's seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRequest:
    """One request. The driver has checked that prompt and `max_tokens` fit `max_model_len`."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenOutput:
    """What one step gave one request."""

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
    """One engine step."""

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


class Engine:
    """Owns every request's state. `submit`, `abort`, `step`."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.max_model_len = config.max_model_len or config.model.context
        self._live: dict[str, tuple[EngineRequest, Continuation, int, float]] = {}

    @property
    def has_work(self) -> bool:
        return bool(self._live)

    def is_live(self, request_id: str) -> bool:
        """True from `submit` until the last output was returned by `step`, or `abort`."""
        return request_id in self._live

    def submit(self, request: EngineRequest, now: float) -> None:
        """Takes a request; `ValueError` where its id is live already or it can never fit."""
        self._live[request.id] = (request, Continuation(request.prompt_ids, request.seed), 0, now)

    def abort(self, request_id: str, now: float) -> bool:
        """Forgets a request and frees its blocks; False where it is not live (finished already: no error)."""
        return self._live.pop(request_id, None) is not None

    def reset_prefix_cache(self) -> None:
        """Forgets cached prefixes."""

    def stats(self) -> EngineStats:
        n = len(self._live)
        return EngineStats(
            running=n, waiting=0, kv_usage=0.0, prefix_queries=0, prefix_hits=0, preemptions=0, prompt_tokens=0,
            cached_tokens=0, generation_tokens=0, num_gpu_blocks=1000, free_blocks=1000,
        )  # fmt: skip

    def step(self, now: float) -> StepResult:
        """Runs one step that begins at `now`."""
        outputs: list[TokenOutput] = []
        ends = now + 0.01 / self.config.speed
        for rid, (request, text, count, arrival) in list(self._live.items()):
            token = text.next_id(allow_eos=not request.ignore_eos)
            text.append(token)
            reason: FinishReason | None = "length" if count + 1 >= request.max_tokens else None
            if token == text.eos_id and not request.ignore_eos:
                reason = "stop"
            self._live[rid] = (request, text, count + 1, arrival)
            times = None
            if reason:
                del self._live[rid]
                times = RequestTimes(
                    arrival=arrival, scheduled_at=arrival, first_token_at=ends, finished_at=ends, preemptions=0
                )
            outputs.append(
                TokenOutput(request_id=rid, token_ids=(token,), finish_reason=reason, first=count == 0, times=times)
            )
        return StepResult(
            starts_at=now, ends_at=ends, outputs=tuple(outputs), prefill_tokens=0, decode_tokens=len(outputs),
            preempted=0, running=len(self._live), waiting=0,
        )  # fmt: skip
