"""Whether an object would change, and how: the live one against what a dry run of the API server makes of ours. Pure.

Both went through the server's defaults and normal forms, so what differs is what we change. What the server keeps by
itself (status, versions, times) is not compared.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

from penstock.operate.apply.objects import FIELD_MANAGER, Object, at
from penstock.plan.manifests import Manifest, Wave, emit

__all__ = ["changed_fields", "difference", "is_changed", "is_manager_of", "masked", "substance"]

_KEPT_BY_SERVER = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")
_ABSENT = object()
_SHOWN_MAX = 200
"""Fields of one object that a list of changes names."""


def substance(obj: Object) -> Object:
    """What a user says of an object, without what the server keeps by itself."""
    metadata = {name: value for name, value in obj["metadata"].items() if name not in _KEPT_BY_SERVER}
    return {name: value for name, value in obj.items() if name != "status"} | {"metadata": metadata}


def is_changed(live: Object, dry_run: Object) -> bool:
    """Whether applying writes something: a value, or that a field is ours from now on."""
    return substance(live) != substance(dry_run) or _owned_fields(live) != _owned_fields(dry_run)


def changed_fields(live: Object, dry_run: Object) -> tuple[str, ...]:
    """Paths of the fields that differ, as in `.spec.replicas`."""
    found = []
    for path in _differing(substance(live), substance(dry_run), ""):
        found.append(path)
        if len(found) >= _SHOWN_MAX:
            break
    return tuple(found)


def is_manager_of(live: Object, *path: str) -> bool:
    """Whether we own a field of a live object, as in `is_manager_of(live, "spec", "replicas")`."""
    node: Any = _owned_fields(live)
    for part in path:
        node = at(node, f"f:{part}", default=None)
        if node is None:
            return False
    return True


def difference(before: Object | None, after: Object | None, secrets: Sequence[str] = ()) -> str:
    """A unified diff of two states of an object as YAML; None where it is not there. Secret values are never in it."""
    old, new = masked(before, after), masked(after, before)
    name = "/".join(filter(None, (_kind(old or new), at(old or new, "metadata", "name", default=""))))
    lines = difflib.unified_diff(_lines(old), _lines(new), f"live/{name}", f"wanted/{name}", lineterm="", n=3)
    text = "\n".join(lines)
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def masked(obj: Object | None, other: Object | None) -> Object | None:
    """The object's substance with secret values hidden; a value that differs from `other`'s has another mask."""
    if obj is None:
        return None
    shown = substance(obj)
    if shown["kind"] != "Secret":
        return shown
    for field in ("data", "stringData"):
        values = shown.get(field) or {}
        known = at(other, field, default={})
        if values:
            hidden = {name: _mask(value, known.get(name, _ABSENT)) for name, value in values.items()}
            shown = {**shown, field: hidden}
    return shown


def _mask(value: object, other: object) -> str:
    """Equal values look equal, others do not; nothing else of a value can be read from its mask."""
    if other is _ABSENT or other == value:
        return "***"
    return "*** (one value)" if str(value) < str(other) else "*** (another value)"


def _kind(obj: Object | None) -> str:
    return str(at(obj, "kind", default=""))


def _lines(obj: Object | None) -> list[str]:
    return [] if obj is None else emit(Manifest(body=_sorted(obj), wave=Wave.SERVE, file="")).splitlines()


def _sorted(value: Any) -> Any:
    """With the names of mappings in order; the usual first ones first."""
    if isinstance(value, dict):
        first = {name: value[name] for name in ("apiVersion", "kind", "metadata", "name") if name in value}
        return {name: _sorted(item) for name, item in {**first, **dict(sorted(value.items()))}.items()}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value


def _owned_fields(obj: Object) -> Any:
    for entry in at(obj, "metadata", "managedFields", default=()):
        is_ours = entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply"
        if is_ours and not entry.get("subresource"):
            return entry.get("fieldsV1", {})
    return {}


def _differing(one: Any, other: Any, path: str) -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted({*one, *other}):
            yield from _differing(one.get(name, _ABSENT), other.get(name, _ABSENT), f"{path}.{name}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from _differing(left, right, f"{path}[{place}]")
    elif one != other:
        yield path
