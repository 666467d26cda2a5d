"""Routing policies by name: the gateway's own, and what others do to compare with. Pure.

Guarantees: a policy made here is the object that the gateway would use; the baselines follow the same port. Whatever is
random comes from the stream handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from types import MappingProxyType

from penstock.errors import UsageError
from penstock.serve.routing import Decision, Ended, Endpoint, LeastLoad, Need, Policy
from penstock.spec.nearest import nearest

__all__ = ["DEFAULT_POLICY", "POLICIES", "RandomChoice", "RoundRobin", "make_policy"]

DEFAULT_POLICY = LeastLoad.name


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


class RandomChoice:
    """Any one, with equal chances: a Kubernetes Service."""

    name = "random"

    def __init__(self, random: Random) -> None:
        self._random = random

    def choose(self, candidates: Sequence[Endpoint], need: Need, *, now: float, explains: bool = False) -> Decision:
        """Any one."""
        return Decision(endpoint=candidates[int(self._random.random() * len(candidates))], policy=self.name)

    def sent(self, endpoint: Endpoint, need: Need, now: float) -> None:
        """Nothing to keep."""

    def ended(self, endpoint: Endpoint, need: Need, outcome: Ended) -> None:
        """Nothing to keep."""


POLICIES: Mapping[str, Callable[[Random], Policy]] = MappingProxyType(
    {
        LeastLoad.name: lambda _random: LeastLoad(),
        RoundRobin.name: lambda _random: RoundRobin(),
        RandomChoice.name: RandomChoice,
    }
)
"""By name: the gateway's first, then the baselines."""


def make_policy(name: str, random: Random) -> Policy:
    """A fresh policy.

    Raises:
        UsageError: there is none of this name.
    """
    make = POLICIES.get(name)
    if make is None:
        near = nearest(name, list(POLICIES), 1)
        words = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"there is no routing policy {name!r}", hint=f"{words}policies: {', '.join(POLICIES)}")
    return make(random)
