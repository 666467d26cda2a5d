"""One endpoint of the simulated fleet: an engine with its API server, in virtual time.

The engine is `VirtualEngine`. The API server is one process on one core: it reads requests in order, and each token
that it streams costs it time. First tokens are charged one by one, later ones as a flow, so that equal decode steps can
be run in one go: within 5 % of one by one (which `engine.replay` does) up to saturation.

Guarantees: in order of time; each request comes out once, or is forgotten by `abort`.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from penstock.perf import default_calibration
from penstock.serve.routing import EngineSample
from penstock.simulate.engine import (
    EngineConfig,
    EngineStats,
    FrontEnd,
    LengthRequest,
    Served,
    TokenGaps,
    VirtualEngine,
    count_tokens,
)

__all__ = ["Answer", "Replica"]


class _Live:
    """A request that the engine has."""

    __slots__ = ("first_at", "has_begun", "name", "prompt_tokens", "seen_at")

    def __init__(self, name: str, prompt_tokens: int, seen_at: float) -> None:
        self.name = name
        self.prompt_tokens = prompt_tokens
        self.seen_at = seen_at
        self.has_begun = False
        self.first_at = 0.0
        """When the client has the first token."""


class Answer(NamedTuple):
    """A request that is through, as the client saw it."""

    id: str
    first_at: float
    done_at: float
    queue_s: float
    """From when the engine saw it until its first step."""
    output_tokens: int
    cached_tokens: int


class Replica:
    """Owns one engine and the time at which its API server is free. `receive` a request, then `submit` it at the time
    that this gave, after an `advance` to it. `tells_firsts`: `begun` is filled."""

    def __init__(
        self, name: str, config: EngineConfig, gaps: TokenGaps, *, phase: float = 0.0, tells_firsts: bool = False
    ) -> None:
        self.name = name
        self.begun: list[tuple[float, str]] = []
        """First tokens that went out: when the client has each, and whose it is. For the caller to take."""
        self._tells_firsts = tells_firsts
        self.engine = VirtualEngine(config, on_first=self._note_first, phase=phase)
        self.engine.gaps = gaps  # of all replicas together
        self.kv_tokens = count_tokens(config, self.engine.max_model_len, self.engine.num_gpu_blocks)
        self._time = (config.calibration or default_calibration(config.gpu)).front_end
        self._front = FrontEnd(self._time, phase=phase)
        self._live: dict[str, _Live] = {}
        self._firsts: deque[tuple[float, _Live, int, int]] = deque()
        """First tokens that are not sent yet: when they are there, tokens so far, and those of its step."""
        self._charged = 0
        """Tokens that the API server has spent its time on."""
        self._looked_at = 0.0

    @property
    def next_at(self) -> float:
        """Nothing comes out before; infinity when idle."""
        at = self.engine.next_at
        if self._tells_firsts and self._firsts and self._firsts[0][0] < at:
            return self._firsts[0][0]
        return at

    def receive(self, prompt_tokens: int, now: float) -> float:
        """A request arrives: when the engine will see it."""
        self._stream(now)
        return self._front.receive(prompt_tokens, now)

    def submit(self, request: LengthRequest, now: float) -> None:
        """The engine sees it; `ValueError` where it can never run."""
        self.engine.submit(request, now)
        self._live[request.id] = _Live(request.id, request.prompt_tokens, now)

    def has_first_token(self, name: str) -> bool:
        """Whether the answer has begun, or will with the step under way."""
        return self._live[name].has_begun

    def abort(self, name: str) -> None:
        """The gateway has left before the first token: the engine forgets the request."""
        self.engine.abort(name)
        del self._live[name]

    def advance(self, until: float) -> list[Answer]:
        """Runs to `until`; what came out by then."""
        served = self.engine.advance(until)
        if self._tells_firsts and self._firsts and self._firsts[0][0] <= until:
            self._stream(until)
        if not served:
            return []
        self._stream(until)
        behind = max(0.0, self._front.free_at - until)
        return [self._answer(one, behind) for one in served]

    def sample(self, now: float) -> tuple[EngineSample, EngineStats]:
        """What its `/metrics` says."""
        stats = self.engine.stats()
        sample = EngineSample(
            at=now,
            running=stats.running,
            waiting=stats.waiting,
            kv_usage=stats.kv_usage,
            prompt_tokens_total=stats.prompt_tokens,
            generation_tokens_total=stats.generation_tokens,
            prefix_queries_total=stats.prefix_queries,
            prefix_hits_total=stats.prefix_hits,
            preemptions_total=stats.preemptions,
            kv_tokens=self.kv_tokens,
        )
        return sample, stats

    def _note_first(self, at: float, name: str, before: int) -> None:
        live = self._live[name]
        live.has_begun = True
        self._firsts.append((at, live, self.engine.generation_tokens - 1, before))

    def _stream(self, now: float) -> None:
        """Charges the API server for what went out since it was last looked at: first tokens one by one, each behind
        those of its step; the others as a flow."""
        while self._firsts and self._firsts[0][0] <= now:
            self._send_firsts(self._firsts[0][0])
        self._flow(self.engine.generation_tokens, now)

    def _send_firsts(self, at: float) -> None:
        """First tokens of one step's result: what they cost more comes before any token of the step, as in
        `FrontEnd.send`."""
        front, time = self._front, self._time
        step: list[tuple[_Live, int, int]] = []
        while self._firsts and self._firsts[0][0] == at:
            _, live, total, before = self._firsts.popleft()
            step.append((live, total, min(before, total - self._charged)))
        _, total, before = step[0]
        self._flow(total - before, at)
        transit = (step[-1][2] + 1) * time.transit_token_s * front.scale_at(at)
        begins = max(front.free_at, at + transit)
        slower = front.scale_at(begins)
        ready = begins + sum(time.after(live.prompt_tokens) for live, _, _ in step) * slower
        sent = 0
        for place, (live, total, before) in enumerate(step):
            sent = max(0, before - place)
            front.free_at = live.first_at = ready + sent * time.per_token_s * slower
            self._charged = total + 1
            if self._tells_firsts:
                self.begun.append((live.first_at, live.name))

    def _flow(self, total: int, now: float) -> None:
        """Tokens up to this many went out by now."""
        fresh = total - self._charged
        if fresh > 0:
            begins = max(self._front.free_at, self._looked_at)
            self._front.free_at = begins + fresh * self._time.per_token_s * self._front.scale_at(begins)
            self._charged = total
        self._looked_at = now

    def _answer(self, served: Served, behind: float) -> Answer:
        """`behind`: how far the API server is."""
        live = self._live.pop(served.id)
        done = served.finished_at + behind + self._time.per_token_s
        return Answer(
            served.id,
            live.first_at,
            live.first_at if served.output_tokens == 1 else max(live.first_at, done),
            served.scheduled_at - live.seen_at,
            served.output_tokens,
            served.cached_tokens,
        )
