"""What controllers see and how they write: the objects of one cluster at one moment.

Guarantees: every write goes the way of a client's (defaults, owners of fields, events), so watches see it. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from penstock.operate.testing.catalog import Catalog
from penstock.operate.testing.deletion import DeleteOptions, Deleter
from penstock.operate.testing.kinds import Resource
from penstock.operate.testing.requests import Options
from penstock.operate.testing.store import Store
from penstock.operate.testing.writing import Call, Writer, rfc3339

__all__ = ["ANNOTATION", "Behaviour", "World", "condition", "is_ready", "with_condition"]

Json = dict[str, Any]
ANNOTATION = "testing.penstock.dev"
"""Prefix of annotations on pods: `/start-s`, `/run-s`, `/fails` (a reason such as `CrashLoopBackOff`)."""


@dataclass(slots=True)
class Behaviour:
    """How simulated nodes behave, where a pod's annotations do not say. Seconds."""

    start_s: float = 5.0
    """From the node taking a pod to its being ready: pulling, loading, probing."""
    stop_s: float = 1.0
    """From a deletion to the end of the process; no longer than the pod's grace."""
    run_s: float = 10.0
    """How long the pods of a Job run."""


class World:
    """One cluster at `now`. Made anew for each step."""

    def __init__(
        self, store: Store, catalog: Catalog, writer: Writer, deleter: Deleter, *, behaviour: Behaviour, now: float
    ) -> None:
        self.store = store
        self.behaviour = behaviour
        self.now = now
        self._catalog = catalog
        self._writer = writer
        self._deleter = deleter

    @property
    def time(self) -> str:
        return rfc3339(self.now)

    def resource(self, plural: str, group: str = "") -> Resource:
        return self._catalog.built_in(plural, group)

    def all(self, plural: str, group: str = "", namespace: str | None = None) -> list[Json]:
        return self.store.all(self.resource(plural, group), namespace)

    def get(self, plural: str, group: str, namespace: str, name: str) -> Json | None:
        return self.store.get(self.resource(plural, group), namespace, name)

    def owned_by(self, owner: Json, plural: str, group: str = "") -> list[Json]:
        """Objects that `owner` controls, in order of names."""
        uid = owner["metadata"]["uid"]
        return [
            obj
            for obj in self.all(plural, group, owner["metadata"].get("namespace", ""))
            if any(
                ref.get("uid") == uid and ref.get("controller") for ref in obj["metadata"].get("ownerReferences", ())
            )
        ]

    def create(self, plural: str, group: str, obj: Json) -> Json:
        resource = self.resource(plural, group)
        namespace = obj["metadata"].get("namespace", "")
        body = {"apiVersion": resource.api_version, "kind": resource.kind} | obj
        call = self._call()
        return self._writer.create(resource, self._writer.checked_body(resource, namespace, body, call), call)

    def update(self, plural: str, group: str, live: Json, **changes: Any) -> Json:
        """Writes `changes` of top-level fields; nothing where they change nothing."""
        if all(live.get(key) == value for key, value in changes.items()):
            return live
        return self._writer.update(self.resource(plural, group), live, live | changes, self._call())

    def set_status(self, plural: str, group: str, live: Json, status: Json) -> Json:
        """Writes the status, if it is another."""
        if live.get("status") == status:
            return live
        return self._writer.update(
            self.resource(plural, group), live, live | {"status": status}, self._call(subresource="status")
        )

    def delete(self, plural: str, group: str, live: Json) -> None:
        self._deleter.delete(self.resource(plural, group), live, DeleteOptions(policy="Background"), self._call())

    def remove(self, plural: str, group: str, live: Json) -> None:
        """The end of what was being deleted: a node says that a pod's processes ended."""
        metadata = {key: value for key, value in live["metadata"].items() if key != "deletionGracePeriodSeconds"}
        done = live | {"metadata": metadata | {"deletionGracePeriodSeconds": 0}}
        if metadata.get("finalizers"):
            if live["metadata"].get("deletionGracePeriodSeconds"):
                self.store.put(self.resource(plural, group), done)
        else:
            self.store.remove(self.resource(plural, group), done)

    def event(self, about: Json, reason: str, message: str, *, kind: str = "Warning", component: str) -> None:
        """An Event about an object; the same one again counts up."""
        metadata = about["metadata"]
        namespace = metadata.get("namespace", "default")
        for found in self.all("events", "", namespace):
            same = found["involvedObject"].get("uid") == metadata["uid"] and found.get("message") == message
            if same and found.get("reason") == reason:
                return
        reference = {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": metadata["name"],
            "namespace": metadata.get("namespace", ""),
            "uid": metadata["uid"],
        }
        self.create(
            "events",
            "",
            {
                "metadata": {"generateName": f"{metadata['name']}.", "namespace": namespace},
                "involvedObject": {key: value for key, value in reference.items() if value},
                "reason": reason,
                "message": message,
                "type": kind,
                "count": 1,
                "source": {"component": component},
                "firstTimestamp": self.time,
                "lastTimestamp": self.time,
            },
        )

    def since(self, text: str | None) -> float:
        """Seconds since a time of the API; 0 where there is none."""
        return self.now - datetime.fromisoformat(text).timestamp() if text else 0.0

    def _call(self, subresource: str = "") -> Call:
        options = Options(manager="kube-controller-manager", validation="Ignore")
        return Call(now=self.now, options=options, warnings=[], subresource=subresource)


def condition(obj: Json, kind: str) -> Json | None:
    """The condition of a type."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each["type"] == kind), None)


def with_condition(status: Json, time: str, kind: str, value: str, *why: str, **more: Any) -> Json:
    """`status` with a condition, `why` its reason and message; its transition time stays while its value does."""
    reason, message = why
    old = next((each for each in status.get("conditions") or () if each["type"] == kind), None)
    since = old["lastTransitionTime"] if old is not None and old["status"] == value else time
    new = {"type": kind, "status": value, "lastTransitionTime": since, "reason": reason, "message": message} | more
    new = {key: each for key, each in new.items() if each != ""}
    others = [each for each in status.get("conditions") or () if each["type"] != kind]
    return status | {"conditions": sorted([*others, new], key=lambda each: str(each["type"]))}


def is_ready(pod: Json) -> bool:
    found = condition(pod, "Ready")
    return found is not None and found["status"] == "True"


Controller = Callable[[World], None]
