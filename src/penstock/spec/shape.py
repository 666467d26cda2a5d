"""The fleet file's types read as a tree of shapes: what may stand where, in words. Pure.

One reading of the pydantic types serves error messages (what was wanted here, where does this name belong) and the
reference page (type, default, unit of every field), so the two never disagree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from inspect import cleandoc
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from penstock.spec.base import FieldPath, SpecObject, Words

__all__ = ["FieldShape", "Shape", "fields_of", "shape_at", "shape_of", "walk"]

_UNITS = (
    ("PerS", "per second"),
    ("PerGpuHour", "US dollars"),
    ("PerMillion", "US dollars"),
    ("costPerMonth", "US dollars"),
    ("TokensMin", "tokens"),
    ("TokensMax", "tokens"),
    ("TokensDefault", "tokens"),
    ("Ms", "milliseconds"),
    ("BytesMax", "bytes"),
    ("Percent", "percent"),
    ("S", "seconds"),
)
"""Unit by the end of a field's name: STYLE puts the unit last, and the bound after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What may stand at one place of the file."""

    words: str
    """Follows "must be"."""
    model: type[SpecObject] | None = None
    """The object's type, where an object is wanted."""
    item: Shape | None = None
    """What a list or a mapping holds."""
    key_words: str = ""
    """What the names of a mapping must be."""
    is_list: bool = False
    is_text: bool = False
    is_secret: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldShape:
    """One field of an object, as the file names it."""

    name: str
    shape: Shape
    is_required: bool
    default: object
    """None where it is required or has none."""
    description: str
    unit: str = ""


@cache
def fields_of(model: type[SpecObject]) -> tuple[FieldShape, ...]:
    """The fields of an object in the order of its type."""
    return tuple(_field(info) for info in model.model_fields.values())


def shape_at(root: type[SpecObject], path: FieldPath) -> Shape | None:
    """What may stand at `path` below `root`; None where nothing may."""
    shape: Shape | None = shape_of(root, ())
    for part in path:
        if shape is None:
            return None
        if shape.model is not None:
            shape = next((field.shape for field in fields_of(shape.model) if field.name == part), None)
        else:
            shape = shape.item
    return shape


def walk(root: type[SpecObject], at: FieldPath = ()) -> Iterator[tuple[FieldPath, FieldShape]]:
    """Every field below `root` with its path, parents first. A list's items stand at place 0."""
    for field in fields_of(root):
        path = (*at, field.name)
        yield path, field
        inner, inner_path = field.shape, path
        while inner.item is not None and inner.is_list:
            inner, inner_path = inner.item, (*inner_path, 0)
        if inner.model is not None:
            yield from walk(inner.model, inner_path)


def shape_of(annotation: Any, metadata: Sequence[object]) -> Shape:
    """The shape of a type with what stands beside it in `Annotated`."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *beside = get_args(annotation)
        for item in beside:
            metadata = [*(item.metadata if isinstance(item, FieldInfo) else (item,)), *metadata]
        return shape_of(inner, metadata)
    said = next((item.text for item in metadata if isinstance(item, Words)), None)
    if origin in (Union, UnionType):
        members = [member for member in get_args(annotation) if member is not NoneType]
        if len(members) == 1:
            return shape_of(members[0], metadata)
        return Shape(words=said or " or ".join(shape_of(member, ()).words for member in members))
    if origin is Literal:
        choices = tuple(str(choice) for choice in get_args(annotation))
        return Shape(words=_one_of(choices), choices=choices, is_text=True)
    if origin is list:
        item = shape_of(get_args(annotation)[0], ())
        return Shape(words=said or "a list" + _at_least_one(metadata), item=item, is_list=True)
    if origin is dict:
        key, value = get_args(annotation)
        words = "a mapping of names to values"
        return Shape(words=words, key_words=shape_of(key, ()).words, item=shape_of(value, ()))
    if isinstance(annotation, type) and issubclass(annotation, SpecObject):
        names = ", ".join(f"`{field.name}`" for field in fields_of(annotation)[:3])
        return Shape(words=f"a mapping with fields such as {names}", model=annotation)
    is_secret = annotation is SecretStr
    return Shape(
        words=said or _scalar_words(annotation, metadata), is_text=is_secret or annotation is str, is_secret=is_secret
    )


def _field(info: FieldInfo) -> FieldShape:
    name = info.alias or ""
    unit = next((unit for end, unit in _UNITS if name.endswith(end)), "")
    shape = shape_of(info.annotation, info.metadata)
    default = None if info.is_required() else info.get_default(call_default_factory=True)
    return FieldShape(
        name=name,
        shape=shape,
        is_required=info.is_required(),
        default=default,
        description=" ".join(cleandoc(info.description or "").split()),
        unit=unit,
    )


def _scalar_words(annotation: Any, metadata: Sequence[object]) -> str:
    if annotation is bool:
        return "true or false"
    if annotation is int:
        return "a whole number" + _range(metadata)
    if annotation is float:
        return "a number" + _range(metadata)
    shortest = next((item.min_length for item in metadata if isinstance(item, MinLen)), 0)
    if shortest > 1:
        return f"text of at least {shortest} characters"
    return "text that is not empty" if shortest else "text"


def _range(metadata: Sequence[object]) -> str:
    """Bounds in words, as in ` from 1 to 64`."""
    low = next((f"from {item.ge}" for item in metadata if isinstance(item, Ge)), "")
    high = next((f"to {item.le}" for item in metadata if isinstance(item, Le)), "")
    above = next((f"above {item.gt}" for item in metadata if isinstance(item, Gt)), "")
    below = next((f"below {item.lt}" for item in metadata if isinstance(item, Lt)), "")
    if low and not high:
        low += " up"
    if above and high:
        return f" {above}, at most {high.removeprefix('to ')}"
    words = " ".join(word for word in (low, high, above, below) if word)
    return f" {words}" if words else ""


def _at_least_one(metadata: Sequence[object]) -> str:
    shortest = next((item.min_length for item in metadata if isinstance(item, MinLen)), 0)
    longest = next((item.max_length for item in metadata if isinstance(item, MaxLen)), None)
    words = " with at least one entry" if shortest == 1 else f" with at least {shortest} entries" if shortest else ""
    return words if longest is None else f"{words}, at most {longest}"


def _one_of(choices: Sequence[str]) -> str:
    if len(choices) == 1:
        return f"`{choices[0]}`"
    return "one of " + ", ".join(f"`{choice}`" for choice in choices)
