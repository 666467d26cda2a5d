"""A watch: a place in the history, and the events that a client still has to get.

Pull-based: whoever streams calls `poll` when the cluster changed. Guarantees: every change of the watched resource
after the revision it began at is told once, in order; an object that no longer fits the selectors is told as deleted.
Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock.operate.testing.kinds import Resource
from penstock.operate.testing.selectors import Requirement, field_matches, labels_match
from penstock.operate.testing.status import Refusal, expired
from penstock.operate.testing.store import Change, Store

__all__ = ["Filter", "Watch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which objects a list or a watch shows."""

    resource: Resource
    namespace: str | None = None
    """None for all namespaces."""
    labels: tuple[Requirement, ...] = ()
    fields: tuple[Requirement, ...] = ()

    def takes(self, obj: Mapping[str, Any]) -> bool:
        metadata = obj["metadata"]
        if self.namespace is not None and metadata.get("namespace", "") != self.namespace:
            return False
        return labels_match(self.labels, metadata.get("labels")) and field_matches(self.fields, obj)


class Watch:
    """One client's watch. Owned by whoever streams it."""

    def __init__(
        self, store: Store, wanted: Filter, revision: int, *, first: list[dict[str, Any]], has_bookmarks: bool
    ) -> None:
        self._store = store
        self._wanted = wanted
        self._revision = revision
        self._first = first
        self._bookmarked = revision
        self.has_bookmarks = has_bookmarks
        self.is_ended = False
        self.is_table = False

    @property
    def wanted(self) -> Filter:
        return self._wanted

    def poll(self) -> list[dict[str, Any]]:
        """The events since the last call. After a compaction: an ERROR event with 410, and the watch is ended."""
        events = [{"type": "ADDED", "object": obj} for obj in self._first]
        self._first = []
        if self.is_ended:
            return events
        try:
            changes = self._store.since(self._revision)
        except Refusal as refusal:
            self.is_ended = True
            return [*events, {"type": "ERROR", "object": refusal.body()}]
        self._revision = max(self._revision, self._store.revision)
        return events + [event for change in changes if (event := self._event(change)) is not None]

    def bookmark(self) -> list[dict[str, Any]]:
        """A BOOKMARK event, if the client allows them and the revision moved since the last."""
        if not self.has_bookmarks or self.is_ended or self._bookmarked == self._revision:
            return []
        self._bookmarked = self._revision
        resource = self._wanted.resource
        metadata = {"resourceVersion": str(self._revision), "creationTimestamp": None}
        obj = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        return [{"type": "BOOKMARK", "object": obj}]

    def expire(self) -> list[dict[str, Any]]:
        """Ends the watch with an ERROR event of code 410."""
        self.is_ended = True
        return [{"type": "ERROR", "object": expired("The resourceVersion for the provided watch is too old.").body()}]

    def _event(self, change: Change) -> dict[str, Any] | None:
        if change.group_plural != self._wanted.resource.group_plural:
            return None
        was = change.before is not None and self._wanted.takes(change.before)
        is_now = change.after is not None and self._wanted.takes(change.after)
        if is_now:
            return {"type": "MODIFIED" if was else "ADDED", "object": change.after}
        if was:
            assert change.before is not None
            revision = change.last["metadata"]["resourceVersion"]
            shown = change.last if change.after is None else change.before
            return {
                "type": "DELETED",
                "object": shown | {"metadata": shown["metadata"] | {"resourceVersion": revision}},
            }
        return None
