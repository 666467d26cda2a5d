"""Field managers: who owns which field of an object, and what an apply or an update does to that.

Guarantees, as the real server's: an apply that changes a field which somebody else owns is refused unless forced; a
field that an applier no longer applies goes if nobody else owns it; an update takes over what it changes; entries that
own nothing disappear; a time changes only with its fields. Source: `k8s.io/apimachinery`, `util/managedfields`, and
`sigs.k8s.io/structured-merge-diff`, `merge`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from penstock.operate.testing.fieldsets import FieldPath, FieldSet, decode_fields, encode_fields, shown
from penstock.operate.testing.merge import applied_fields, clone, compare, merge, remove_fields
from penstock.operate.testing.schemas import Shape
from penstock.operate.testing.status import Refusal

__all__ = ["MANAGER_LENGTH_MAX", "Owner", "apply", "entries_of", "record_update", "with_entries"]

MANAGER_LENGTH_MAX = 128
"""Longest name of a field manager (`metav1.FieldManagerMaxLength`)."""
_UNOWNED = frozenset(
    {("f:apiVersion",), ("f:kind",), ("f:metadata",)}
    | {
        ("f:metadata", f"f:{name}")
        for name in (
            *("name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation"),
            *("managedFields", "resourceVersion"),
        )
    }
)
"""Fields that nobody owns (`stripMeta`)."""
_BASE: dict[str, Any] = {
    "metadata": {},
    "spec": {"template": {"metadata": {}, "spec": {"containers": []}}, "strategy": {}, "updateStrategy": {}},
    "status": {},
}
"""What an empty built-in object already has, as Go writes it: these nodes are nobody's, only what is in them."""


class Owner(NamedTuple):
    """Who writes: what tells one entry of `managedFields` from another."""

    name: str
    operation: str
    api_version: str
    subresource: str

    def described(self) -> str:
        """As conflicts name it."""
        text = f'"{self.name}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.api_version}" if self.operation == "Update" else text

    def same_as(self, other: Owner) -> bool:
        """An applier is the same whatever version it applied."""
        if self.operation == "Apply" == other.operation:
            return (self.name, self.subresource) == (other.name, other.subresource)
        return self == other


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of `managedFields`."""

    manager: Owner
    fields: FieldSet
    time: str


def entries_of(obj: dict[str, Any]) -> list[Entry]:
    return [
        Entry(
            manager=Owner(
                row.get("manager", ""), row["operation"], row.get("apiVersion", ""), row.get("subresource", "")
            ),
            fields=decode_fields(row.get("fieldsV1") or {}),
            time=row.get("time", ""),
        )
        for row in obj.get("metadata", {}).get("managedFields") or ()
    ]


def with_entries(obj: dict[str, Any], entries: Sequence[Entry]) -> dict[str, Any]:
    """`obj` with these entries, in the real server's order: appliers first, then by time and name."""
    rows = []
    for entry in sorted(entries, key=lambda e: (e.manager.operation, e.time, e.manager.name, e.manager.subresource)):
        if not entry.fields:
            continue
        row: dict[str, Any] = {
            "manager": entry.manager.name,
            "operation": entry.manager.operation,
            "apiVersion": entry.manager.api_version,
            "time": entry.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": encode_fields(entry.fields),
        }
        if entry.manager.subresource:
            row["subresource"] = entry.manager.subresource
        rows.append(row)
    metadata = {key: value for key, value in obj.get("metadata", {}).items() if key != "managedFields"}
    if rows:
        metadata["managedFields"] = rows
    return obj | {"metadata": metadata}


def _bare(obj: dict[str, Any]) -> dict[str, Any]:
    """What can be owned: everything but what the server itself writes."""
    metadata = {k: v for k, v in obj.get("metadata", {}).items() if ("f:metadata", f"f:{k}") not in _UNOWNED}
    rest = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata")}
    return rest | {"metadata": metadata}


def _may_own(path: FieldPath, manager: Owner, *, has_status: bool) -> bool:
    """A status that has a path of its own is owned through that alone, and nothing else is."""
    return not has_status or (path[0] == "f:status") is (manager.subresource == "status")


