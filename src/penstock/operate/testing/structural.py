"""Custom resources against their structural schema: pruning, defaults, validation. Pure.

Guarantees: as `k8s.io/apiextensions-apiserver` `pkg/apiserver/schema` and `validation`, with its words. Arguments are
never changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from penstock.operate.testing.cel_rules import rule_causes
from penstock.operate.testing.merge import clone
from penstock.operate.testing.names import invalid_value, not_supported, required, shown_value
from penstock.operate.testing.schemas import ANY, Shape
from penstock.operate.testing.status import Cause

__all__ = ["structural_causes", "with_structural_defaults", "without_unknown"]


def without_unknown(obj: dict[str, Any], shape: Shape) -> dict[str, Any]:
    """`obj` without fields that the schema does not have."""
    pruned: dict[str, Any] = _pruned(obj, shape, is_root=True)
    return pruned


def _pruned(value: Any, shape: Shape, *, is_root: bool = False) -> Any:
    if isinstance(value, dict):
        keeps = shape.preserves_unknown or shape.raw.get("x-metadata")
        kept: dict[str, Any] = {}
        for name, below in value.items():
            child = shape.child(name)
            if is_root and name == "metadata":
                kept[name] = clone(below)
            elif child is not None:
                kept[name] = _pruned(below, child)
            elif keeps or (shape.is_embedded and name in ("apiVersion", "kind", "metadata")):
                kept[name] = clone(below)
        return kept
    if isinstance(value, list):
        return [_pruned(item, shape.item) for item in value]
    return value


def with_structural_defaults(obj: dict[str, Any], shape: Shape) -> dict[str, Any]:
    """`obj` with the schema's defaults; a null where none is allowed and a default is given becomes the default."""
    filled: dict[str, Any] = _filled(obj, shape)
    return filled


def _filled(value: Any, shape: Shape) -> Any:
    if isinstance(value, dict):
        found: dict[str, Any] = {}
        for name, below in value.items():
            child = shape.child(name)
            if below is None and child is not None and not child.raw.get("nullable") and name in shape.properties:
                continue  # pruned; the default, if there is one, comes below
            found[name] = _filled(below, child) if child is not None else clone(below)
        for name, raw in shape.properties.items():
            if name not in found and isinstance(raw, dict) and "default" in raw:
                child = shape.child(name)
                found[name] = _filled(clone(raw["default"]), child or ANY)
        return found
    if isinstance(value, list):
        return [_filled(item, shape.item) for item in value]
    return value


def structural_causes(obj: dict[str, Any], live: dict[str, Any] | None, shape: Shape) -> list[Cause]:
    """Everything that is wrong with a custom resource. CEL rules are read only where the schema holds."""
    body = {name: below for name, below in obj.items() if name not in ("apiVersion", "kind", "metadata")}
    found = [cause for name in body for cause in _below(name, body, shape)]
    found += [required(name) for name in shape.raw.get("required") or () if name not in obj]
    if found:
        return found
    return rule_causes(obj, live, shape, is_update=live is not None)


def _below(name: str, body: dict[str, Any], shape: Shape) -> Iterator[Cause]:
    child = shape.child(name)
    if child is not None:
        yield from _causes(body[name], child.raw, child, name)


_NAMES = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}


def _causes(value: Any, raw: dict[str, Any], shape: Shape, at: str) -> Iterator[Cause]:
    if value is None:
        if not raw.get("nullable"):
            words = f'Invalid value: "null": {at} in body must be of type {raw.get("type", "object")}: "null"'
            yield Cause("FieldValueTypeInvalid", words, at)
        return
    wrong = _wrong_type(value, raw, at)
    if wrong is not None:
        yield wrong
        return
    if "enum" in raw and value not in raw["enum"]:
        yield not_supported(at, value, raw["enum"])
    match value:
        case dict():
            yield from _object_causes(value, raw, shape, at)
        case list():
            yield from _array_causes(value, raw, shape, at)
        case str():
            yield from _text_causes(value, raw, at)
        case bool():
            pass
        case _:
            yield from _number_causes(value, raw, at)
    yield from _combined(value, raw, at)


def _wrong_type(value: Any, raw: dict[str, Any], at: str) -> Cause | None:
    found = _NAMES[type(value)]
    if raw.get("x-kubernetes-int-or-string"):
        allowed: tuple[str, ...] = ("integer", "string")
    else:
        allowed = (raw["type"],) if isinstance(raw.get("type"), str) else ()
    whole = isinstance(value, float) and value.is_integer()
    fits = found in allowed or (found == "integer" and "number" in allowed) or (whole and "integer" in allowed)
    if not allowed or fits:
        return None
    words = f'Invalid value: "{found}": {at} in body must be of type {",".join(allowed)}: "{found}"'
    return Cause("FieldValueTypeInvalid", words, at)


