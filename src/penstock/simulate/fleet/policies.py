"""Routing policies by name: the gateway's own, and what others do to compare with. Pure.

Guarantees: a policy made here is the object that the gateway would use; the baselines follow the same port. Whatever is
random comes from the stream handed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from penstock.errors import UsageError
from penstock.serve.routing import POLICY_NAMES, Decision, Ended, Endpoint, ModelTiming, Need, Policy
from penstock.serve.routing import make_policy as gateway_policy
from penstock.spec.nearest import nearest

__all__ = ["DEFAULT_POLICY", "POLICIES", "RandomChoice", "make_policy"]

DEFAULT_POLICY = POLICY_NAMES[0]


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


POLICIES: tuple[str, ...] = (*POLICY_NAMES, RandomChoice.name)
"""By name: the gateway's, its default first, then the baselines."""


def make_policy(name: str, random: Random, *, timing: Mapping[str, ModelTiming] | None = None) -> Policy:
    """A fresh policy. `timing`: step times by model, for those that predict.

    Raises:
        UsageError: there is none of this name.
    """
    if name in POLICY_NAMES:
        return gateway_policy(name, timing=timing, weighs=False)
    if name == RandomChoice.name:
        return RandomChoice(random)
    near = nearest(name, list(POLICIES), 1)
    words = f"did you mean {near[0]}? " if near else ""
    raise UsageError(f"there is no routing policy {name!r}", hint=f"{words}policies: {', '.join(POLICIES)}")
