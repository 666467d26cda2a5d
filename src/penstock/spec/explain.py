"""What pydantic found wrong, in words for the person who wrote the file. Pure.

Takes pydantic's errors, gives findings: where, what is wrong, what to do. Never repeats a secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock.spec.base import FieldPath, Finding, Refusal, SpecObject
from penstock.spec.document import Plain, dotted
from penstock.spec.nearest import fold, nearest, similarity
from penstock.spec.shape import Shape, fields_of, shape_at, walk

__all__ = ["Explained", "explain"]

_SLIP = 0.8
"""Similarity from which a name is taken for a slip of a field here, even when another place has exactly that name."""
_SHOWN_CHARS_MAX = 40
"""Characters of a wrong value that a message repeats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A finding at a full path. `of_key`: it is about the name, not about its value."""

    at: FieldPath
    message: str
    hint: str | None = None
    of_key: bool = False
    meant: str = ""
    """The field of the same object that an unknown one is a slip of."""


def explain(errors: Sequence[Mapping[str, Any]], value: Plain, root: type[SpecObject]) -> Iterator[Explained]:
    """Turns pydantic's errors about `value` into findings, one for each place."""
    said: set[FieldPath] = set()
    meant: set[FieldPath] = set()
    for error in sorted(errors, key=lambda error: error["type"] == "missing"):
        at, is_key = _real_path(error["loc"], value, error["type"])
        if (at in said and error["type"] != "value_error") or at in meant:
            continue  # a union reports one error for each member; a slip makes the name that was meant a missing one
        said.add(at)
        for found in _explain_one(error, at, is_key, value, root):
            if found.meant:
                meant.add((*found.at[:-1], found.meant))
            yield found


def _explain_one(
    error: Mapping[str, Any], at: FieldPath, is_key: bool, value: Plain, root: type[SpecObject]
) -> Iterator[Explained]:
    kind: str = error["type"]
    shape = shape_at(root, at)
    if kind == "extra_forbidden":
        yield _unknown_field(at, root)
    elif kind == "missing":
        yield _missing(at, shape)
    elif is_key:
        yield _wrong_key(at, root)
    elif kind == "value_error":
        cause = error["ctx"]["error"]
        findings = cause.findings if isinstance(cause, Refusal) else (Finding(at=(), message=str(cause)),)
        for finding in findings:
            yield _of_finding(finding, at, value)
    else:
        yield _wrong_value(_at(value, at), at, shape, error)


def _of_finding(finding: Finding, at: FieldPath, value: Plain) -> Explained:
    message = finding.message
    if message.startswith("must "):
        message = f"{message}, not {_shown(_at(value, at))}"
    return Explained(at=(*at, *finding.at), message=message, hint=finding.hint)


def _real_path(loc: Sequence[str | int], value: Plain, kind: str) -> tuple[FieldPath, bool]:
    """The part of pydantic's location that is in the file, and whether it is about a key.

    Pydantic adds the name of the union member it tried, and `[key]` for a mapping's key.
    """
    path: list[str | int] = []
    for place, part in enumerate(loc):
        if part == "[key]" and place == len(loc) - 1:
            return tuple(path), True
        is_inside = (isinstance(value, dict) and part in value) or (isinstance(value, list) and isinstance(part, int))
        if not is_inside:
            return (*path, part) if kind == "missing" else tuple(path), False
        path.append(part)
        value = value[part]  # type: ignore[index]  # is_inside says that it fits
    return tuple(path), False


def _at(value: Plain, path: FieldPath) -> Plain:
    for part in path:
        value = value[part]  # type: ignore[index]  # the path was found in this value
    return value


def _missing(at: FieldPath, shape: Shape | None) -> Explained:
    words = shape.words if shape is not None else "a value"
    hint = f"add `{at[-1]}: {shape.choices[0]}`" if shape is not None and len(shape.choices) == 1 else None
    return Explained(at=at, message=f"is missing; it must be {words}", hint=hint)


def _wrong_value(value: Plain, at: FieldPath, shape: Shape | None, error: Mapping[str, Any]) -> Explained:
    if shape is None:
        return Explained(at=at, message=f"cannot be {_shown(value)}: {error['msg']}")
    if value is None:
        hint = "give it a value, or remove the line to get the default"
        return Explained(at=at, message=f"is empty; it must be {shape.words}", hint=hint)
    shown = "this" if shape.is_secret else _shown(value)
    if shape.is_secret and isinstance(value, str):
        shown = f"one of {len(value)}"
    return Explained(at=at, message=f"must be {shape.words}, not {shown}", hint=_value_hint(value, at, shape))


