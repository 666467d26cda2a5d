"""Other people's YAML and JSON: each value with its place, whatever is wrong said and stepped over. Pure.

A fleet file is read strictly by `document.py`; this reads what `doctor` is shown. Guarantees: never raises; a broken
document does not hide its neighbours; tags are ignored; a file of a thousand objects takes a second (libyaml composes,
ruamel only words what is wrong); aliases are unfolded up to a bound. Columns are those of the file also for text that
lies inside a block scalar.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any

import yaml  # type: ignore[import-untyped]  # kopf and kr8s bring it; its C parser is ten times ruamel's speed
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from penstock.errors import Problem
from penstock.spec.base import FieldPath
from penstock.spec.document import Place, Plain, scalar_value
from penstock.spec.syntax import syntax_problem

__all__ = ["Reading", "Shift", "Span", "Tree", "read_documents", "tree_of"]

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DEPTH_MAX = 100
"""Nesting past which a document is refused; a Grafana dashboard needs 20."""
_VALUES_MAX = 1_000_000
"""Values of one document, aliases unfolded, past which it is refused: a dump of five thousand pods has that many."""
_SUSPECT = 400
"""Brackets open at once, or columns of indentation, past which the depth is counted before anything is composed:
libyaml composes by recursion in C, where too deep is a crash."""
_INDENT = re.compile(rf"^[ \-?]{{{_SUSPECT},}}", re.MULTILINE)
_BRACKETS = re.compile(r"[\[\]{}]")
_SEPARATOR = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_TEMPLATE = re.compile(r"\{\{-?\s*[\w.$/(\"]")
_MERGE = "tag:yaml.org,2002:merge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """Where text stands that was cut out of a file: what to add to its own lines and columns."""

    line: int = 0
    column: int = 0
    is_fixed: bool = False
    """The text's lines are not the file's (folded, or escaped): everything stands where it begins."""

    def place(self, line: int, column: int) -> Place:
        """The file's place of a line and column of the text, both from 1."""
        if self.is_fixed:
            return Place(self.line + 1, self.column + 1)
        return Place(self.line + line, self.column + column)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From a place of the file up to, not including, another; lines and columns from 1."""

    start: Place
    end: Place


class Tree:
    """One document: its value, and where every part of it stands. Immutable once read."""

    def __init__(self, value: Plain, nodes: dict[FieldPath, Any], keys: dict[FieldPath, Any], shift: Shift) -> None:
        self.value = value
        self._nodes = nodes
        self._keys = keys
        self._shift = shift
        self._lines: list[str] = []

    @property
    def is_placed(self) -> bool:
        """Whether its values have places at all: not so for an object of a live cluster."""
        return bool(self._nodes)

    def place(self, path: FieldPath, *, of_key: bool = False) -> Place:
        """Where `path` stands; where it is not in the file, the nearest object around it."""
        for end in range(len(path), -1, -1):
            part = path[:end]
            node = self._keys.get(part) if of_key and end == len(path) else None
            node = node or self._nodes.get(part) or self._keys.get(part)
            if node is not None:
                return self._shift.place(node.start_mark.line + 1, node.start_mark.column + 1)
        return self._shift.place(1, 1)

    def style(self, path: FieldPath) -> str:
        """How a scalar or list is written: `|`, `>`, `'`, `"`, `[` for a list in brackets; "" plain."""
        node = self._nodes.get(path)
        if node is None:
            return ""
        if isinstance(node, yaml.ScalarNode):
            return node.style or ""
        return "[" if node.flow_style else ""

    def span(self, path: FieldPath, *, of_key: bool = False) -> Span | None:
        """What to replace in the file to change a scalar or a key; None where the file has no such text."""
        node = (self._keys if of_key else self._nodes).get(path)
        if node is None or self._shift.is_fixed:
            return None
        return Span(start=self._mark(node.start_mark), end=self._mark(node.end_mark))

    def inside(self, path: FieldPath) -> Shift:
        """Where the lines of a scalar's text stand."""
        node = self._nodes.get(path)
        if node is None:
            return Shift(is_fixed=True)
        start = self._mark(node.start_mark)
        if self._shift.is_fixed:
            return Shift(line=start.line - 1, column=start.column - 1, is_fixed=True)
        if node.style == "|":
            below = self._lines[node.start_mark.line + 1 : node.end_mark.line + 1]
            first = next((line for line in below if line.strip()), "")
            indent = len(first) - len(first.lstrip(" "))
            return Shift(line=start.line, column=self._shift.column + indent)
        is_one_line = node.start_mark.line == node.end_mark.line and "\\" not in self._raw(node)
        quote = 1 if node.style in ("'", '"') else 0
        return Shift(line=start.line - 1, column=start.column - 1 + quote, is_fixed=not is_one_line)

    def at_lines(self, lines: list[str]) -> Tree:
        """The same, knowing the text it was read from."""
        self._lines = lines
        return self

    def _raw(self, node: Any) -> str:
        line = self._lines[node.start_mark.line] if node.start_mark.line < len(self._lines) else ""
        return line[node.start_mark.column : node.end_mark.column]

    def _mark(self, mark: Any) -> Place:
        return self._shift.place(mark.line + 1, mark.column + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a text holds."""

    trees: tuple[Tree, ...]
    problems: tuple[Problem, ...]
    """Documents that could not be read, in words."""


def tree_of(value: Plain) -> Tree:
    """A value without places, as an API server sends it."""
    return Tree(value, {}, {}, Shift(is_fixed=True))


def read_documents(text: str, file: str, shift: Shift | None = None) -> Reading:
    """Every document of a text, empty ones left out; `file` is what problems call it."""
    shift = shift or Shift()
    trees: list[Tree] = []
    problems: list[Problem] = []
    for first_line, chunk in _chunks(text):
        here = shift if shift.is_fixed else replace(shift, line=shift.line + first_line)
        found = _read(chunk, file, here)
        if isinstance(found, Problem):
            problems.append(found)
        elif found is not None:
            trees.append(found)
    return Reading(trees=tuple(trees), problems=tuple(problems))


def _chunks(text: str) -> list[tuple[int, str]]:
    """The documents of a text, each with the number of lines above it."""
    starts = [0, *(match.start() for match in _SEPARATOR.finditer(text) if match.start())]
    ends = [*starts[1:], len(text)]
    chunks: list[tuple[int, str]] = []
    lines = 0
    for start, end in zip(starts, ends, strict=True):
        chunk = text[start:end]
        if any(line.strip() and not line.startswith(("#", "%", "---")) for line in chunk.splitlines()) or (
            chunk.startswith("---") and chunk.split("\n", 1)[0][3:].strip()
        ):
            chunks.append((lines, chunk))
        lines += chunk.count("\n")
    return chunks


def _read(text: str, file: str, shift: Shift) -> Tree | Problem | None:
    if _is_too_deep(text):
        message = f"is nested more than {_DEPTH_MAX} levels deep: this document was not checked"
        return Problem(file=file, line=shift.line + 1, column=1, field="", message=message)
    try:
        node = next((n for n in yaml.compose_all(text, Loader=_LOADER) if n is not None), None)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        return _unread(text, file, shift, error)
    if node is None:
        return None
    reader = _Reader()
    try:
        value = reader.plain(node, (), 0)
    except _TooMuchError as error:
        place = shift.place(error.line, error.column)
        return Problem(file=file, line=place.line, column=place.column, field="", message=str(error))
    if value is None:
        return None
    if reader.has_odd_keys and _TEMPLATE.search(text):
        return _unread(text, file, shift, ValueError("a template"))
    return Tree(value, reader.nodes, reader.keys, shift).at_lines(text.split("\n"))


def _is_too_deep(text: str) -> bool:
    """Whether composing this would go deeper than `_DEPTH_MAX`; counted from events only where it may be."""
    depth = most = 0
    for match in _BRACKETS.finditer(text):
        depth += 1 if match.group() in "[{" else -1
        most = max(most, depth)
    if most < _SUSPECT and _INDENT.search(text) is None:
        return False
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEPTH_MAX:
                return True
    except yaml.YAMLError:
        return most >= _SUSPECT
    return False


def _unread(text: str, file: str, shift: Shift, error: Exception) -> Tree | Problem:
    """Text that libyaml does not take: JSON with escapes that YAML has not, a template, or a mistake."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            return tree_of(json.loads(text))
        except (ValueError, RecursionError):
            pass
    template = _TEMPLATE.search(text)
    if template is not None:
        line = text.count("\n", 0, template.start()) + 1
        place = shift.place(line, 1)
        message = "is a Helm template, not YAML yet: this document was not checked"
        hint = "check what it renders: helm template RELEASE CHART | penstock doctor -"
        return Problem(file=file, line=place.line, column=place.column, field="", message=message, hint=hint)
    problem = _in_words(text, file, error)
    place = shift.place(max(problem.line, 1), max(problem.column, 1))
    return replace(problem, line=place.line, column=place.column)


def _in_words(text: str, file: str, error: Exception) -> Problem:
    try:
        for _ in YAML(typ="rt", pure=True).compose_all(text):
            pass
    except YAMLError as said:
        return syntax_problem(said, file)
    except RecursionError:
        pass
    reason = str(getattr(error, "problem", None) or type(error).__name__)
    return Problem(file=file, line=0, column=0, field="", message=f"is not valid YAML: {reason}")


class _TooMuchError(Exception):
    """A document that would not end; says where it was left."""

    def __init__(self, message: str, node: Any) -> None:
        super().__init__(message)
        self.line = node.start_mark.line + 1
        self.column = node.start_mark.column + 1


class _Reader:
    """Turns composed nodes into plain values; owns the tables of places while it does."""

    def __init__(self) -> None:
        self.nodes: dict[FieldPath, Any] = {}
        self.keys: dict[FieldPath, Any] = {}
        self.has_odd_keys = False

    def plain(self, node: Any, path: FieldPath, depth: int) -> Plain:
        self.nodes.setdefault(path, node)
        if depth > _DEPTH_MAX:
            raise _TooMuchError(f"is nested more than {_DEPTH_MAX} levels deep, or holds itself", node)
        if len(self.nodes) > _VALUES_MAX:
            raise _TooMuchError(f"holds more than {_VALUES_MAX} values, its aliases unfolded", node)
        if isinstance(node, yaml.ScalarNode):
            if not node.value and not node.style and path in self.keys:
                self.nodes[path] = self.keys[path]  # an empty value has no place of its own
            return scalar_value(str(node.value), is_plain=not node.style)
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(item, (*path, place), depth + 1) for place, item in enumerate(node.value)]
        return self._mapping(node, path, depth)

    def _mapping(self, node: Any, path: FieldPath, depth: int) -> dict[str, Plain]:
        result: dict[str, Plain] = {}
        merged: list[Any] = []
        for key, value in node.value:
            if key.tag == _MERGE:
                merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
                continue
            self.has_odd_keys |= not isinstance(key, yaml.ScalarNode)
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else f"<{key.start_mark.line + 1}>"
            here = (*path, name)
            self.keys.setdefault(here, key)
            result[name] = self.plain(value, here, depth + 1)
        for source in merged:
            extra = self.plain(source, path, depth + 1)
            if isinstance(extra, dict):
                result = {**extra, **result}
        return result
