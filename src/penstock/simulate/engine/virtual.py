"""The simulated engine for long traces: lengths and block hashes only, no text, in virtual time.

The same scheduler, blocks and pipeline as `core.Engine`, so the same steps at the same times; requests say how many
tokens they will generate. Where the same decodes repeat with nothing waiting, steps are run in one tight loop, which
gives the same times (to rounding) without scheduling each one.

Use: in order of time, `advance(t)` then `submit(..., t)`. A step decided before `t` never sees what is submitted at
`t`. Guarantees: events come in order of time, none later than `until`; each request is served once.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from penstock.simulate.engine.blocks import BlockPool
from penstock.simulate.engine.capacity import count_blocks, make_limits
from penstock.simulate.engine.core import make_timing
from penstock.simulate.engine.messages import EngineConfig, EngineStats
from penstock.simulate.engine.pipeline import Pipeline
from penstock.simulate.engine.scheduler import Scheduler
from penstock.simulate.engine.scheduler import Sequence as Tokens

__all__ = ["LengthRequest", "Served", "TokenGaps", "VirtualEngine"]

_NEVER = math.inf
_STRETCH_MIN = 2
"""Fewer equal steps than this are not worth leaving the general way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthRequest:
    """One request by its lengths."""

    id: str
    prompt_tokens: int
    output_tokens: int
    hashes: Sequence[int] = ()
    """Of the prompt's leading full blocks: equal ones are shared. Blocks beyond are like no other."""
    priority: int = 0


class Served(NamedTuple):
    """A request that is through."""

    id: str
    arrival: float
    scheduled_at: float
    first_token_at: float
    finished_at: float
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int
    preemptions: int

    @property
    def ttft_s(self) -> float:
        return self.first_token_at - self.arrival


class TokenGaps:
    """Times between tokens, in buckets of 2 % each."""

    _PER_E = 50.0
    _LEAST_S = 1e-5

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def add(self, seconds: float, count: int) -> None:
        """`count` tokens came `seconds` after the one before."""
        place = int(math.log(max(seconds, self._LEAST_S) / self._LEAST_S) * self._PER_E)
        self._counts[place] = self._counts.get(place, 0) + count

    @property
    def total(self) -> int:
        return sum(self._counts.values())

    def quantile(self, share: float) -> float:
        """Seconds that `share` of the gaps do not exceed, to 2 %; 0 where none was seen."""
        wanted, seen = share * self.total, 0
        for place in sorted(self._counts):
            seen += self._counts[place]
            if seen >= wanted:
                return self._LEAST_S * math.exp((place + 0.5) / self._PER_E)
        return 0.0


class _Live:
    """One live request."""

    __slots__ = ("first_token_at", "is_live", "last_at", "scheduled_at", "tokens", "total")

    def __init__(self, tokens: Tokens, total: int) -> None:
        self.tokens = tokens
        self.total = total
        """Prompt and output tokens."""
        self.scheduled_at = 0.0
        self.first_token_at = -1.0
        self.last_at = 0.0
        self.is_live = True


