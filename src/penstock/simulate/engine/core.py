"""The simulated engine in virtual time: requests in, steps with tokens out. Pure: no clock, no thread, no randomness.

The driver calls `submit` and `abort` when they happen, and `step(now)` whenever `has_work` and no step is in
progress. A step is decided at `now` and over at `StepResult.ends_at`; its outputs exist from then on, so a driver in
real time waits until `ends_at`, delivers, and calls `step` again. What is submitted in between is seen by the next
step. An abort takes effect at once: outputs that the step in progress holds for that id are for the driver to drop.

Guarantees: each request ends exactly once, by a `finish_reason` or by `abort`; same requests at the same times, same
bytes. Time around the engine (HTTP, tokenizing) is the driver's: `penstock.perf.FrontEndTime` models it.
"""

from __future__ import annotations

import hashlib

from penstock.errors import UsageError
from penstock.perf.memory import plan_memory
from penstock.perf.timing import StepTime
from penstock.simulate.engine.blocks import BlockPool
from penstock.simulate.engine.generation import Continuation
from penstock.simulate.engine.messages import (
    EngineConfig,
    EngineRequest,
    EngineStats,
    FinishReason,
    RequestTimes,
    StepResult,
    TokenOutput,
)
from penstock.simulate.engine.scheduler import Batch, Limits, Scheduler
from penstock.simulate.engine.scheduler import Sequence as Tokens

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


class _Live:
    """One live request: what was asked, its tokens, and what it says next."""

    __slots__ = ("eos_allowed_from", "first_token_at", "max_total", "request", "scheduled_at", "text", "tokens")

    def __init__(self, request: EngineRequest, tokens: Tokens, text: Continuation | None, max_total: int) -> None:
        self.request = request
        self.tokens = tokens
        self.text = text
        """None where nothing is generated (embedding) or it is known (forced)."""
        self.max_total = max_total
        """Prompt and output tokens at most."""
        self.eos_allowed_from = tokens.prompt_tokens + request.min_tokens
        """Least total at which the next token may end it."""
        self.scheduled_at = 0.0
        self.first_token_at = -1.0


