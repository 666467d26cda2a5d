"""Which endpoint gets a request: the routing port, and its policies.

A policy chooses among candidates from what is known now and returns a `Decision` that explains itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from penstock.serve.routing.endpoints import Endpoint

__all__ = ["Decision", "LeastLoad", "Policy"]


@dataclass(slots=True, kw_only=True)
class Decision:
    """One routing decision. `scores` is filled only when somebody asked why: (endpoint id, score), lower is better."""

    endpoint: Endpoint
    policy: str
    scores: tuple[tuple[str, float], ...] = ()


class Policy(Protocol):
    """Chooses an endpoint. Called from the event loop, once per dispatch; must not block."""

    name: str

    def choose(self, candidates: Sequence[Endpoint], *, now: float, explains: bool = False) -> Decision:
        """The endpoint for a request; `candidates` is not empty."""
        ...


class LeastLoad:
    """Fewest requests in flight; ties go round, so that equal endpoints get equal shares.

    Load is our own requests in flight plus what the engine says is waiting in it, which other gateways may have sent.
    Endpoints that have never answered are taken last.
    """

    name = "least-load"

    def __init__(self) -> None:
        self._turn = 0

    def choose(self, candidates: Sequence[Endpoint], *, now: float, explains: bool = False) -> Decision:
        """The least loaded of `candidates`."""
        count = len(candidates)
        self._turn = turn = (self._turn + 1) % count
        best = candidates[turn]
        best_load = self.load(best)
        for offset in range(1, count):
            endpoint = candidates[(turn + offset) % count]
            load = self.load(endpoint)
            if load < best_load:
                best, best_load = endpoint, load
        scores = tuple((e.id, self.load(e)) for e in candidates) if explains else ()
        return Decision(endpoint=best, policy=self.name, scores=scores)

    @staticmethod
    def load(endpoint: Endpoint) -> float:
        """Requests in flight there, ours and (as waiting) others'; one not yet proven, or last down, costs more."""
        sample = endpoint.sample
        load = endpoint.in_flight + (sample.waiting if sample is not None else 0)
        return load if endpoint.health == "ready" else load + 0.5
