"""Objects as the API server gives them, and how we speak of one. Pure; knows no kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["FIELD_MANAGER", "FLEET_LABEL", "Object", "Ref", "at", "conditions", "is_owned", "labels", "ref_of"]

Object = dict[str, Any]
"""An object of the API, as JSON gives it."""
FIELD_MANAGER = "penstock"
"""Under this name we apply: the fields that we own, and the objects that are ours to prune."""
FLEET_LABEL = "penstock.dev/fleet"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Ref:
    """One object, by what tells it from all others."""

    api_version: str
    kind: str
    name: str
    namespace: str | None = None
    """None where it belongs to the cluster."""

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    @property
    def short(self) -> str:
        """Without the namespace, where all are in one."""
        return f"{self.kind} {self.name}"

    @property
    def group(self) -> str:
        group, slash, _ = self.api_version.partition("/")
        return group if slash else ""

    @property
    def group_kind(self) -> tuple[str, str]:
        return self.group, self.kind


def ref_of(obj: Mapping[str, Any]) -> Ref:
    """What an object is called."""
    metadata = obj["metadata"]
    return Ref(
        api_version=obj["apiVersion"],
        kind=obj["kind"],
        name=metadata["name"],
        namespace=metadata.get("namespace"),
    )


def at(obj: Any, *path: str | int, default: Any = None) -> Any:
    """What stands at a path, or `default`."""
    for part in path:
        if isinstance(part, int) and isinstance(obj, list):
            obj = obj[part] if -len(obj) <= part < len(obj) else None
        elif isinstance(obj, Mapping):
            obj = obj.get(part)
        else:
            return default
    return default if obj is None else obj


def labels(obj: Mapping[str, Any]) -> Mapping[str, str]:
    """The object's labels; none where it has none."""
    found: Mapping[str, str] = at(obj, "metadata", "labels", default={})
    return found


def conditions(obj: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The conditions of its status, by type."""
    found: Iterable[Mapping[str, Any]] = at(obj, "status", "conditions", default=())
    return {str(entry.get("type")): entry for entry in found}


def is_owned(obj: Mapping[str, Any]) -> bool:
    """Whether we applied it: no controller owns it and our field manager has fields of it."""
    if any(owner.get("controller") for owner in at(obj, "metadata", "ownerReferences", default=())):
        return False
    return any(
        entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply"
        for entry in at(obj, "metadata", "managedFields", default=())
    )