class Engine:
    """Owns every request's state. `submit`, `abort`, `step`."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.max_model_len = config.max_model_len or config.model.context
        self.timing = StepTime(
            config.model, config.gpu, tensor_parallel=config.tensor_parallel, kv_dtype=config.kv_dtype
        )
        self.num_gpu_blocks = _count_blocks(config, self.max_model_len)
        self._limits = Limits(
            max_num_seqs=config.max_num_seqs,
            max_num_batched_tokens=config.max_num_batched_tokens,
            block_size=config.block_size,
            enable_chunked_prefill=config.enable_chunked_prefill,
            by_priority=config.policy == "priority",
        )
        self._pool = BlockPool(self.num_gpu_blocks, enable_caching=config.enable_prefix_caching)
        self._scheduler = Scheduler(self._limits, self._pool)
        self._live: dict[str, _Live] = {}
        self._submitted = 0
        self._prompt_tokens = 0
        self._cached_tokens = 0
        self._generation_tokens = 0

    @property
    def has_work(self) -> bool:
        return bool(self._live)

    def is_live(self, request_id: str) -> bool:
        """True from `submit` until the last output was returned by `step`, or `abort`."""
        return request_id in self._live

    def submit(self, request: EngineRequest, now: float) -> None:
        """Takes a request; `ValueError` where its id is live already or it can never run."""
        prompt = list(request.prompt_ids)
        if request.id in self._live:
            raise ValueError(f"request {request.id!r} is live already")
        if not prompt or request.max_tokens < 1:
            raise ValueError("a request needs at least one prompt token and one token to generate")
        room = 1 if request.task == "generate" else 0
        if len(prompt) + room > self.max_model_len:
            raise ValueError(f"a prompt of {len(prompt)} tokens does not fit a context of {self.max_model_len}")
        if not self.config.enable_chunked_prefill and len(prompt) > self.config.max_num_batched_tokens:
            raise ValueError(f"a prompt of {len(prompt)} tokens does not fit a step without chunked prefill")
        tokens = Tokens(
            request_id=request.id,
            number=self._submitted,
            tokens=prompt,
            arrival=now if request.arrival is None else request.arrival,
            priority=request.priority,
            root=_root(request.cache_salt),
        )
        self._submitted += 1
        text = None
        if request.task == "generate" and request.forced_ids is None:
            text = Continuation(prompt, request.seed + self.config.seed)
        limit = min(len(prompt) + request.max_tokens, self.max_model_len)
        self._live[request.id] = _Live(request, tokens, text, limit)
        self._scheduler.add(tokens)

    def abort(self, request_id: str, now: float) -> bool:
        """Forgets a request and frees its blocks; False where it is not live (finished already: no error)."""
        live = self._live.pop(request_id, None)
        if live is None:
            return False
        self._scheduler.remove(live.tokens)
        return True

    def reset_prefix_cache(self) -> None:
        """Forgets cached prefixes."""
        self._pool.forget_all()

    def stats(self) -> EngineStats:
        counts = self._scheduler.counts
        return EngineStats(
            running=len(self._scheduler.running),
            waiting=len(self._scheduler.waiting),
            kv_usage=self._pool.usage,
            prefix_queries=counts.queries,
            prefix_hits=counts.hits,
            preemptions=counts.preemptions,
            prompt_tokens=self._prompt_tokens,
            cached_tokens=self._cached_tokens,
            generation_tokens=self._generation_tokens,
            num_gpu_blocks=self.num_gpu_blocks,
            free_blocks=self._pool.free,
        )

    def step(self, now: float) -> StepResult:
        """Runs one step that begins at `now`."""
        scheduler = self._scheduler
        batch = scheduler.schedule()
        for tokens in batch.fresh:
            self._live[tokens.id].scheduled_at = now
        ready = scheduler.finish(batch)
        ends_at = now + self._duration(batch)
        finished: list[Tokens] = []
        outputs = [self._advance(self._live[tokens.id], ends_at, finished) for tokens in ready]
        if finished:
            scheduler.remove_finished(finished)
            for tokens in finished:
                del self._live[tokens.id]
        return StepResult(
            starts_at=now,
            ends_at=ends_at,
            outputs=tuple(outputs),
            prefill_tokens=batch.prefill_tokens,
            decode_tokens=batch.decode_tokens,
            preempted=batch.preempted,
            running=len(scheduler.running),
            waiting=len(scheduler.waiting),
        )

    def _duration(self, batch: Batch) -> float:
        return (
            self.timing.step_s(
                prefill_tokens=batch.prefill_tokens,
                decode_requests=batch.decode_tokens,
                decode_context=batch.decode_context,
                prefill_pairs=batch.prefill_pairs,
            )
            / self.config.speed
        )

    def _advance(self, live: _Live, ends_at: float, finished: list[Tokens]) -> TokenOutput:
        """The next token of a request whose tokens are all computed."""
        request, tokens = live.request, live.tokens
        is_first = live.first_token_at < 0
        if is_first:
            live.first_token_at = ends_at
            self._prompt_tokens += tokens.prompt_tokens
            self._cached_tokens += tokens.cached_tokens
        if request.task == "embed":
            finished.append(tokens)
            return TokenOutput(request.id, (), "stop", None, True, tokens.cached_tokens, _times(live, ends_at))
        token, reason, stop_reason = self._next_token(live)
        tokens.tokens.append(token)
        self._generation_tokens += 1
        if reason is None:
            return TokenOutput(request.id, (token,), None, None, is_first, tokens.cached_tokens)
        finished.append(tokens)
        return TokenOutput(
            request.id, (token,), reason, stop_reason, is_first, tokens.cached_tokens, _times(live, ends_at)
        )

    def _next_token(self, live: _Live) -> tuple[int, FinishReason | None, int | None]:
        request = live.request
        total = len(live.tokens.tokens) + 1
        may_end = total > live.eos_allowed_from
        text = live.text
        if text is None:
            forced = request.forced_ids or ()
            place = total - live.tokens.prompt_tokens - 1
            token = forced[place] if place < len(forced) else Continuation.eos()
            is_eos = place >= len(forced)
        else:
            token = text.next_id(allow_eos=may_end and not request.ignore_eos)
            text.append(token)
            is_eos = token == text.eos_id
        if is_eos:
            return token, "stop", None
        if may_end and token in request.stop_token_ids:
            return token, "stop", token
        return token, "length" if total >= live.max_total else None, None


def _times(live: _Live, finished_at: float) -> RequestTimes:
    return RequestTimes(
        arrival=live.tokens.arrival,
        scheduled_at=live.scheduled_at,
        first_token_at=live.first_token_at,
        finished_at=finished_at,
        preemptions=live.tokens.preemptions,
    )


def _root(salt: str) -> int:
    """Hash that sets apart the prefixes of a salt."""
    return int.from_bytes(hashlib.blake2b(salt.encode(), digest_size=8).digest(), "little") if salt else 0


def _count_blocks(config: EngineConfig, max_model_len: int) -> int:
    """KV blocks of the engine, one at least for each that a request of `max_model_len` needs; `UsageError` else."""
    needed = -(-max_model_len // config.block_size) + 1
    blocks = config.num_gpu_blocks
    if blocks is None:
        if not config.model.has_kv_cache:
            return needed * min(config.max_num_seqs, 256)
        plan = plan_memory(
            config.model,
            config.gpu,
            utilization=config.gpu_memory_utilization,
            max_num_batched_tokens=config.max_num_batched_tokens,
            max_num_seqs=config.max_num_seqs,
            max_model_len=max_model_len,
            block_size=config.block_size,
            tensor_parallel=config.tensor_parallel,
            kv_dtype=config.kv_dtype,
        )
        blocks = plan.kv_tokens // config.block_size  # of hybrids too: blocks of all layers
    if blocks < needed:
        fits = max(0, blocks - 1) * config.block_size
        raise UsageError(
            f"one request of max-model-len {max_model_len} needs {needed} KV blocks of {config.block_size} tokens, and"
            f" {config.model.name} on {config.gpu.name} has {blocks}",
            hint=f"use --max-model-len {fits} or less, more GPU memory, or a smaller model",
        )
    return blocks
