"""One request of a workload: when it comes, how long it is, who sends it and what it shares.

Guarantees: plain values with no I/O; the load client, the generators and the fleet simulation all speak it.
Leaves to others: what text it becomes (`prompts`), how it is sent (`simulate.io.load`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

__all__ = ["BLOCK_TOKENS", "Session", "TraceRequest", "faster", "sessions_of"]

# Tokens behind one id in `prefix_blocks`: the block size of the Mooncake trace, kept for all so that traces mix.
BLOCK_TOKENS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRequest:
    """One request. `at_s` counts from the start of the workload.

    `prefix_blocks` names the prompt's blocks of 512 tokens from the front (the last one may be partial): two requests
    that begin with the same ids begin with the same text. Empty: shares nothing.
    `gap_s` is for later turns of a session: the pause between the answer to the previous turn and this one.
    """

    at_s: float
    prompt_tokens: int
    output_tokens: int
    tenant: str = ""
    traffic_class: str = ""
    """`interactive`, `batch` or `experimental`; empty: its tenant's."""
    expected_output: int = 0
    """Output tokens that a gateway is to expect; 0: it learns that, as gateways do."""
    prefix_blocks: tuple[int, ...] = ()
    gap_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Turns that follow one another: each waits for the answer to the one before. Most workloads have one turn each."""

    turns: tuple[TraceRequest, ...]

    @property
    def at_s(self) -> float:
        """When the first turn is due."""
        return self.turns[0].at_s


def sessions_of(requests: Iterable[TraceRequest]) -> Iterator[Session]:
    """Each request as a session of its own: an open-loop workload."""
    for request in requests:
        yield Session(turns=(request,))


def faster(sessions: Iterable[Session], speed: float) -> Iterator[Session]:
    """The same workload with time running `speed` times as fast: arrivals and pauses alike."""
    for session in sessions:
        yield Session(
            turns=tuple(replace(t, at_s=t.at_s / speed, gap_s=t.gap_s / speed) for t in session.turns),
        )