def _base_of(obj: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """The nodes of `base` that `obj` has."""
    found: dict[str, Any] = {}
    for name, below in base.items():
        if name in obj and type(obj[name]) is type(below):
            found[name] = _base_of(obj[name], below) if isinstance(below, dict) else []
    return found


def _without(fields: FieldSet, taken: FieldSet) -> FieldSet:
    return fields - taken


def _kept_time(entry: Entry, before: Sequence[Entry]) -> Entry:
    """`entry` with the time of the same manager's entry if its fields are what they were."""
    for old in before:
        if old.manager == entry.manager and old.fields == entry.fields:
            return Entry(manager=entry.manager, fields=entry.fields, time=old.time)
    return entry


def record_update(
    live: dict[str, Any] | None,
    new: dict[str, Any],
    manager: Owner,
    shape: Shape,
    at: str,
    *,
    is_custom: bool,
    has_status: bool,
) -> dict[str, Any]:
    """`new`, written by an update (or create or patch), with its owners.

    `has_status`: the status is written by its own path, so that no other path owns it.
    """
    if live is None:
        before: list[Entry] = []
        base = _bare({"metadata": {}} if is_custom else _base_of(new, _BASE))
    else:
        before, base = entries_of(live), _bare(live)
    change = compare(base, _bare(new), shape)
    written = frozenset(
        path
        for path in change.added | change.modified
        if path not in _UNOWNED
        and not (has_status and (path[0] == "f:status") is not (manager.subresource == "status"))
    )
    gone = change.removed
    mine = next((entry for entry in before if entry.manager == manager), None)
    others = [
        Entry(manager=entry.manager, fields=_without(entry.fields, written | gone), time=entry.time)
        for entry in before
        if entry.manager != manager
    ]
    fields = _without((mine.fields if mine else frozenset()) | written, gone)
    entry = _kept_time(Entry(manager=manager, fields=fields, time=at), before)
    return with_entries(new, [*others, entry])


def apply(
    live: dict[str, Any], applied: dict[str, Any], manager: Owner, shape: Shape, at: str, *, is_forced: bool
) -> dict[str, Any]:
    """`live` with `applied` merged in, what the manager gave up removed, and the owners of both.

    Raises:
        Refusal: 409 where somebody else owns a field with another value, unless `is_forced`.
    """
    before = entries_of(live)
    if live.get("metadata", {}).get("uid") and not before:
        first = Owner("before-first-apply", "Update", manager.api_version, "")
        before = [Entry(manager=first, fields=frozenset(_everything(live, shape)), time=at)]
    config = _bare(applied)
    fields = frozenset(path for path in applied_fields(config, shape) if path not in _UNOWNED)
    merged = merge(live, applied, shape)
    change = compare(_bare(live), _bare(merged), shape)
    written = change.added | change.modified
    others = [entry for entry in before if not entry.manager.same_as(manager)]
    _refuse_conflicts(others, written, is_forced=is_forced)
    others = [Entry(manager=e.manager, fields=_without(e.fields, written), time=e.time) for e in others]
    mine = next((entry for entry in before if entry.manager.same_as(manager)), None)
    if mine is not None:
        owned = frozenset(path for entry in others for path in entry.fields) | fields
        merged = remove_fields(merged, shape, _given_up(mine.fields, owned, shape))
    result = _kept_time(Entry(manager=manager, fields=fields, time=at), before)
    return with_entries(merged, [*_shrunk(others, merged, shape), result])


def _everything(obj: dict[str, Any], shape: Shape) -> FieldSet:
    return frozenset(path for path in compare({"metadata": {}}, _bare(obj), shape).added if path not in _UNOWNED)


def _shrunk(entries: Sequence[Entry], obj: dict[str, Any], shape: Shape) -> list[Entry]:
    """Entries without fields that the object does not have any more."""
    present = compare({}, obj, shape).added
    return [Entry(manager=entry.manager, fields=entry.fields & present, time=entry.time) for entry in entries]


def _given_up(last: FieldSet, owned: FieldSet, shape: Shape) -> FieldSet:
    """Fields of the last apply that nobody owns now. A struct stays while somebody owns something in it."""
    ancestors = {path[:length] for path in owned for length in range(1, len(path))}
    return frozenset(
        path for path in last - owned if not (path in ancestors and (path[-1][0] == "f" and _is_field(path, shape)))
    )


def _is_field(path: FieldPath, shape: Shape) -> bool:
    """Whether the last element names a field of a struct (not a key of a map)."""
    here: Shape | None = shape
    for element in path[:-1]:
        if here is None:
            return False
        here = here.child(element[2:]) if element[0] == "f" else here.item
    return here is not None and here.has_field(path[-1][2:])


def _refuse_conflicts(others: Sequence[Entry], written: FieldSet, *, is_forced: bool) -> None:
    found = [
        (entry.manager, path)
        for entry in sorted(others, key=lambda entry: entry.manager)
        for path in sorted(entry.fields & written, key=shown)
    ]
    if not found or is_forced:
        return
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {who.described()}", "field": shown(path)}
        for who, path in found
    ]
    if len(found) == 1:
        who, path = found[0]
        words = f"Apply failed with 1 conflict: conflict with {who.described()}: {shown(path)}"
    else:
        groups: dict[Owner, list[str]] = {}
        for who, path in found:
            groups.setdefault(who, []).append(f"- {shown(path)}")
        each = [f"conflicts with {who.described()}:\n" + "\n".join(paths) for who, paths in groups.items()]
        words = f"Apply failed with {len(found)} conflicts: " + "\n".join(each)
    raise Refusal(409, "Conflict", words, {"causes": clone(causes)})
