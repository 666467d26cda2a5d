"""`x-kubernetes-validations`: the CEL rules of a custom resource's schema, evaluated as the API server does.

Uses package `common-expression-language`, a tool of development that may be absent: then no rule is evaluated. A rule
that this evaluator cannot run (a function of Kubernetes' own that it lacks) does not refuse anything either; `unrun`
names those, so that a test can insist that there are none. Pure.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from functools import cache
from typing import Any

from penstock.operate.testing.schemas import ANY, Shape
from penstock.operate.testing.status import Cause

__all__ = ["is_available", "rule_causes", "unrun"]

_REASONS = ("FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate")
_ABSENT = object()
unrun: dict[str, str] = {}
"""Rules that could not be evaluated, and why."""


def is_available() -> bool:
    """Whether rules are evaluated at all."""
    return importlib.util.find_spec("cel") is not None


@cache
def _program(rule: str) -> Any:
    return importlib.import_module("cel").compile(rule)


@cache
def _message_program(expression: str) -> Any:
    return importlib.import_module("cel").compile(expression)


def rule_causes(value: Any, old: Any, shape: Shape, *, is_update: bool) -> list[Cause]:
    """What the rules of a schema find wrong. `old`: the object before; not read unless `is_update`."""
    if not is_available():
        return []
    return list(_walk(value, old if is_update else _ABSENT, shape, ""))


def _walk(value: Any, old: Any, shape: Shape, at: str) -> Iterator[Cause]:
    for rule in shape.raw.get("x-kubernetes-validations") or ():
        cause = _broken(rule, value, old, shape, at)
        if cause is not None:
            yield cause
    if isinstance(value, dict):
        for name, below in value.items():
            child = shape.child(name)
            if child is not None and child.raw:
                before = old.get(name, _ABSENT) if isinstance(old, dict) else _ABSENT
                mark = f"{at}[{name}]" if shape.is_free_map and name not in shape.properties else f"{at}.{name}"
                yield from _walk(below, before, child, mark.lstrip("."))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(item, _same_item(item, old, shape), shape.item or ANY, f"{at}[{index}]")


def _same_item(item: Any, old: Any, shape: Shape) -> Any:
    """The item before, which only a list that is a map can tell."""
    if not isinstance(old, list) or shape.list_type != "map" or not isinstance(item, dict):
        return _ABSENT
    keys = shape.list_keys
    return next((each for each in old if all(each.get(key) == item.get(key) for key in keys)), _ABSENT)


def _broken(rule: dict[str, Any], value: Any, old: Any, shape: Shape, at: str) -> Cause | None:
    text = rule["rule"]
    variables = {"self": _typed(value, shape)}
    if "oldSelf" in text:
        if old is _ABSENT:
            return None
        variables["oldSelf"] = _typed(old, shape)
    try:
        holds = _program(text).execute(variables)
    except Exception as error:  # the evaluator raises its own errors and RuntimeError; the rule is then not evaluable
        unrun[text] = str(error).splitlines()[0]
        return None
    if holds is True:
        return None
    message = _message(rule, variables)
    reason = rule.get("reason", "FieldValueInvalid")
    field = (at + str(rule.get("fieldPath", ""))).lstrip(".")
    shown = {"FieldValueForbidden": "Forbidden: ", "FieldValueRequired": "Required value: "}
    prefix = shown.get(reason, f"Invalid value: {_shown(value)}: ")
    return Cause(reason if reason in _REASONS else "FieldValueInvalid", prefix + message, field)


def _message(rule: dict[str, Any], variables: dict[str, Any]) -> str:
    if expression := rule.get("messageExpression"):
        try:
            return str(_message_program(expression).execute(variables))
        except Exception as error:  # as above
            unrun[expression] = str(error).splitlines()[0]
    return str(rule.get("message") or f"failed rule: {rule['rule']}")


def _shown(value: Any) -> str:
    match value:
        case dict():
            return '"object"'
        case list():
            return '"array"'
        case str():
            return f'"{value}"'
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def _typed(value: Any, shape: Shape) -> Any:
    """Numbers as the schema's types: a whole number in a `number` field is a double for CEL."""
    if isinstance(value, dict):
        return {name: _typed(below, shape.child(name) or ANY) for name, below in value.items()}
    if isinstance(value, list):
        return [_typed(item, shape.item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and shape.raw.get("type") == "number":
        return float(value)
    return value
