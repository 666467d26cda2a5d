"""What a cluster says of itself: conditions, events, states of containers, in one shape for rules. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from penstock.operate.doctor.case import Case
from penstock.operate.doctor.evidence import Node, Resource

__all__ = [
    "about",
    "condition",
    "events",
    "moment",
    "objects",
    "owner",
    "shown",
    "statuses",
    "times",
    "unscheduled",
    "words",
]


def objects(case: Case, *kinds: str) -> list[Resource]:
    """All objects of these kinds, made by a controller or not."""
    return [r for r in case.evidence.resources if r.kind in kinds]


def condition(resource: Resource, kind: str) -> Node | None:
    conditions = resource.root.at("status", "conditions")
    return next((c for c in conditions if c["type"].text == kind), None)


def events(case: Case, *reasons: str) -> Iterator[tuple[Resource, str]]:
    for event in objects(case, "Event"):
        if event.root["reason"].text in reasons:
            yield event, event.root["message"].text or event.root["note"].text


def about(event: Resource) -> str:
    subject = event.root["involvedObject"] if event.root["involvedObject"] else event.root["regarding"]
    return "/".join(part for part in (subject["namespace"].text, subject["kind"].text, subject["name"].text) if part)


def shown(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:197]}..."


def times(event: Resource) -> int:
    number = event.root["count"].number or event.root.at("series", "count").number
    return int(number or 1)


def unscheduled(case: Case) -> Iterator[tuple[Node, str, str]]:
    """Why pods are not scheduled: where it says so, of what, in its words. One for each pod."""
    said: set[str] = set()
    for pod in objects(case, "Pod"):
        told = condition(pod, "PodScheduled")
        if told is not None and told["status"].text == "False" and told["message"].text:
            said.add(f"{pod.namespace}/Pod/{pod.name}")
            yield told["message"], f"pod {pod.name}", told["message"].text
    for event, message in events(case, "FailedScheduling"):
        if about(event) not in said:
            said.add(about(event))
            yield event.root["message"] if event.root["message"] else event.root["note"], about(event), message


def statuses(case: Case) -> Iterator[tuple[Resource, Node]]:
    for pod in objects(case, "Pod"):
        for name in ("initContainerStatuses", "containerStatuses"):
            for status in pod.root.at("status", name):
                yield pod, status


def words(event: Resource) -> Node:
    """Where an event's words stand."""
    return event.root["message"] if event.root["message"] else event.root["note"]


def moment(node: Node) -> float | None:
    """A time of the API server in Unix seconds; None where it is none."""
    try:
        return datetime.fromisoformat(node.text).timestamp() if node.text else None
    except ValueError:
        return None


def owner(resource: Resource) -> tuple[str, str]:
    """Kind and name of the controller that made it; empty where nobody did."""
    owners = list(resource.root.at("metadata", "ownerReferences"))
    return (owners[0]["kind"].text, owners[0]["name"].text) if owners else ("", "")
