"""The simulated engine in virtual time: requests in, steps with tokens out. Pure: no clock, no thread, no randomness.

The driver calls `submit` and `abort` when they happen, and `step(now)` whenever `has_work` and no call is in progress.
A step is decided at `now`; `StepResult.outputs` exist from `ends_at` on, so a driver in real time waits until then,
delivers, and calls `step` again. With async scheduling they are those of the step before, and a first step has none.
What is submitted in between is seen by the next step. An abort takes effect at once: outputs that are on their way for
that id are for the driver to drop.

Guarantees: each request ends exactly once, by a `finish_reason` or by `abort`; same requests at the same times, same
bytes. Time around the engine (HTTP, tokenizing) is the driver's: `penstock.perf.FrontEndTime` models it.
"""

from __future__ import annotations

import hashlib

from penstock.perf.timing import StepTime
from penstock.simulate.engine.blocks import BlockPool
from penstock.simulate.engine.capacity import count_blocks, make_limits
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
from penstock.simulate.engine.pipeline import Pipeline
from penstock.simulate.engine.scheduler import Scheduler
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
    "make_timing",
]

_Decided = tuple["_Live", int | None, FinishReason | None, int | None]
"""A request, its next token (None: it is embedded), and how that ends it."""


class _Live:
    """One live request: what was asked, its tokens, and what it says next."""

    __slots__ = (
        "eos_allowed_from", "first_token_at", "is_live", "max_total", "request", "scheduled_at", "text", "tokens",
    )  # fmt: skip

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
        self.is_live = True
        """Neither finished nor aborted: outputs on their way are wanted."""


class Engine:
    """Owns every request's state. `submit`, `abort`, `step`."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.max_model_len = config.max_model_len or config.model.context
        self.timing = make_timing(config)
        self.num_gpu_blocks = count_blocks(config, self.max_model_len)
        self._limits = make_limits(config)
        self._pool = BlockPool(self.num_gpu_blocks, enable_caching=config.enable_prefix_caching)
        self._scheduler = Scheduler(self._limits, self._pool)
        is_async = config.async_scheduling and config.model.task == "generate"
        self._pipeline: Pipeline[list[_Decided]] = Pipeline(self.timing, speed=config.speed, is_async=is_async)
        self._live: dict[str, _Live] = {}
        self._submitted = 0
        self._prompt_tokens = 0
        self._cached_tokens = 0
        self._generation_tokens = 0

    @property
    def has_work(self) -> bool:
        return bool(self._live)

    @property
    def host_free(self) -> float:
        """When the host is through with the last result: no step is decided before."""
        return self._pipeline.host_free

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
        live.is_live = False
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
        """Decides one step at `now`, and gives what is due next."""
        scheduler = self._scheduler
        batch = scheduler.schedule()
        for tokens in batch.fresh:
            self._live[tokens.id].scheduled_at = now
        decided = [self._decide(self._live[tokens.id]) for tokens in scheduler.finish(batch)]
        ends_at, due = self._pipeline.step(batch, decided, now)
        finished: list[Tokens] = []
        outputs = [self._deliver(item, ends_at, finished) for item in due or () if item[0].is_live]
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

    def _decide(self, live: _Live) -> _Decided:
        """The next token of a request whose tokens are all computed; known now, to be seen when the GPU is through."""
        tokens = live.tokens
        if live.request.task == "embed":
            tokens.is_ended = True
            return live, None, "stop", None
        token, reason, stop_reason = self._next_token(live)
        tokens.append(token)
        tokens.is_ended = reason is not None
        return live, token, reason, stop_reason

    def _deliver(self, decided: _Decided, ends_at: float, finished: list[Tokens]) -> TokenOutput:
        live, token, reason, stop_reason = decided
        tokens = live.tokens
        is_first = live.first_token_at < 0
        if is_first:
            live.first_token_at = ends_at
            self._prompt_tokens += tokens.prompt_tokens
            self._cached_tokens += tokens.cached_tokens
        ids: tuple[int, ...] = () if token is None else (token,)
        self._generation_tokens += len(ids)
        if reason is None:
            return TokenOutput(live.request.id, ids, None, None, is_first, tokens.cached_tokens)
        live.is_live = False
        finished.append(tokens)
        return TokenOutput(
            live.request.id, ids, reason, stop_reason, is_first, tokens.cached_tokens, _times(live, ends_at)
        )

    def _next_token(self, live: _Live) -> tuple[int, FinishReason | None, int | None]:
        request = live.request
        total = live.tokens.length + 1
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


def make_timing(config: EngineConfig) -> StepTime:
    """The step times of an engine."""
    return StepTime(
        config.model,
        config.gpu,
        tensor_parallel=config.tensor_parallel,
        kv_dtype=config.kv_dtype,
        is_eager=config.enforce_eager,
        calibration=config.calibration,
    )
