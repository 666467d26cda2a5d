"""A Kubernetes object as it is rendered: a plain mapping, with reasons beside the values that have one. Pure.

    {"failureThreshold": Because(60, "600 s: twice the 300 s of a cold start")}

`plain` gives the object as the API server takes it; `emit` prints it with the reasons as comments.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

__all__ = ["Because", "Bundle", "Manifest", "Wave", "plain"]


@dataclass(frozen=True, slots=True)
class Because:
    """A value and why it is so; `reason` is one or more sentences without line breaks."""

    value: Any
    reason: str


class Wave(IntEnum):
    """When an object is applied: all of a wave are there, and ready where that means something, before the next.

    The numbers are also the sync waves of GitOps tools.
    """

    CLUSTER = 0
    """What belongs to the cluster: custom resource definitions, priority classes, the namespace."""
    ACCESS = 1
    """Service accounts, roles, secrets, network policies."""
    STORE = 2
    """Configuration and volumes."""
    FETCH = 3
    """Jobs that fill the volumes: waited for until they are done."""
    CLONE = 4
    """Volumes made from filled ones."""
    SERVE = 5
    """Engines, the gateway, the controller, their Services and disruption budgets."""
    SCALE = 6
    """What changes the number of replicas."""
    OPEN = 7
    """Ways in from outside, monitors, alerts, dashboards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One object."""

    body: dict[str, Any]
    """With `Because` where there is a reason. `apiVersion`, `kind` and `metadata.name` are always there."""
    wave: Wave
    file: str
    """File that it is written to, without suffix, relative to the output folder, as in `chat/engine`."""
    heading: str = ""
    """Said above the object: what it is for."""

    @property
    def kind(self) -> str:
        return str(self.body["kind"])

    @property
    def name(self) -> str:
        return str(self.body["metadata"]["name"])

    @property
    def namespace(self) -> str | None:
        """None where it belongs to the cluster."""
        namespace: str | None = self.body["metadata"].get("namespace")
        return namespace

    @property
    def object(self) -> dict[str, Any]:
        """As the API server takes it."""
        body: dict[str, Any] = plain(self.body)
        return body


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Everything that a fleet is in one cluster, in the order in which it is applied."""

    manifests: tuple[Manifest, ...]
    notes: tuple[str, ...] = field(default=())
    """What a person should know before applying it, in words."""

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [manifest.object for manifest in self.manifests]


def plain(value: Any) -> Any:
    """The same without reasons, as new plain mappings and lists."""
    match value:
        case Because():
            return plain(value.value)
        case dict():
            return {name: plain(item) for name, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return value
