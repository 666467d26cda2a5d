"""The status of a Fleet object, from how the fleet is: what `kubectl get fleet` prints. Pure.

Guarantees: the same fleet gives the same status, so that a controller that writes it again changes nothing; a
condition's time is when it last became so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.operate.apply.fleet_status import FleetStatus, ModelStatus
from penstock.operate.apply.objects import Object, conditions

__all__ = ["resource_status", "timed"]

_NAMES_MAX = 40
"""Characters of the models' names in one line of a table."""


def resource_status(found: FleetStatus, *, generation: int, now: str, before: Object | None = None) -> dict[str, Any]:
    """`generation`: of the Fleet that this is about. `now`: RFC 3339. `before`: the Fleet with its present status."""
    ready, desired = sum(m.ready for m in found.models), sum(m.desired for m in found.models)
    summary = {
        "models": _names([model.name for model in found.models]),
        "ready": f"{ready}/{desired}",
        "revision": _revision(found.models),
        "rollout": _rollout(found.models),
    }
    unready = [f"{part.name or part.workload}: {part.reason}" for part in (*found.models, *found.parts) if part.reason]
    if found.is_ready and found.is_there:
        fact = {"type": "Ready", "status": "True", "reason": "AllReady", "message": f"{ready}/{desired} replicas serve"}
    else:
        message = "; ".join((*unready, *found.storage)) or "nothing of it is there yet"
        fact = {"type": "Ready", "status": "False", "reason": "NotReady", "message": message[:32_000]}
    return {
        "observedGeneration": generation,
        "summary": summary,
        "models": [_model(model) for model in found.models],
        "conditions": [timed(fact, generation, now, before)],
    }


def _model(model: ModelStatus) -> dict[str, Any]:
    said = {
        "name": model.name,
        "ready": model.ready,
        "desired": model.desired,
        "revision": model.revision,
        "rollout": model.rollout,
    }
    return said | ({"message": model.reason} if model.reason else {})


def timed(fact: Mapping[str, Any], generation: int, now: str, before: Object | None) -> dict[str, Any]:
    """A condition, with the time since when it has been so."""
    known = conditions(before or {}).get(str(fact["type"]), {})
    since = known.get("lastTransitionTime") if known.get("status") == fact["status"] else None
    return {**fact, "observedGeneration": generation, "lastTransitionTime": since or now}


def _names(names: Sequence[str]) -> str:
    """As many as fit, and how many more there are."""
    shown: list[str] = []
    for name in names:
        if shown and len(", ".join((*shown, name))) > _NAMES_MAX:
            return f"{', '.join(shown)} +{len(names) - len(shown)}"
        shown.append(name)
    return ", ".join(shown)


def _revision(models: Sequence[ModelStatus]) -> str:
    revisions = sorted({model.revision for model in models})
    return revisions[0] if len(revisions) == 1 else f"{len(revisions)} revisions" if revisions else ""


def _rollout(models: Sequence[ModelStatus]) -> str:
    under_way = [model for model in models if model.rollout != "complete"]
    if not under_way:
        return "complete"
    first = under_way[0]
    more = f" +{len(under_way) - 1}" if len(under_way) > 1 else ""
    return f"{first.name} {first.rollout}{more}"
