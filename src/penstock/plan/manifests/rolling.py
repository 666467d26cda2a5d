"""How a model's replicas are replaced: the new one first where GPUs are free for it, else an old one first. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.plan.manifests.budget import most_replicas
from penstock.plan.manifests.needs import ModelNeeds
from penstock.plan.manifests.site import Site

__all__ = ["Rolling", "rolling_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rolling:
    """A rolling update: replicas more, and replicas less, than there should be."""

    surge: int
    unavailable: int
    reason: str
    has_gap: bool
    """Whether nobody serves the model while its only replica is replaced."""


def rolling_of(site: Site, needs: ModelNeeds) -> Rolling:
    """How this model's replicas are replaced."""
    if needs.is_simulated:
        reason = "The new one is ready before an old one goes: it takes no GPU."
        return Rolling(surge=1, unavailable=0, reason=reason, has_gap=False)
    spare = site.gpu_class(needs).spare_gpus
    if spare >= needs.gpus:
        reason = f"The new one is ready before an old one goes: it takes {_count(needs.gpus)}, and {spare} are spare."
        return Rolling(surge=1, unavailable=0, reason=reason, has_gap=False)
    why = f"An old one goes first: a new one takes {_count(needs.gpus)} and {_spare(spare)} (`spareGpus`). "
    why += "If it had to be ready before, it would wait for GPUs that the old one holds, for ever."
    if most_replicas(needs) > 1:
        return Rolling(surge=0, unavailable=1, reason=why, has_gap=False)
    why += " With one replica nobody serves meanwhile: the gateway answers 503 with Retry-After."
    return Rolling(surge=0, unavailable=1, reason=why, has_gap=True)


def _count(gpus: int) -> str:
    return f"{gpus} GPU{'s' * (gpus != 1)}"


def _spare(gpus: int) -> str:
    return {0: "none is spare", 1: "one is spare"}.get(gpus, f"{gpus} are spare")
