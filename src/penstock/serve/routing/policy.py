"""Which endpoint gets a request: the routing port, and its policies.

A policy chooses among candidates from what is known now and returns a `Decision` that explains itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from penstock.serve.routing.endpoints import Endpoint

__all__ = ["UNKNOWN_NEED", "Decision", "Ended", "LeastLoad", "Need", "Policy", "Weighed"]


Weighed = tuple[str, float, float, float, float, float, int]
"""A candidate as it was weighed: endpoint id; seconds in all, of prefill, of what goes before, of the rest (decode, and
what others lose); tokens of the prompt that it is believed to have; requests in flight there. Plain, as one is made for
each candidate of each request."""


@dataclass(slots=True)  # not keyword-only: one is made for each request, and keywords cost time
class Need:
    """What a request will ask of an endpoint, as far as it is known before it runs."""

    prompt_tokens: int = 0
    """Estimated, unless it was counted."""
    output_tokens: int = 0
    """Expected, not the bound that the client gave."""
    blocks: Sequence[int] = ()
    """Chained hashes of the prompt's blocks, the first block's first; empty where prompts aren't followed."""
    block_tokens: int = 0
    """Tokens of one block, as far as they can be told."""
    adapter: str = ""
    """LoRA adapter; empty for the model itself."""
    session: str = ""
    """What the client says holds its requests together."""
    memo: Any = None
    """The policy's own, from `sent` to `ended`."""


UNKNOWN_NEED = Need()


@dataclass(slots=True)  # not keyword-only: one is made for each request, and keywords cost time
class Decision:
    """One routing decision. `scores` is filled only when somebody asked why: (endpoint id, score), lower is better."""

    endpoint: Endpoint
    policy: str
    scores: tuple[tuple[str, float], ...] = ()
    weighed: Sequence[Weighed] = ()
    """Each candidate with its predicted seconds, where the policy predicts them."""
    basis: str = ""
    """Whose step times the seconds come from."""
    is_kept: bool = True
    """To be remembered for who asks why. False where its numbers were not noted."""


@dataclass(slots=True)  # not keyword-only: one is made for each request, and keywords cost time; nor frozen
class Ended:
    """What came of a request at an endpoint. Seconds; -1 where the moment never came; tokens -1 where not reported."""

    now: float
    is_ok: bool
    sent_at: float
    ttft_s: float = -1.0
    prompt_tokens: int = -1
    cached_tokens: int = -1
    output_tokens: int = -1


class Policy(Protocol):
    """Chooses an endpoint, and is told what became of it. Called from the event loop; must not block."""

    name: str

    def choose(self, candidates: Sequence[Endpoint], need: Need, *, now: float, explains: bool = False) -> Decision:
        """The endpoint for a request; `candidates` is not empty. Changes nothing that other choices depend on but
        whose turn it is: the request may still not be sent there."""
        ...

    def sent(self, endpoint: Endpoint, need: Need, now: float) -> None:
        """A request went there."""
        ...

    def ended(self, endpoint: Endpoint, need: Need, outcome: Ended) -> None:
        """It is over there."""
        ...


class LeastLoad:
    """Fewest requests in flight; ties go round, so that equal endpoints get equal shares.

    Load is our own requests in flight plus what the engine says is waiting in it, which other gateways may have sent.
    Endpoints that have never answered are taken last.
    """

    name = "least-load"

    def __init__(self) -> None:
        self._turn = 0

    def choose(self, candidates: Sequence[Endpoint], need: Need, *, now: float, explains: bool = False) -> Decision:
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

    def sent(self, endpoint: Endpoint, need: Need, now: float) -> None:
        """Nothing to keep: the endpoint counts what is in flight."""

    def ended(self, endpoint: Endpoint, need: Need, outcome: Ended) -> None:
        """Nothing to keep."""

    @staticmethod
    def load(endpoint: Endpoint) -> float:
        """Requests in flight there, ours and (as waiting) others'; one not yet proven, or last down, costs more."""
        sample = endpoint.sample
        load = endpoint.in_flight + (sample.waiting if sample is not None else 0)
        return load if endpoint.health == "ready" else load + 0.5
