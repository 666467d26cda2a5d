"""What the cluster remembers: objects, one revision for all of them, and the history that watches read.

One owner: `Cluster`. Guarantees: each write has the next revision and one event; an object that was handed out is never
changed afterwards; after `compact` older history is gone and reading from it is refused with 410. Pure.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from penstock.operate.testing.kinds import Resource
from penstock.operate.testing.status import expired

__all__ = ["HISTORY_MAX", "Change", "Store"]

HISTORY_MAX = 20_000
"""Changes kept; past it the oldest half is compacted, as a real server compacts by age."""

Key = tuple[str, str]
"""Namespace (empty for cluster scope) and name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One write, as watches see it. `before` is None for a creation, `after` for a deletion."""

    revision: int
    group_plural: tuple[str, str]
    key: Key
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    last: dict[str, Any]
    """The object of the event: as it is, or as it was at its end, with the revision of the change."""


class Store:
    """Objects by resource, namespace and name. Owned by one `Cluster`."""

    def __init__(self, *, history_max: int = HISTORY_MAX) -> None:
        self.revision = 1
        self.compacted = 0
        """Changes up to this revision cannot be read any more."""
        self._objects: dict[tuple[str, str], dict[Key, dict[str, Any]]] = {}
        self._history: list[Change] = []
        self._history_max = history_max

    def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any] | None:
        return self._objects.get(resource.group_plural, {}).get((namespace, name))

    def all(self, resource: Resource, namespace: str | None = None) -> list[dict[str, Any]]:
        """In the order of keys; of one namespace, or (None) of all."""
        found = self._objects.get(resource.group_plural, {})
        return [found[key] for key in sorted(found) if namespace is None or key[0] == namespace]

    def everything(self) -> Iterator[tuple[tuple[str, str], Key, dict[str, Any]]]:
        """Every object, in a fixed order."""
        for group_plural in sorted(self._objects):
            for key in sorted(self._objects[group_plural]):
                yield group_plural, key, self._objects[group_plural][key]

    def put(self, resource: Resource, obj: dict[str, Any]) -> dict[str, Any]:
        """Creates or replaces; returns the object with its revision."""
        key = _key(obj)
        table = self._objects.setdefault(resource.group_plural, {})
        before = table.get(key)
        self.revision += 1
        stored = obj | {"metadata": obj["metadata"] | {"resourceVersion": str(self.revision)}}
        table[key] = stored
        self._append(resource, key, before, stored, stored)
        return stored

    def remove(self, resource: Resource, obj: dict[str, Any]) -> dict[str, Any]:
        """Removes; returns what the DELETED event shows."""
        key = _key(obj)
        before = self._objects[resource.group_plural].pop(key)
        self.revision += 1
        last = obj | {"metadata": obj["metadata"] | {"resourceVersion": str(self.revision)}}
        self._append(resource, key, before, None, last)
        return last

    def _append(
        self,
        resource: Resource,
        key: Key,
        before: dict[str, Any] | None,
        after: dict[str, Any] | None,
        last: dict[str, Any],
    ) -> None:
        self._history.append(
            Change(
                revision=self.revision,
                group_plural=resource.group_plural,
                key=key,
                before=before,
                after=after,
                last=last,
            )
        )
        if len(self._history) > self._history_max:
            self.compact(self._history[self._history_max // 2].revision)

    def since(self, revision: int) -> list[Change]:
        """Changes after `revision`, oldest first.

        Raises:
            Refusal: 410, they were compacted.
        """
        if revision < self.compacted:
            raise expired(f"too old resource version: {revision} ({self.compacted + 1})")
        start = bisect_right(self._history, revision, key=lambda change: change.revision)
        return self._history[start:]

    def compact(self, revision: int | None = None) -> None:
        """Forgets the history up to `revision`, or all of it."""
        self.compacted = self.revision if revision is None else revision
        self._history = [change for change in self._history if change.revision > self.compacted]


def _key(obj: dict[str, Any]) -> Key:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
