"""One endpoint of the simulated fleet: an engine with its API server, in virtual time.

The engine is `VirtualEngine`. The API server is one process on one core: it reads requests in order, and each token
that it streams costs it time. Tokens are charged as a flow between two looks at it, not one by one, so that equal
decode steps can be run in one go: exact with few tokens a second, close near the process's limit (some ten thousand).

Guarantees: in order of time; each request comes out once, or is forgotten by `abort`.
"""

from __future__ import annotations

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
)

__all__ = ["Answer", "Replica"]


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
    """Owns one engine. `receive`, then `submit` at the time that it gave; `advance` before each."""

    def __init__(self, name: str, config: EngineConfig, gaps: TokenGaps) -> None:
        self.name = name
        self.engine = VirtualEngine(config)
        self.engine.gaps = gaps  # of all replicas together
        self._time = (config.calibration or default_calibration(config.gpu)).front_end
        self._scale = 1.0 / config.speed
        self._front = FrontEnd(self._time, speed=config.speed)
        self._seen: dict[str, float] = {}
        """When the engine saw the requests that it has."""
        self._streamed = 0
        self._looked_at = 0.0

    @property
    def next_at(self) -> float:
        """Nothing comes out before; infinity when idle."""
        return self.engine.next_at

    def receive(self, prompt_tokens: int, now: float) -> float:
        """A request arrives: when the engine will see it."""
        self._stream(now)
        return self._front.receive(prompt_tokens, now)

    def submit(self, request: LengthRequest, now: float) -> None:
        """The engine sees it; `ValueError` where it can never run."""
        self.engine.submit(request, now)
        self._seen[request.id] = now

    def has_first_token(self, name: str) -> bool:
        """Whether the answer has begun."""
        return self.engine.has_first_token(name)

    def abort(self, name: str) -> None:
        """The gateway has left: the engine forgets the request."""
        self.engine.abort(name)
        self._seen.pop(name, None)

    def advance(self, until: float) -> list[Answer]:
        """Runs to `until`; what came out by then."""
        served = self.engine.advance(until)
        if not served:
            return []
        self._stream(until)
        wait = max(0.0, self._front.free_at - until)
        return [self._answer(one, wait) for one in served]

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
        )
        return sample, stats

    def _stream(self, now: float) -> None:
        """Charges the API server for the tokens that went out since it was last looked at."""
        total = self.engine.generation_tokens
        fresh, self._streamed = total - self._streamed, total
        front = self._front
        front.free_at = max(front.free_at, self._looked_at) + fresh * self._time.per_token_s * self._scale
        self._looked_at = now

    def _answer(self, served: Served, wait: float) -> Answer:
        """`wait`: how far the API server is behind."""
        time, scale = self._time, self._scale
        first = served.first_token_at + wait + time.after(served.prompt_tokens) * scale
        done = max(first, served.finished_at + wait + time.per_token_s * scale)
        return Answer(
            served.id,
            first,
            first if served.output_tokens == 1 else done,
            served.scheduled_at - self._seen.pop(served.id),
            served.output_tokens,
            served.cached_tokens,
        )
