"""Routing policies by their name in the fleet file (`routing.policy`)."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.errors import UsageError
from penstock.serve.routing.cost import BLOCKS_MAX, CostPolicy
from penstock.serve.routing.hashed import PrefixHash, Session
from penstock.serve.routing.policy import LeastLoad, Policy
from penstock.serve.routing.round_robin import RoundRobin
from penstock.serve.routing.timing import ModelTiming
from penstock.spec.nearest import nearest

__all__ = ["POLICY_NAMES", "make_policy"]

POLICY_NAMES = (CostPolicy.name, RoundRobin.name, LeastLoad.name, PrefixHash.name, Session.name)
"""The default first."""


def make_policy(
    name: str,
    *,
    timing: Mapping[str, ModelTiming] | None = None,
    kv_tokens: Mapping[str, int] | None = None,
    blocks_max: int = BLOCKS_MAX,
    weighs: bool = True,
) -> Policy:
    """A fresh policy for all models of a gateway; what follows the name is for `cost` alone, as its constructor says.

    Raises:
        UsageError: there is none of this name.
    """
    if name == CostPolicy.name:
        return CostPolicy(timing, blocks_max=blocks_max, kv_tokens=kv_tokens, weighs=weighs)
    for plain in (RoundRobin, LeastLoad, PrefixHash, Session):
        if plain.name == name:
            return plain()
    near = nearest(name, list(POLICY_NAMES), 1)
    words = f"did you mean {near[0]}? " if near else ""
    raise UsageError(f"there is no routing policy {name!r}", hint=f"{words}policies: {', '.join(POLICY_NAMES)}")