def _object_causes(value: dict[str, Any], raw: dict[str, Any], shape: Shape, at: str) -> Iterator[Cause]:
    for name in raw.get("required") or ():
        if name not in value:
            yield required(f"{at}.{name}")
    if len(value) > raw.get("maxProperties", len(value)):
        limit = raw["maxProperties"]
        words = f"Too many: {len(value)}: must have at most {limit} items"
        yield Cause("FieldValueTooMany", words, at)
    if len(value) < raw.get("minProperties", 0):
        yield invalid_value(at, len(value), f"{at} in body should have at least {raw['minProperties']} properties")
    for name, below in value.items():
        child = shape.child(name)
        if child is not None:
            yield from _causes(below, child.raw, child, f"{at}.{name}")


def _array_causes(value: list[Any], raw: dict[str, Any], shape: Shape, at: str) -> Iterator[Cause]:
    if len(value) > raw.get("maxItems", len(value)):
        words = f"Too many: {len(value)}: must have at most {raw['maxItems']} items"
        yield Cause("FieldValueTooMany", words, at)
    if len(value) < raw.get("minItems", 0):
        yield invalid_value(at, len(value), f"{at} in body should have at least {raw['minItems']} items")
    seen: list[Any] = []
    for index, item in enumerate(value):
        yield from _causes(item, shape.item.raw, shape.item, f"{at}[{index}]")
        key: Any = item
        if shape.list_type == "map" and isinstance(item, dict):
            key = {name: item.get(name) for name in shape.list_keys}
        if shape.list_type in ("map", "set"):
            if key in seen:
                yield Cause("FieldValueDuplicate", f"Duplicate value: {shown_value(key)}", f"{at}[{index}]")
            seen.append(key)


def _text_causes(value: str, raw: dict[str, Any], at: str) -> Iterator[Cause]:
    if len(value) > raw.get("maxLength", len(value)):
        yield Cause("FieldValueTooLong", f"Too long: may not be more than {raw['maxLength']} bytes", at)
    if len(value) < raw.get("minLength", 0):
        words = f"{at} in body should be at least {raw['minLength']} chars long"
        yield invalid_value(at, value, words)
    if "pattern" in raw and not re.search(raw["pattern"], value):
        yield invalid_value(at, value, f"{at} in body should match '{raw['pattern']}'")


def _number_causes(value: float, raw: dict[str, Any], at: str) -> Iterator[Cause]:
    if "maximum" in raw and (
        value > raw["maximum"] or (raw.get("exclusiveMaximum") is True and value == raw["maximum"])
    ):
        words = "less than" if raw.get("exclusiveMaximum") else "less than or equal to"
        yield invalid_value(at, value, f"{at} in body should be {words} {raw['maximum']}")
    if "minimum" in raw and (
        value < raw["minimum"] or (raw.get("exclusiveMinimum") is True and value == raw["minimum"])
    ):
        words = "greater than" if raw.get("exclusiveMinimum") else "greater than or equal to"
        yield invalid_value(at, value, f"{at} in body should be {words} {raw['minimum']}")
    if "multipleOf" in raw and value % raw["multipleOf"]:
        yield invalid_value(at, value, f"{at} in body should be a multiple of {raw['multipleOf']}")


def _combined(value: Any, raw: dict[str, Any], at: str) -> Iterator[Cause]:
    """`allOf`, `anyOf`, `oneOf` and `not`, whose parts say no types of their own."""

    def holds(part: dict[str, Any]) -> bool:
        return not list(_causes(value, part, Shape(part, {}), at))

    for part in raw.get("allOf") or ():
        yield from _causes(value, part, Shape(part, {}), at)
    if raw.get("anyOf") and not any(holds(part) for part in raw["anyOf"]):
        yield invalid_value(at, value, f"{at} in body must validate at least one schema (anyOf)")
    if raw.get("oneOf") and sum(holds(part) for part in raw["oneOf"]) != 1:
        count = sum(holds(part) for part in raw["oneOf"])
        found = "Found none valid" if not count else f"Found {count} valid alternatives"
        yield invalid_value(at, value, f"{at} in body must validate one and only one schema (oneOf). {found}")
    if raw.get("not") and holds(raw["not"]):
        yield invalid_value(at, value, f"{at} in body must not validate the schema (not)")
