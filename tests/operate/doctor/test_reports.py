"""What a cluster says of itself, in one shape."""

from __future__ import annotations

import pytest

from operate.doctor.faults import read
from penstock.operate.doctor import evidence_of_text, resource_of
from penstock.operate.doctor.case import Case
from penstock.operate.doctor.reports import condition, events, moment, objects, owner, statuses, times, unscheduled


def _case(*objs: dict[str, object]) -> Case:
    evidence = evidence_of_text(read("cluster.yaml"), "cluster.yaml")
    return Case(type(evidence)(resources=(*evidence.resources, *(resource_of(obj) for obj in objs))))


def _event(name: str, message: str, **more: object) -> dict[str, object]:
    about = {"kind": "Pod", "name": name, "namespace": "llm"}
    metadata = {"name": "e", "namespace": "llm"}
    told = {"reason": "FailedScheduling", "message": message, "involvedObject": about, "metadata": metadata}
    return {"apiVersion": "v1", "kind": "Event", **told, **more}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1970-01-01T00:01:00Z", 60.0), ("1970-01-01T01:00:00+01:00", 0.0), ("", None), ("soon", None)],
)
def test_times_are_unix_seconds(text: str, seconds: float | None) -> None:
    assert moment(resource_of({"at": text}).root["at"]) == seconds


def test_a_pod_that_waits_is_told_once_though_its_condition_and_its_events_say_so() -> None:
    told = [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes"}]
    metadata = {"name": "p", "namespace": "llm"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"conditions": told}}
    case = _case(pod, _event("p", "0/1 nodes"), _event("q", "0/2 nodes"), _event("q", "0/3 nodes"))

    assert [(what, message) for _, what, message in unscheduled(case)] == [
        ("pod p", "0/1 nodes"),
        ("llm/Pod/q", "0/2 nodes"),
    ]


def test_conditions_states_and_makers_are_found() -> None:
    case = _case(_event("p", "x", count=3), _event("p", "x", series={"count": 7}), _event("p", "x"))
    (pod,) = objects(case, "Pod")

    assert condition(pod, "PodScheduled") is not None
    assert condition(pod, "Absent") is None
    assert [status["name"].text for _, status in statuses(case)] == ["vllm"]
    assert [times(event) for event, _ in events(case, "FailedScheduling")] == [3, 7, 1]
    assert owner(pod) == ("", "")
    made = resource_of({"metadata": {"ownerReferences": [{"kind": "ReplicaSet", "name": "r"}]}})
    assert owner(made) == ("ReplicaSet", "r")
