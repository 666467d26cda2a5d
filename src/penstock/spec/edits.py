"""Edits of YAML text at a value's own place: comments, order and layout of everything else stay as they are. Pure.

Guarantees: an edit that would need more than its own lines is not made (None), and edits that overlap are applied one
at a time: `apply` takes the first of them and leaves the rest for another round.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from penstock.spec.base import FieldPath
from penstock.spec.document import Place
from penstock.spec.documents import Span, Tree

__all__ = ["Edit", "apply", "removal", "replacement"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Text that takes the place of a span."""

    span: Span
    text: str


def replacement(tree: Tree, path: FieldPath, text: str, *, of_key: bool = False) -> Edit | None:
    """Puts other text in the place of a scalar or key of one line, in the quotes that it has."""
    span = tree.span(path, of_key=of_key)
    if span is None or span.start.line != span.end.line:
        return None
    style = "" if of_key else tree.style(path)
    if style not in ("", "'", '"'):
        return None
    return Edit(span=span, text=f"{style}{text}{style}")


def removal(tree: Tree, path: FieldPath, lines: Sequence[str], count: int = 1) -> Edit | None:
    """Takes out an entry of a mapping, or `count` items of a list from this one on; `lines` are the file's."""
    parent, last = path[:-1], path[-1]
    if isinstance(last, int):
        return _item_removal(tree, parent, last, count, lines)
    key, value = tree.span(path, of_key=True), tree.span(path)
    if key is None or value is None or tree.style(parent) == "[":
        return None
    return _whole_lines(key.start, value.end, lines, before="")


def _item_removal(tree: Tree, parent: FieldPath, first: int, count: int, lines: Sequence[str]) -> Edit | None:
    start, end = tree.span((*parent, first)), tree.span((*parent, first + count - 1))
    if start is None or end is None:
        return None
    if tree.style(parent) != "[":
        return _whole_lines(start.start, end.end, lines, before="-")
    after = tree.span((*parent, first + count))
    if after is not None:
        return Edit(span=Span(start=start.start, end=after.start), text="")
    if first:
        before = tree.span((*parent, first - 1))
        return None if before is None else Edit(span=Span(start=before.end, end=end.end), text="")
    return Edit(span=Span(start=start.start, end=end.end), text="")


def _whole_lines(start: Place, end: Place, lines: Sequence[str], *, before: str) -> Edit | None:
    """The lines from one place to another, where nothing else but a comment stands on them."""
    if end.column == 1 and end.line > start.line:  # a block's end is the start of the line after it
        end = Place(end.line - 1, len(lines[end.line - 2]) + 1)
    head = lines[start.line - 1][: start.column - 1]
    tail = lines[end.line - 1][end.column - 1 :].strip()
    if head.strip() != before or (tail and not tail.startswith("#")):
        return None
    return Edit(span=Span(start=Place(start.line, 1), end=Place(end.line + 1, 1)), text="")


def apply(text: str, edits: Iterable[Edit]) -> str:
    """The text with its edits made, from the top; of two that overlap only the first."""
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)

    def offset(place: Place) -> int:
        return min(starts[min(place.line - 1, len(starts) - 1)] + place.column - 1, len(text))

    parts: list[str] = []
    done = 0
    ordered = sorted(edits, key=lambda edit: (edit.span.start.line, edit.span.start.column, edit.text))
    for edit in ordered:
        start, end = offset(edit.span.start), offset(edit.span.end)
        if start < done:
            continue
        parts += [text[done:start], edit.text]
        done = end
    return "".join([*parts, text[done:]])
