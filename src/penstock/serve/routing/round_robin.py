"""One endpoint after the other: `round-robin`."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.serve.routing.endpoints import Endpoint
from penstock.serve.routing.policy import Decision, Ended, Need

__all__ = ["RoundRobin"]


class RoundRobin:
    """One after the other, whatever they have to do: nginx's default."""

    name = "round-robin"

    def __init__(self) -> None:
        self._turn = -1

    def choose(self, candidates: Sequence[Endpoint], need: Need, *, now: float, explains: bool = False) -> Decision:
        """The next one."""
        self._turn = (self._turn + 1) % len(candidates)
        return Decision(endpoint=candidates[self._turn], policy=self.name)

    def sent(self, endpoint: Endpoint, need: Need, now: float) -> None:
        """Nothing to keep."""

    def ended(self, endpoint: Endpoint, need: Need, outcome: Ended) -> None:
        """Nothing to keep."""
