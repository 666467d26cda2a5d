"""The status of a Fleet: true, short, and steady while nothing changes."""

from __future__ import annotations

from typing import Any

import pytest

from operate.controller.fleets import fleet_object
from penstock.operate.apply.fleet_status import FleetStatus, ModelStatus
from penstock.operate.controller import Outlook, Phase, status_of

NOW, LATER = "2026-11-21T10:00:00Z", "2026-11-21T11:00:00Z"


def row(name: str, ready: int = 1, desired: int = 1, **fields: Any) -> ModelStatus:
    state = "ready" if ready == desired else "waiting"
    plain = {"component": "engine", "workload": f"Deployment {name}", "revision": "abc", "rollout": "complete"}
    rest = {"state": state, "reason": "", "since": "", "restarts": 0, "endpoints": (), "scaler": "", **plain, **fields}
    return ModelStatus(name=name, ready=ready, desired=desired, **rest)


def seen(*rows: ModelStatus, storage: tuple[str, ...] = ()) -> FleetStatus:
    return FleetStatus(fleet="f", namespace="ai", models=rows, parts=(), storage=storage)


def status(
    look: FleetStatus | None, phase: Phase = Phase.APPLIED, message: str = "", fleet: Any = None, now: str = NOW
) -> dict[str, Any]:
    outlook = Outlook(generation=3, phase=phase, message=message)
    return status_of(fleet or fleet_object(), outlook, look, now=now)


def conditions(found: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {entry["type"]: (entry["status"], entry["reason"]) for entry in found["conditions"]}


def test_what_was_observed_is_told_with_the_generation_that_it_is_about() -> None:
    found = status(seen(row("a", 2, 2), row("b", 3, 4)))

    assert found["summary"]["ready"] == "5/6"
    assert [model["name"] for model in found["models"]] == ["a", "b"]
    assert found["observedGeneration"] == 3


@pytest.mark.parametrize(
    ("phase", "look", "accepted", "applied", "ready"),
    [
        (Phase.APPLIED, seen(row("a")), "True", "True", "True"),
        (Phase.APPLIED, seen(row("a", 0, 1)), "True", "True", "False"),
        (Phase.APPLYING, None, "True", "False", "False"),
        (Phase.APPLYING, seen(row("a")), "True", "False", "False"),
        (Phase.APPLYING, seen(), "True", "False", "False"),
        (Phase.BLOCKED, seen(row("a")), "True", "False", "True"),
        (Phase.REFUSED, seen(row("a")), "False", "False", "True"),
        (Phase.APPLIED, seen(row("a"), storage=("PersistentVolumeClaim m: waiting: x",)), "True", "True", "False"),
    ],
)
def test_conditions_say_how_far_it_is(
    phase: Phase, look: FleetStatus | None, accepted: str, applied: str, ready: str
) -> None:
    found = conditions(status(look, phase))

    assert [found[name][0] for name in ("Accepted", "Applied", "Ready")] == [accepted, applied, ready]


def test_why_a_spec_is_refused_is_said_where_people_look() -> None:
    found = status(None, Phase.REFUSED, "spec.models[0].source: nothing is known of it")

    accepted = next(entry for entry in found["conditions"] if entry["type"] == "Accepted")
    assert accepted["message"] == "spec.models[0].source: nothing is known of it"


def test_a_conditions_time_is_that_of_its_last_change() -> None:
    first = status(seen(row("a")))
    same = status(seen(row("a")), fleet={**fleet_object(), "status": first}, now=LATER)
    changed = status(seen(row("a", 0, 1)), fleet={**fleet_object(), "status": first}, now=LATER)

    assert same == first
    times = {entry["type"]: entry["lastTransitionTime"] for entry in changed["conditions"]}
    assert times == {"Accepted": NOW, "Applied": NOW, "Ready": LATER}


def test_a_message_is_bounded() -> None:
    found = status(None, Phase.BLOCKED, "x" * 50_000)

    applied = next(entry for entry in found["conditions"] if entry["type"] == "Applied")
    assert len(applied["message"]) == 4000
