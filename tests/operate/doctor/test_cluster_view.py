"""What is read of a cluster: little of each object, the logs of the ill, Secrets by name only."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from operate.io.kubernetes.troubled import pod
from penstock.operate.doctor import reports, resource_of
from penstock.operate.doctor.cluster_view import EVENT_REASONS, KINDS, Kept, logs_wanted, of_fleet, secrets_named
from penstock.operate.doctor.rules import cluster, waiting

CRASHES = {"ready": False, "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}


def test_every_event_that_a_rule_asks_for_is_read() -> None:
    asked = set()
    for module in (cluster, reports, waiting):
        source = inspect.getsource(module)
        for call in re.findall(r"(?:events\(case|_event_rule\(\s*\()([^)]*)\)", source):
            asked |= set(re.findall(r'"(\w+)"', call))

    assert len(asked) >= 9
    assert asked <= EVENT_REASONS


def test_kinds_are_listed_once_and_secrets_never() -> None:
    names = [(kind.api_version, kind.name) for kind in KINDS]

    assert len(set(names)) == len(names)
    assert "Secret" not in {kind.name for kind in KINDS}


def test_nothing_is_kept_of_a_secret() -> None:
    assert Kept().of({"kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "b"}}) is None


def test_what_no_rule_reads_is_dropped() -> None:
    applied = {"kubectl.kubernetes.io/last-applied-configuration": "x", "mine": "y"}
    metadata = {"name": "n", "managedFields": [1], "annotations": applied}
    node = {"kind": "Node", "metadata": metadata, "status": {"images": [1], "allocatable": {"cpu": "1"}}}

    assert Kept().of(node) == {
        "kind": "Node",
        "metadata": {"name": "n", "annotations": {"mine": "y"}},
        "status": {"allocatable": {"cpu": "1"}},
    }


def test_pods_of_one_maker_share_their_spec_but_not_their_node_nor_their_claims() -> None:
    kept = Kept()
    made = []
    for name in ("a", "b"):
        each = pod(name, maker="r")
        each["spec"] |= {"nodeName": f"n-{name}", "volumes": [{"name": f"kube-api-access-{name}"}]}
        if name == "b":
            each["spec"]["volumes"].append({"name": "w", "persistentVolumeClaim": {"claimName": "b"}})
        made.append(kept.of(each))

    first, second = (found["spec"] for found in made if found is not None)
    assert first["containers"] is second["containers"]
    assert (first["nodeName"], second["nodeName"]) == ("n-a", "n-b")
    assert first["volumes"] == []
    assert [volume["name"] for volume in second["volumes"]] == ["w"]


def test_config_maps_are_kept_while_there_is_room() -> None:
    kept = Kept()

    def size(bytes_: int) -> int:
        found = kept.of({"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "x" * bytes_}})
        return len((found or {})["data"].get("a", ""))

    assert size(1000) == 1000
    assert size(1024 * 1024) == 0
    assert sum(size(200_000) for _ in range(200)) < 16 * 1024 * 1024


@pytest.mark.parametrize(
    ("event", "is_kept"), [("Unhealthy", True), ("FailedScheduling", True), ("Pulled", False), ("Started", False)]
)
def test_events_are_kept_that_a_rule_asks_for(event: str, is_kept: bool) -> None:
    found = Kept().of({"kind": "Event", "metadata": {"name": "e"}, "reason": event, "message": "m"})

    assert (found is not None) is is_kept


@pytest.mark.parametrize(
    ("status", "logs"),
    [
        ({}, []),
        (CRASHES, [True]),
        ({"ready": False, "restartCount": 1, "state": {"running": {}}}, [True, False]),
        ({"ready": False, "state": {"running": {}}}, [False]),
        ({"ready": False, "state": {"terminated": {"exitCode": 1}}}, [False]),
        ({"ready": False, "state": {"waiting": {"reason": "ContainerCreating"}}}, []),
    ],
)
def test_logs_are_wanted_of_what_crashed_or_is_not_ready(status: dict[str, Any], logs: list[bool]) -> None:
    assert [log.is_previous for log in logs_wanted([pod("p", **status)])] == logs


def test_the_worst_come_first_and_two_of_one_maker() -> None:
    pods = [pod("z", **CRASHES), *(pod(f"m{n}", maker="r", **CRASHES) for n in range(5))]
    pods.insert(0, pod("a", ready=False, state={"running": {}}))

    assert [log.pod for log in logs_wanted(pods)] == ["m0", "m1", "z", "a"]
    assert len(logs_wanted(pods, most=1)) == 1


def test_secrets_are_named_by_volumes_and_variables_unless_they_may_lack() -> None:
    needy = pod("p")
    needy["spec"]["volumes"] = [
        {"name": "a", "secret": {"secretName": "mounted"}},
        {"name": "b", "secret": {"secretName": "perhaps", "optional": True}},
    ]
    needy["spec"]["containers"][0]["envFrom"] = [{"secretRef": {"name": "all"}}]

    assert secrets_named([resource_of(needy)]) == (("llm", "all"), ("llm", "mounted"))


def test_of_a_fleet_its_events_and_scalers_are_kept_and_no_others() -> None:
    own = pod("own")
    own["metadata"]["labels"]["penstock.dev/fleet"] = "demo"
    place = {"namespace": "llm"}

    def event(about: str) -> dict[str, Any]:
        return {"kind": "Event", "metadata": {"name": about, **place}, "involvedObject": {"kind": "Pod", "name": about}}

    def budget(app: str) -> dict[str, Any]:
        spec = {"selector": {"matchLabels": {"app": app}}}
        return {"kind": "PodDisruptionBudget", "metadata": {"name": app, **place}, "spec": spec}

    node = {"kind": "Node", "metadata": {"name": "n"}}
    found = of_fleet([resource_of(o) for o in (own, event("own"), event("p"), budget("x"), budget("y"), node)], "demo")

    assert [(r.kind, r.name) for r in found] == [
        ("Pod", "own"),
        ("Event", "own"),
        ("PodDisruptionBudget", "x"),
        ("Node", "n"),
    ]
