"""A fleet's status tells of each model what runs, what waits and why."""

from __future__ import annotations

from operate.apply.made import Json, condition, deployment, live, pod, waiting, warning
from penstock.operate.apply.fleet_status import FleetStatus, Seen, fleet_status, revision_of

WHOLE = {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}


def engine(**status: object) -> Json:
    found = deployment(**status)
    found["metadata"]["labels"] |= {"app.kubernetes.io/component": "engine", "penstock.dev/model": "demo-chat"}
    return found


def status_of(*pods: Json, workload: Json, events: tuple[Json, ...] = (), **kinds: list[Json]) -> FleetStatus:
    seen = Seen(objects={"Deployment": [workload], **kinds}, pods=pods, events=events)
    return fleet_status("demo", "llm", seen, {"demo-chat": "org/chat"})


def test_a_model_that_serves_is_told_with_its_name_and_addresses() -> None:
    ready = pod("a", phase="Running", podIP="10.0.0.1", conditions=[condition("Ready")])

    found = status_of(ready, workload=engine(**WHOLE))

    (model,) = found.models
    assert (model.name, model.ready, model.desired, model.rollout) == ("org/chat", 2, 2, "complete")
    assert model.endpoints == ("10.0.0.1",)
    assert found.is_ready
    assert found.parts == ()


def test_what_is_pending_is_told_pod_by_pod() -> None:
    bad = pod("b", **waiting("ImagePullBackOff", "no", restartCount=3))

    found = status_of(bad, workload=engine(updatedReplicas=1), events=(warning("uid-b", "Failed", "pull"),))

    (model,) = found.models
    assert [(entry.name, entry.reason) for entry in model.pending] == [("b", "the image img:1 cannot be pulled: no")]
    assert (model.restarts, model.rollout) == (3, "1/2 updated")
    assert found.events == ("2026-01-01T00:00:00Z Pod p: Failed: pull",)
    assert not found.is_ready


def test_warnings_of_others_are_not_told() -> None:
    assert status_of(workload=engine(), events=(warning("uid-z", "Failed", "pull"),)).events == ()


def test_the_scaler_is_told_with_its_bounds_and_trouble() -> None:
    spec = {"scaleTargetRef": {"kind": "Deployment", "name": "x"}, "minReplicas": 1, "maxReplicas": 4}
    broken = {"conditions": [condition("AbleToScale", "False", "FailedGetScale", "gone")]}
    scaler = live("HorizontalPodAutoscaler", spec=spec, status=broken)

    (model,) = status_of(workload=engine(**WHOLE), HorizontalPodAutoscaler=[scaler]).models

    assert model.scaler == "HorizontalPodAutoscaler 1 to 4: FailedGetScale: gone"


def test_volumes_and_downloads_that_are_not_ready_keep_the_fleet_from_being_ready() -> None:
    claim = live("PersistentVolumeClaim", "v", spec={}, status={"phase": "Pending"})

    found = status_of(workload=engine(**WHOLE), PersistentVolumeClaim=[claim])

    assert found.storage == ("PersistentVolumeClaim v: waiting: no volume is bound yet",)
    assert not found.is_ready


def test_a_revision_is_the_same_for_the_same_template_and_another_for_another() -> None:
    one, same, other = engine(), engine(**WHOLE), engine()
    other["spec"] = {**other["spec"], "template": {"spec": {"nodeName": "n"}}}

    assert revision_of(one) == revision_of(same) != revision_of(other)
    assert len(revision_of(one)) == 8
