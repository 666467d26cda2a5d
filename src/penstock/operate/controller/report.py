"""The status of a Fleet: what was observed, and how far the controller is with it. Pure.

Conditions: `Accepted` (the spec can be rendered), `Applied` (the cluster holds it), `Ready` (everything serves).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from penstock.operate.apply.fleet_status import FleetStatus
from penstock.operate.apply.objects import Object
from penstock.operate.apply.resource_status import resource_status, timed

__all__ = ["Outlook", "Phase", "status_of"]

_MESSAGE_CHARS_MAX = 4000


class Phase(StrEnum):
    """How far the controller is with a generation of the Fleet."""

    REFUSED = "Refused"
    """The spec cannot be rendered: what was there before stays."""
    APPLYING = "Applying"
    BLOCKED = "Blocked"
    """The API server, or another manager, stands in the way."""
    FAILED = "Failed"
    """Something that was waited for has failed."""
    APPLIED = "Applied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What the controller is about, for one Fleet."""

    generation: int
    phase: Phase
    message: str = ""


def status_of(fleet: Object, outlook: Outlook, seen: FleetStatus | None, *, now: str) -> dict[str, Any]:
    """`.status` as it is to be. `seen` None: nothing of it was read. `now`: RFC 3339, UTC."""
    metadata = fleet["metadata"]
    found = seen or FleetStatus(fleet=metadata["name"], namespace=metadata["namespace"], models=(), parts=())
    status = resource_status(found, generation=outlook.generation, now=now, before=fleet)
    is_refused = outlook.phase is Phase.REFUSED
    message = outlook.message[:_MESSAGE_CHARS_MAX]
    rows = (
        ("Accepted", not is_refused, "Refused" if is_refused else "Rendered", message if is_refused else ""),
        ("Applied", outlook.phase is Phase.APPLIED, str(outlook.phase), "" if is_refused else message),
    )
    facts = [
        {"type": type_, "status": "True" if is_so else "False", "reason": reason, "message": words}
        for type_, is_so, reason, words in rows
    ]
    observed = status["conditions"]
    is_serving = all(fact["status"] == "True" for fact in observed)
    if outlook.phase is Phase.APPLYING and is_serving:  # what serves is not yet what the Fleet asks for
        fact = {"type": "Ready", "status": "False", "reason": str(outlook.phase), "message": message}
        observed = [timed(fact, outlook.generation, now, fleet)]
    own = [timed(fact, outlook.generation, now, fleet) for fact in facts]
    return {**status, "conditions": [*own, *observed]}