def _value_hint(value: Plain, at: FieldPath, shape: Shape) -> str | None:
    """What to write instead of a value of the wrong kind."""
    if shape.model is not None and shape.model.forms:
        return shape.model.forms
    if shape.choices and isinstance(value, str):
        close = nearest(value, shape.choices, 1) or (shape.choices if len(shape.choices) == 1 else ())
        return f"write `{at[-1]}: {close[0]}`" if close else None
    if shape.is_text and isinstance(value, bool | int | float):
        return "put it in quotes to make it text"
    if isinstance(value, str) and shape.words.startswith(("a whole number", "a number")):
        return _number_hint(value)
    if isinstance(value, str) and shape.words == "true or false" and value.lower() in ("yes", "no", "on", "off"):
        return f"YAML 1.2 reads `{value}` as text: write {'true' if value.lower() in ('yes', 'on') else 'false'}"
    if shape.is_list and not isinstance(value, list):
        return "write a list: each entry on a line of its own after `- `, or all of them in [brackets]"
    if "args" in at and isinstance(value, dict):
        return "give a flag that takes JSON its JSON text, in single quotes"
    return None


def _number_hint(value: str) -> str | None:
    """Numbers written as text, with separators or with a unit."""
    bare = value.replace("_", "").replace(",", "").strip()
    digits = bare.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZµ% ")
    try:
        float(digits)
    except ValueError:
        return None
    if digits != bare:
        return "write the number alone: the unit belongs to the field"
    return f"write {digits}, without quotes or separators"


def _unknown_field(at: FieldPath, root: type[SpecObject]) -> Explained:
    """An unknown name: a slip of a field here, or of one that stands elsewhere in the file."""
    around = shape_at(root, at[:-1])
    assert around is not None
    assert around.model is not None
    name, names = str(at[-1]), [field.name for field in fields_of(around.model)]
    close = (nearest(name, names, 1) or [""])[0]
    elsewhere = _elsewhere(name, at[:-1], root)
    if elsewhere and not (close and similarity(name, close) >= _SLIP):
        hint = f"`{elsewhere[0][-1]}` belongs at {' or '.join(_general(path) for path in elsewhere[:2])}"
        close = ""
    elif close:
        hint = f"did you mean `{close}`?"
    else:
        hint = around.model.forms or _fields_here(names)
    return Explained(at=at, message="is not a field here", hint=hint, of_key=True, meant=close)


def _fields_here(names: Sequence[str]) -> str:
    listed = "fields here: " + ", ".join(names)
    flags = next((place for field, place in (("engine", "engine.args"), ("args", "args")) if field in names), None)
    return f"{listed}; flags of the engine stand under `{flags}`" if flags else listed


def _elsewhere(name: str, at: FieldPath, root: type[SpecObject]) -> list[FieldPath]:
    """Where else a field is called so: inside the present object if anywhere there, else nearest to the root."""
    here = _general_parts(at)
    found = [path for path, _ in walk(root) if fold(str(path[-1])) == fold(name) and path[:-1] != here]
    inside = [path for path in found if here and path[: len(here)] == here]
    depth = min((len(path) for path in inside or found), default=0)
    return [path for path in inside or found if len(path) == depth]


def _general_parts(path: FieldPath) -> tuple[str | int, ...]:
    return tuple(0 if isinstance(part, int) else part for part in path)


def _general(path: FieldPath) -> str:
    """A path for any item of its lists: `spec.models[].name`."""
    return f"`{dotted(path).replace('[0]', '[]')}`"


def _wrong_key(at: FieldPath, root: type[SpecObject]) -> Explained:
    around = shape_at(root, at[:-1])
    words = around.key_words if around is not None else "another name"
    bare = str(at[-1]).lstrip("-")
    hint = f"write `{bare}`" if bare and bare != at[-1] else None
    return Explained(at=at, message=f"must be {words}", hint=hint, of_key=True)


def _shown(value: Plain) -> str:
    """A value in words, cut short."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "an empty list" if not value else "a list"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN_CHARS_MAX else f"{text[:_SHOWN_CHARS_MAX]}…"
