"""The reference page of the fleet file, from its types: every field with type, default, unit and meaning. Pure.

`make docs` writes it to `docs/fleet-file.md`; a test holds the page to the types.
"""

from __future__ import annotations

from collections.abc import Iterator
from inspect import cleandoc

from pydantic import BaseModel

from penstock.spec.base import FieldPath, SpecObject
from penstock.spec.document import dotted
from penstock.spec.fleet import API_VERSION, Fleet
from penstock.spec.shape import FieldShape, fields_of

__all__ = ["reference_page"]

_HEAD = f"""\
# The fleet file

*Written by `make docs` from the types in `src/penstock/spec`; edit those.*

One YAML file says what a fleet is. A fleet of one model is six lines:

```yaml
apiVersion: {API_VERSION}
kind: Fleet
metadata: {{name: small}}
spec:
  models:
    - name: Qwen/Qwen3-8B
```

- `penstock spec check FILE` reads a file and tells every problem with its line and column.
- `penstock spec schema` prints the JSON Schema, for editors.
- Names are camelCase; an unknown field is an error; units stand at the end of a name (`ttftMs`, `drainS`).
- YAML 1.2: `yes`, `on` and `010` are text, text and ten. Anchors, aliases and `<<` work.
"""


def reference_page() -> str:
    """The whole page as Markdown."""
    sections = [_section(path, model) for path, model in _objects(Fleet, ())]
    return "\n".join([_HEAD, *sections]).rstrip() + "\n"


def _objects(model: type[SpecObject], at: FieldPath) -> Iterator[tuple[FieldPath, type[SpecObject]]]:
    """Every object of the file, a parent before its children."""
    yield at, model
    for field in fields_of(model):
        inner = field.shape.item if field.shape.is_list and field.shape.item is not None else field.shape
        if inner.model is not None:
            yield from _objects(inner.model, (*at, field.name, 0) if inner is not field.shape else (*at, field.name))


def _section(path: FieldPath, model: type[SpecObject]) -> str:
    title = f"`{_general(path)}`" if path else "The file"
    lines = [f"## {title}", "", " ".join(cleandoc(model.__doc__ or "").split()), ""]
    lines += ["| field | must be | default | unit | meaning |", "|---|---|---|---|---|"]
    lines += [_row(path, field) for field in fields_of(model)]
    return "\n".join([*lines, ""])


def _row(at: FieldPath, field: FieldShape) -> str:
    cells = (f"`{field.name}`", _type(at, field), _default(field), field.unit, field.description)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _type(at: FieldPath, field: FieldShape) -> str:
    """What the field must be, with a link where it is an object of its own."""
    shape = field.shape
    if shape.model is not None:
        return f"[a mapping](#{_anchor((*at, field.name))})"
    if shape.is_list and shape.item is not None and shape.item.model is not None:
        return f"[{shape.words}](#{_anchor((*at, field.name, 0))})"
    if shape.is_list and shape.item is not None:
        return f"{shape.words}; each {shape.item.words}"
    if shape.item is not None:
        names = "" if shape.key_words == "text" else f"; each name {shape.key_words}"
        return f"{shape.words}{names}; each value {shape.item.words}"
    return shape.words


def _default(field: FieldShape) -> str:
    if field.is_required:
        return "**required**"
    value = field.default
    if value is None or isinstance(value, BaseModel) or value in ([], {}):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _general(path: FieldPath) -> str:
    """A path for any item of its lists: `spec.models[]`."""
    return dotted(path).replace("[0]", "[]")


def _anchor(path: FieldPath) -> str:
    """The anchor that Markdown viewers give a section's title: lower case, punctuation dropped."""
    return "".join(char for char in _general(path).lower() if char.isalnum() or char in "-_")
