"""Open-loop requests through one simulated server: front end, engine, front end, in virtual time.

What a load test measures, without the test: each request is sent when the trace says, whatever became of the others,
and every token is noted when the client would have it. Guarantees: deterministic; requests out are requests in, in
their order. For a fleet, routing and long traces use `VirtualEngine` directly.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from penstock.perf.calibration import default_calibration
from penstock.simulate.engine.front_end import FrontEnd
from penstock.simulate.engine.messages import EngineConfig
from penstock.simulate.engine.virtual import LengthRequest, VirtualEngine

__all__ = ["Answered", "OpenLoop", "replay_open_loop"]

_TYPICAL_PHASE = 7 / 16
"""Of sixteen phases the one whose replays of six loads are nearest to those of all together (3 % root mean square)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One request as its client saw it."""

    sent_at: float
    token_times: tuple[float, ...]

    @property
    def ttft_s(self) -> float:
        return self.token_times[0] - self.sent_at

    @property
    def e2e_s(self) -> float:
        return self.token_times[-1] - self.sent_at

    @property
    def gaps_s(self) -> list[float]:
        """Between one token and the next."""
        return [b - a for a, b in zip(self.token_times, self.token_times[1:], strict=False)]


@dataclass(slots=True, kw_only=True)
class OpenLoop:
    """What came of a replay."""

    answered: list[Answered] = field(default_factory=list)
    running_max: int = 0
    waiting_max: int = 0
    kv_usage_max: float = 0.0
    preemptions: int = 0

    @property
    def duration_s(self) -> float:
        """From time 0 to the last token."""
        return max((a.token_times[-1] for a in self.answered), default=0.0)

    @property
    def output_tokens_per_s(self) -> float:
        return sum(len(a.token_times) for a in self.answered) / self.duration_s if self.answered else 0.0


def replay_open_loop(
    requests: Sequence[tuple[float, LengthRequest]], config: EngineConfig, *, phase: float = _TYPICAL_PHASE
) -> OpenLoop:
    """Serves requests, each with the time at which it is sent, in order of time.

    `phase` (0 to 1) sets when the host is slow: a few seconds of load have other tails with another one.
    """
    return _Replay(requests, config, phase).run()


class _Replay:
    """Owns the order of events: a request comes, the engine sees it, a step's result is sent."""

    def __init__(self, requests: Sequence[tuple[float, LengthRequest]], config: EngineConfig, phase: float) -> None:
        calibration = config.calibration or default_calibration(config.gpu)
        self._front = FrontEnd(calibration.front_end, speed=config.speed, phase=phase)
        self._results: deque[tuple[float, list[str]]] = deque()
        self._engine = VirtualEngine(config, on_result=lambda at, ids: self._results.append((at, ids)), phase=phase)
        self._sent = {request.id: at for at, request in requests}
        self._prompts = {request.id: request.prompt_tokens for _, request in requests}
        self._coming = deque(requests)
        self._received: list[tuple[float, int, LengthRequest]] = []
        self._tokens: dict[str, list[float]] = {request.id: [] for _, request in requests}
        self._report = OpenLoop()

    def run(self) -> OpenLoop:
        while self._coming or self._received or self._results or self._engine.has_work:
            comes = self._coming[0][0] if self._coming else float("inf")
            seen = self._received[0][0] if self._received else float("inf")
            result = self._results[0][0] if self._results else float("inf")
            decides = self._engine.next_at
            first = min(comes, seen, result, decides)
            if result == first:
                self._send(*self._results.popleft())
            elif comes == first:
                at, request = self._coming.popleft()
                received = self._front.receive(request.prompt_tokens, at)
                heapq.heappush(self._received, (received, len(self._coming), request))
            elif seen == first:
                at, _, request = heapq.heappop(self._received)
                self._engine.submit(request, at, arrival=self._sent[request.id])
            else:
                self._engine.advance_once()
                self._note()
        self._report.preemptions = self._engine.stats().preemptions
        self._report.answered = [
            Answered(sent_at=at, token_times=tuple(self._tokens[name])) for name, at in self._sent.items()
        ]
        return self._report

    def _send(self, at: float, ids: list[str]) -> None:
        firsts = [None if self._tokens[name] else self._prompts[name] for name in ids]
        for name, sent in zip(ids, self._front.send(firsts, at), strict=True):
            self._tokens[name].append(sent)

    def _note(self) -> None:
        stats, report = self._engine.stats(), self._report
        report.running_max = max(report.running_max, stats.running)
        report.waiting_max = max(report.waiting_max, stats.waiting)
        report.kv_usage_max = max(report.kv_usage_max, stats.kv_usage)
