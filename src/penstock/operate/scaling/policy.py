"""By what a model scales: settled from its plan, with the same target as the trigger that asks Prometheus. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from penstock.plan.manifests.law import floor_of, sleeps, target_of
from penstock.plan.manifests.needs import ModelNeeds
from penstock.plan.manifests.site import Site

__all__ = ["LEAD_S_MAX", "Policy", "policies_of"]

LEAD_S_MAX = 600.0
"""Seconds that a trend is carried on at most: nobody knows a load ten minutes ahead by its last two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One model of a fleet."""

    model: str
    target: float
    """Requests that one replica is meant to have, running and waiting."""
    lead_s: float = 0.0
    """Seconds from the wish for a replica until it serves: so far ahead the load is looked for."""
    floor: int = 0
    """Replicas that always run beside what is scaled: what they are meant to have is not asked for again."""
    may_sleep: bool = False
    """Whether it has no replica when nobody asks."""

    @property
    def unit(self) -> int:
        """What one request is told as. KEDA's fallback reckons with whole targets only: others are told in
        thousandths, as the trigger that asks Prometheus has them."""
        return 1 if self.target == int(self.target) else 1000

    def replicas_for(self, requests: float) -> int:
        """Replicas for so many requests, as an HPA reckons without its tolerance."""
        return math.ceil(requests / self.target)


def policies_of(site: Site) -> dict[str, Policy]:
    """The models that scale `via: penstock`, by name."""
    return {
        name: _policy(site, needs)
        for name, needs in site.needs.items()
        if needs.spec.autoscaling is not None and needs.spec.autoscaling.via == "penstock"
    }


def _policy(site: Site, needs: ModelNeeds) -> Policy:
    return Policy(
        model=needs.spec.name,
        target=target_of(needs).requests,
        lead_s=min(needs.host.cold.total_s, LEAD_S_MAX),
        floor=floor_of(site, needs),
        may_sleep=sleeps(site, needs),
    )
