"""The status of a Fleet: what `kubectl get fleet` shows, and conditions that tools wait for. Pure.

Conditions: `Accepted` (the spec can be rendered), `Applied` (the cluster holds it), `Ready` (everything serves). A
condition's time changes only when its status does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any

from penstock.operate.apply.fleet_status import FleetStatus, ModelStatus
from penstock.operate.apply.objects import Object, at

__all__ = ["Outlook", "Phase", "status_of"]

_MESSAGE_CHARS_MAX = 1000


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
    rows = seen.models if seen is not None else ()
    return {
        "observedGeneration": outlook.generation,
        "summary": _summary(rows),
        "models": [_model(row) for row in rows],
        "conditions": _conditions(fleet, outlook, seen, now),
    }


def _summary(rows: tuple[ModelStatus, ...]) -> dict[str, str]:
    names = [row.name for row in rows]
    shown = ",".join(names[:3]) + (f",+{len(names) - 3}" if len(names) > 3 else "")
    rolling = [f"{row.name}: {row.rollout}" for row in rows if row.rollout != "complete"]
    more = f" and {len(rolling) - 1} more" if len(rolling) > 1 else ""
    revisions = "".join(f"{row.name}={row.revision};" for row in sorted(rows, key=lambda row: row.name))
    return {
        "models": shown,
        "ready": f"{sum(row.ready for row in rows)}/{sum(row.desired for row in rows)}",
        "revision": sha256(revisions.encode()).hexdigest()[:8] if rows else "",
        "rollout": f"{rolling[0]}{more}" if rolling else "complete",
    }


def _model(row: ModelStatus) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": row.name,
        "ready": row.ready,
        "desired": row.desired,
        "revision": row.revision,
        "rollout": row.rollout,
    }
    return {**found, "message": row.reason[:_MESSAGE_CHARS_MAX]} if row.reason else found


def _conditions(fleet: Object, outlook: Outlook, seen: FleetStatus | None, now: str) -> list[dict[str, Any]]:
    before = {entry["type"]: entry for entry in at(fleet, "status", "conditions", default=())}
    is_refused = outlook.phase is Phase.REFUSED
    is_applied = outlook.phase is Phase.APPLIED
    is_ready = seen is not None and seen.is_there and seen.is_ready
    rows = (
        ("Accepted", not is_refused, "Refused" if is_refused else "Rendered", outlook.message if is_refused else ""),
        ("Applied", is_applied, str(outlook.phase), "" if is_refused else outlook.message),
        ("Ready", is_ready, "Serving" if is_ready else "NotReady", _what_is_missing(seen)),
    )
    return [_condition(*row, outlook.generation, before.get(row[0], {}), now) for row in rows]


def _condition(  # noqa: PLR0917 — the fields of one condition
    type_: str, is_so: bool, reason: str, message: str, generation: int, before: Mapping[str, Any], now: str
) -> dict[str, Any]:
    status = "True" if is_so else "False"
    since = before.get("lastTransitionTime") if before.get("status") == status else None
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message[:_MESSAGE_CHARS_MAX],
        "lastTransitionTime": since or now,
        "observedGeneration": generation,
    }


def _what_is_missing(seen: FleetStatus | None) -> str:
    if seen is None or not seen.is_there:
        return "nothing of it is there yet"
    parts = [part for part in (*seen.models, *seen.parts) if part.state != "ready"]
    told = [f"{part.name} {part.ready}/{part.desired}: {part.reason or part.state}" for part in parts]
    return "; ".join([*told, *seen.storage])
