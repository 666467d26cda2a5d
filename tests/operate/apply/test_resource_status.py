"""What `kubectl get fleet` prints of a fleet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from penstock.operate.apply.fleet_status import FleetStatus, ModelStatus
from penstock.operate.apply.resource_status import resource_status

CHAT = ModelStatus(
    name="chat",
    component="engine",
    workload="Deployment demo-chat",
    ready=2,
    desired=2,
    revision="aaaa",
    rollout="complete",
    state="ready",
    reason="",
    since="2026-01-01T00:00:00Z",
    restarts=0,
    endpoints=(),
    scaler="",
)
CODER = replace(CHAT, name="coder", revision="bbbb")
BEHIND = replace(CODER, ready=1, desired=4, rollout="2/4 updated", state="waiting", reason="no node takes it")
NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def status_of(*models: ModelStatus, now: str = NOW, before: dict[str, Any] | None = None) -> dict[str, Any]:
    found = FleetStatus(fleet="demo", namespace="llm", models=models, parts=())
    return resource_status(found, generation=3, now=now, before=before)


def test_a_fleet_that_serves_is_ready() -> None:
    found = status_of(CHAT, CODER)

    assert found["summary"] == {
        "models": "chat, coder",
        "ready": "4/4",
        "revision": "2 revisions",
        "rollout": "complete",
    }
    assert found["conditions"] == [
        {
            "type": "Ready",
            "status": "True",
            "reason": "AllReady",
            "message": "4/4 replicas serve",
            "observedGeneration": 3,
            "lastTransitionTime": NOW,
        }
    ]


def test_a_fleet_that_does_not_says_which_model_and_why() -> None:
    found = status_of(CHAT, BEHIND)

    assert found["summary"]["ready"] == "3/6"
    assert found["summary"]["rollout"] == "coder 2/4 updated"
    assert found["models"][1]["message"] == "no node takes it"
    assert found["conditions"][0]["status"] == "False"
    assert found["conditions"][0]["message"] == "coder: no node takes it"


def test_the_same_fleet_has_the_same_status_later() -> None:
    first = status_of(CHAT)

    assert status_of(CHAT, now=LATER, before={"status": first}) == first
    changed = status_of(BEHIND, now=LATER, before={"status": first})
    assert changed["conditions"][0]["lastTransitionTime"] == LATER


def test_many_names_are_cut_short_with_their_number() -> None:
    models = [replace(CHAT, name=f"a-model-{number:02}") for number in range(30)]

    assert status_of(*models)["summary"]["models"] == "a-model-00, a-model-01, a-model-02 +27"
    assert status_of(CHAT)["summary"]["revision"] == "aaaa"
    assert status_of()["conditions"][0]["message"] == "nothing of it is there yet"
