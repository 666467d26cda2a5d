"""Merging and comparing objects by field: the algebra under server-side apply. Pure functions.

Guarantees: arguments are never changed; lists that are maps are merged by their keys, sets by value, atomic ones whole.
Source of the rules: `sigs.k8s.io/structured-merge-diff`, `typed` (merge, compare, toFieldSet, removeItems).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from penstock.operate.testing.fieldsets import FieldPath, FieldSet, key_element, value_element
from penstock.operate.testing.schemas import ANY, Shape

__all__ = ["Comparison", "applied_fields", "clone", "compare", "duplicate_keys", "merge", "remove_fields"]


def clone(value: Any) -> Any:
    """A deep copy of JSON."""
    if isinstance(value, dict):
        return {key: clone(below) for key, below in value.items()}
    if isinstance(value, list):
        return [clone(item) for item in value]
    return value


def _element(shape: Shape, item: Any) -> str | None:
    """The path element of a list's item; None where it has none (a key is missing)."""
    if shape.list_type == "set":
        return value_element(item)
    if not isinstance(item, dict):
        return None
    keys: dict[str, Any] = {}
    for name in shape.list_keys:
        value = item.get(name, shape.key_default(name))
        if value is not None:
            keys[name] = value
    return key_element(keys) if keys else None


def _is_associative(shape: Shape) -> bool:
    return shape.list_type in ("map", "set")


def _items(shape: Shape, value: list[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in value:
        element = _element(shape, item)
        if element is not None:
            found.setdefault(element, item)
    return found


def _below(shape: Shape, name: str) -> Shape:
    return shape.child(name) or ANY


def duplicate_keys(value: Any, shape: Shape, at: str = "") -> Iterator[tuple[str, str]]:
    """Lists that are maps or sets with an item twice: path and element."""
    if isinstance(value, dict):
        for name, below in value.items():
            yield from duplicate_keys(below, _below(shape, name), f"{at}.{name}")
    elif isinstance(value, list) and _is_associative(shape):
        seen: set[str] = set()
        for item in value:
            element = _element(shape, item)
            if element is not None and element in seen:
                yield at, element
            seen.add(element or "")
            yield from duplicate_keys(item, shape.item, at)


def applied_fields(value: Any, shape: Shape) -> FieldSet:
    """The fields that whoever applies `value` owns."""
    found: set[FieldPath] = set()

    def walk(node: Any, shape: Shape, path: FieldPath) -> None:
        if isinstance(node, dict) and not (shape.is_atomic_map and path):
            for name, below in node.items():
                here = (*path, f"f:{name}")
                if below is None or below == {} or not shape.has_field(name):
                    found.add(here)
                walk(below, _below(shape, name), here)
        elif isinstance(node, list) and _is_associative(shape):
            for element, item in _items(shape, node).items():
                found.add((*path, element))
                walk(item, shape.item, (*path, element))
        elif path:
            found.add(path)

    walk(value, shape, ())
    return frozenset(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What differs between two objects, by field."""

    added: FieldSet
    modified: FieldSet
    removed: FieldSet

    @property
    def is_same(self) -> bool:
        return not (self.added or self.modified or self.removed)


def _all_fields(value: Any, shape: Shape, path: FieldPath) -> Iterator[FieldPath]:
    yield path
    if isinstance(value, dict) and not shape.is_atomic_map:
        for name, below in value.items():
            yield from _all_fields(below, _below(shape, name), (*path, f"f:{name}"))
    elif isinstance(value, list) and _is_associative(shape):
        for element, item in _items(shape, value).items():
            yield from _all_fields(item, shape.item, (*path, element))


def _fields(value: dict[str, Any]) -> dict[str, Any]:
    return {f"f:{name}": below for name, below in value.items()}


def compare(old: Any, new: Any, shape: Shape) -> Comparison:
    """Fields that `new` has more than `old`, has otherwise, or lacks."""
    added: set[FieldPath] = set()
    modified: set[FieldPath] = set()
    removed: set[FieldPath] = set()

    def pair(one: dict[str, Any], two: dict[str, Any], shape_of: Any, path: FieldPath) -> None:
        for element in one.keys() | two.keys():
            here = (*path, element)
            if element not in two:
                removed.update(_all_fields(one[element], shape_of(element), here))
            elif element not in one:
                added.update(_all_fields(two[element], shape_of(element), here))
            else:
                walk(one[element], two[element], shape_of(element), here)

    def walk(one: Any, two: Any, shape: Shape, path: FieldPath) -> None:
        if isinstance(one, dict) and isinstance(two, dict) and not (shape.is_atomic_map and path):
            pair(_fields(one), _fields(two), lambda element: _below(shape, element[2:]), path)
        elif isinstance(one, list) and isinstance(two, list) and _is_associative(shape):
            pair(_items(shape, one), _items(shape, two), lambda _: shape.item, path)
        elif one != two or type(one) is not type(two):
            modified.add(path)

    walk(old, new, shape, ())
    return Comparison(added=frozenset(added), modified=frozenset(modified), removed=frozenset(removed))


def merge(live: Any, applied: Any, shape: Shape) -> Any:
    """`live` with every field of `applied` set to its value there."""
    if isinstance(live, dict) and isinstance(applied, dict) and not shape.is_atomic_map:
        result = {name: clone(below) for name, below in live.items() if name not in applied}
        for name, below in applied.items():
            result[name] = merge(live[name], below, _below(shape, name)) if name in live else clone(below)
        return result
    if isinstance(live, list) and isinstance(applied, list) and _is_associative(shape):
        return _merge_lists(live, applied, shape)
    return clone(applied)


def _merge_lists(live: list[Any], applied: list[Any], shape: Shape) -> list[Any]:
    """The applied order holds; items of `live` alone keep their place among the others."""
    old, new = _items(shape, live), _items(shape, applied)
    order: list[str] = []
    waiting = list(new)
    for element in old:
        if element not in new:
            order.append(element)
            continue
        while element in waiting:
            order.append(waiting.pop(0))
    order += waiting

    def item(element: str) -> Any:
        if element in old and element in new:
            return merge(old[element], new[element], shape.item)
        return clone(new[element] if element in new else old[element])

    return [item(element) for element in order]


def remove_fields(value: Any, shape: Shape, paths: FieldSet) -> Any:
    """`value` without `paths` and what is below them."""
    return _remove(value, shape, (), paths)


_GONE = object()


def _remove(value: Any, shape: Shape, path: FieldPath, paths: FieldSet) -> Any:
    if path in paths:
        return _GONE
    if isinstance(value, dict) and not (shape.is_atomic_map and path):
        kept = {name: _remove(below, _below(shape, name), (*path, f"f:{name}"), paths) for name, below in value.items()}
        return {name: below for name, below in kept.items() if below is not _GONE}
    if isinstance(value, list) and _is_associative(shape):
        items = [_remove(item, shape.item, (*path, _element(shape, item) or ""), paths) for item in value]
        return [item for item in items if item is not _GONE]
    return clone(value)