class VirtualEngine:
    """Owns the state of one replica. `submit`, `abort`, `advance`.

    `on_result(at, ids)` is told of each step's result: when, and whose tokens; with it every step is run one by one.
    `on_first(at, id, before)` is told of each first token, and of how many tokens come before it in its step's result.
    `phase` (0 to 1) sets when its host is slow, so that replicas are not all so at once.
    """

    def __init__(
        self,
        config: EngineConfig,
        *,
        on_result: Callable[[float, list[str]], None] | None = None,
        on_first: Callable[[float, str, int], None] | None = None,
        phase: float = 0.0,
    ) -> None:
        self.config = config
        self.max_model_len = config.max_model_len or config.model.context
        self.timing = make_timing(config)
        self.num_gpu_blocks = count_blocks(config, self.max_model_len)
        self.gaps = TokenGaps()
        self.steps = 0
        self._pool = BlockPool(self.num_gpu_blocks, enable_caching=config.enable_prefix_caching)
        self._scheduler = Scheduler(make_limits(config), self._pool)
        self._pipeline: Pipeline[list[_Live]] = Pipeline(
            self.timing, speed=config.speed, is_async=config.async_scheduling, phase=phase
        )
        self._on_result = on_result
        self._on_first = on_first
        self._live: dict[str, _Live] = {}
        self._due: deque[Served] = deque()
        self._is_steady = False
        """Every running request has a decode on its way, none its first token or its last one."""
        self._last_result_at = 0.0
        self._submitted = 0
        self._prompt_tokens = 0
        self._cached_tokens = 0
        self._generation_tokens = 0

    @property
    def has_work(self) -> bool:
        return bool(self._live)

    @property
    def generation_tokens(self) -> int:
        """Tokens generated since the start."""
        return self._generation_tokens

    @property
    def next_at(self) -> float:
        """When something may happen next: an event that is due, or a decision; infinity when idle."""
        if self._due:
            return self._due[0].finished_at
        return self._pipeline.host_free if self._live else _NEVER

    def submit(self, request: LengthRequest, now: float, *, arrival: float | None = None) -> None:
        """Takes a request; `ValueError` where its id is live already or it can never run."""
        if request.id in self._live:
            raise ValueError(f"request {request.id!r} is live already")
        if request.prompt_tokens < 1 or request.output_tokens < 1:
            raise ValueError("a request needs at least one prompt token and one token to generate")
        if request.prompt_tokens + 1 > self.max_model_len:
            raise ValueError(
                f"a prompt of {request.prompt_tokens} tokens does not fit a context of {self.max_model_len}"
            )
        if not self._live and self._pipeline.flight is None:
            self._pipeline.host_free = max(self._pipeline.host_free, now)
        tokens = Tokens(
            request_id=request.id,
            number=self._submitted,
            tokens=request.prompt_tokens,
            arrival=now if arrival is None else arrival,
            priority=request.priority,
            hashes=request.hashes,
        )
        self._submitted += 1
        total = min(request.prompt_tokens + request.output_tokens, self.max_model_len)
        self._live[request.id] = _Live(tokens, total)
        self._scheduler.add(tokens)

    def abort(self, request_id: str) -> bool:
        """Forgets a request and frees its blocks; False where it is not live."""
        live = self._live.pop(request_id, None)
        if live is None:
            return False
        live.is_live = False
        self._is_steady = False
        self._scheduler.remove(live.tokens)
        return True

    def advance(self, until: float) -> list[Served]:
        """Runs all steps that are decided before `until`; the requests that are through by then."""
        pipeline = self._pipeline
        while self._live and pipeline.host_free < until:
            if not (self._is_steady and self._stretch(until)):
                self._step()
        served: list[Served] = []
        while self._due and self._due[0].finished_at <= until:
            served.append(self._due.popleft())
        return served

    def advance_once(self) -> None:
        """Runs one step, or takes what is due; for a caller that watches every step."""
        if self._due and self._due[0].finished_at <= self._pipeline.host_free:
            self._due.popleft()
        elif self._live:
            self._step()
        elif self._due:
            self._due.popleft()

    def drain(self) -> list[Served]:
        """Runs until nothing is left."""
        return self.advance(_NEVER)

    def stats(self) -> EngineStats:
        """Gauges after the last decision."""
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

    def _step(self) -> None:
        """One step, the general way."""
        scheduler, pipeline = self._scheduler, self._pipeline
        now = pipeline.host_free
        batch = scheduler.schedule()
        for tokens in batch.fresh:
            self._live[tokens.id].scheduled_at = now
        decided: list[_Live] = []
        is_steady = pipeline.is_async
        for tokens in scheduler.finish(batch):
            live = self._live[tokens.id]
            tokens.append(0)
            if tokens.length >= live.total:
                tokens.is_ended, is_steady = True, False
            decided.append(live)
        at, due = pipeline.step(batch, decided, now)
        self.steps += 1
        if due is not None:
            self._deliver(due, at)
        self._is_steady = is_steady and not batch.prefill_requests and len(decided) == len(scheduler.running) > 0

    def _deliver(self, due: list[_Live], at: float) -> None:
        finished: list[Tokens] = []
        for live in due:
            if not live.is_live:
                continue
            tokens = live.tokens
            self._generation_tokens += 1
            if live.first_token_at < 0:
                live.first_token_at = at
                self._prompt_tokens += tokens.prompt_tokens
                self._cached_tokens += tokens.cached_tokens
                if self._on_first is not None:
                    self._on_first(at, tokens.id, due.index(live))
            else:
                self.gaps.add(at - live.last_at, 1)
            live.last_at = at
            if tokens.is_ended and live.is_live and self._is_last(live):
                live.is_live = False
                finished.append(tokens)
        if self._on_result is not None:
            self._on_result(at, [live.tokens.id for live in due])
        self._last_result_at = at
        if finished:
            self._scheduler.remove_finished(finished)
            for tokens in finished:
                self._due.append(self._served(self._live.pop(tokens.id), at))

    def _is_last(self, live: _Live) -> bool:
        """The result in hand is the ended request's last: nothing of it is on its way."""
        flight = self._pipeline.flight
        return flight is None or live not in flight.load

    def _served(self, live: _Live, at: float) -> Served:
        tokens = live.tokens
        return Served(
            tokens.id,
            tokens.arrival,
            live.scheduled_at,
            live.first_token_at,
            at,
            tokens.prompt_tokens,
            tokens.length - tokens.prompt_tokens,
            tokens.cached_tokens,
            tokens.preemptions,
        )

    def _stretch(self, until: float) -> bool:
        """Runs equal decode steps in one loop, as many as surely change nothing else; False where none."""
        running = self._scheduler.running
        count = self._stretch_length(running)
        flight = self._pipeline.flight
        if count < _STRETCH_MIN or flight is None:
            return False
        done = self._run_stretch(running, count, until)
        if not done:
            return False
        size = self.config.block_size
        last_at = self._last_result_at
        for tokens in running:
            tokens.length += done
            tokens.computed += done
            self._scheduler.hold_computed(tokens)
            if tokens.computed // size > tokens.remembered:
                self._scheduler.remember(tokens, tokens.computed)
        for live in flight.load:
            live.last_at = last_at
        self._generation_tokens += done * len(running)
        self.steps += done
        return True

    def _stretch_length(self, running: list[Tokens]) -> int:
        """Steps in which no request ends, waits or needs a block that is not free."""
        requests = len(running)
        if len(self._scheduler.waiting) or self._on_result is not None:
            return 0
        if requests > self.config.max_num_batched_tokens:
            return 0
        left = min(self._live[t.id].total - t.length for t in running) - 1
        size = self.config.block_size
        return min(left, (self._pool.free // (requests * self._scheduler.groups) - 2) * size)

    def _run_stretch(self, running: list[Tokens], count: int, until: float) -> int:
        """The clocks of `Pipeline.step`, for `count` steps or until the next decision would be at `until`."""
        pipeline, timing, scale = self._pipeline, self.timing, self._pipeline.scale
        requests = len(running)
        base, per_token, window, per_windowed = timing.decode_line(requests)
        launch_s = timing.launch_s(0, requests)
        quick = (timing.schedule_s(requests), timing.lead_of(launch_s), launch_s, timing.deliver_s(requests))
        pace, slow_until = pipeline.pace, -math.inf
        schedule = lead = launch = deliver = 0.0
        host_free, gpu_free = pipeline.host_free, pipeline.gpu_free
        flight = pipeline.flight
        assert flight is not None
        due, last_at = flight.ends_at, self._last_result_at
        context = sum(t.length for t in running)
        add = self.gaps.add
        done = 0
        while done < count and host_free < until:
            if host_free >= slow_until:
                slower = scale * pace.at(host_free)
                schedule, lead, launch, deliver = [part * slower for part in quick]
                slow_until = pace.until
            host = host_free + schedule
            starts = host + lead
            starts = max(starts, gpu_free)
            host += launch
            windowed = (context if context < window else window) * per_windowed
            gpu_free = starts + (base + context * per_token + windowed) * scale
            gpu_free = max(gpu_free, host)
            at = host if host > due else due
            due = gpu_free
            add(at - last_at, requests)
            last_at = at
            host_free = at + deliver
            context += requests
            done += 1
        if done:
            pipeline.host_free, pipeline.gpu_free, self._last_result_at = host_free, gpu_free, last_at
            pipeline.flight = flight._replace(ends_at=due)
        return done
