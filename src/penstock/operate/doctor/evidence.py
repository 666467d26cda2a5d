"""What doctor looks at: objects, texts and logs, each knowing where it is from. Pure values.

The same for files, `kubectl` dumps and a live cluster: whoever reads a cluster fills an `Evidence` with
`resource_of(object)` for each object and a `Snippet` of kind `log` for each container's log. A `Node` is a place in an
object: stepping to what is not there gives a node without a value, so a rule asks without checking first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from penstock.errors import Problem
from penstock.operate.doctor.findings import Where
from penstock.spec.base import FieldPath
from penstock.spec.document import dotted
from penstock.spec.documents import Shift, Tree, tree_of
from penstock.spec.edits import Edit, removal, replacement

__all__ = ["Evidence", "Node", "Resource", "Snippet", "SnippetKind", "joined", "resource_of"]

SnippetKind = Literal["shell", "prose", "log", "dockerfile"]


class Node:
    """A value of an object and the way to it. Cheap, immutable; `value` is None where there is nothing."""

    __slots__ = ("path", "resource", "value")

    def __init__(self, resource: Resource, path: FieldPath, value: Any) -> None:
        self.resource = resource
        self.path = path
        self.value = value

    def __getitem__(self, key: str | int) -> Node:
        value = self.value
        if isinstance(key, int):
            inner = value[key] if isinstance(value, list) and 0 <= key < len(value) else None
        else:
            inner = value.get(key) if isinstance(value, dict) else None
        return Node(self.resource, (*self.path, key), inner)

    def at(self, *keys: str | int) -> Node:
        """Several steps at once."""
        node = self
        for key in keys:
            node = node[key]
        return node

    def __iter__(self) -> Iterator[Node]:
        """The items of a list; nothing where it is none."""
        if isinstance(self.value, list):
            for place, item in enumerate(self.value):
                yield Node(self.resource, (*self.path, place), item)

    def __bool__(self) -> bool:
        return self.value is not None

    def fields(self) -> Iterator[tuple[str, Node]]:
        """The entries of a mapping."""
        if isinstance(self.value, dict):
            for key, item in self.value.items():
                yield str(key), Node(self.resource, (*self.path, key), item)

    def walk(self) -> Iterator[Node]:
        """This and everything inside, depth first, in the order of the file."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            inner = list(node) or [item for _, item in node.fields()]
            stack += reversed(inner)

    @property
    def text(self) -> str:
        """A scalar as text; "" where it is none."""
        value = self.value
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value) if isinstance(value, str | int | float) else ""

    @property
    def mapping(self) -> Mapping[str, Any]:
        return self.value if isinstance(self.value, dict) else {}

    @property
    def number(self) -> float | None:
        """A number, also where it is written as text."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            return None
        try:
            number = float(value)
        except (ValueError, OverflowError):
            return None
        return number if math.isfinite(number) else None

    @property
    def where(self) -> Where:
        return self.resource.where(self.path)

    @property
    def key_where(self) -> Where:
        """Where the field's name stands."""
        return self.resource.where(self.path, of_key=True)

    @property
    def shown(self) -> str:
        """`field: value` for an excerpt; long values are cut."""
        name = dotted(self.path[-1:]) if self.path and isinstance(self.path[-1], str) else ""
        text = self.text if not isinstance(self.value, dict | list) else str(self.value)
        line = " ".join(text.split())
        line = line if len(line) <= 160 else f"{line[:157]}..."
        return f"{name}: {line}" if name and not isinstance(self.value, dict) else line or name

    def removed(self, count: int = 1) -> tuple[Edit, ...]:
        """The edit that takes this out of its file; none where that is not safe."""
        tree, lines = self.resource.tree, self.resource.lines
        if not self.path or not tree.is_placed:
            return ()
        edit = removal(tree, self.path, lines, count)
        return () if edit is None else (edit,)

    def replaced(self, text: str, *, of_key: bool = False) -> tuple[Edit, ...]:
        """The edit that puts other text here; none where that is not safe."""
        tree = self.resource.tree
        edit = replacement(tree, self.path, text, of_key=of_key) if tree.is_placed else None
        return () if edit is None else (edit,)


@dataclass(frozen=True, kw_only=True, eq=False)
class Resource:
    """One document or one item of a list: a Kubernetes object, a values file, anything with fields."""

    file: str
    """"" for an object of a live cluster."""
    tree: Tree
    base: FieldPath = ()
    """Where the object lies in the document."""
    value: Any
    lines: tuple[str, ...] = ()
    """The file's lines."""
    outer: str = ""
    """What it is inside of, where it was taken out of another object."""

    @property
    def root(self) -> Node:
        return Node(self, self.base, self.value)

    def __getitem__(self, key: str) -> Node:
        return self.root[key]

    @cached_property
    def kind(self) -> str:
        return self.root["kind"].text if isinstance(self.value, dict) else ""

    @cached_property
    def api_version(self) -> str:
        return self.root["apiVersion"].text if isinstance(self.value, dict) else ""

    @property
    def group(self) -> str:
        """The API group: "" for core kinds."""
        return self.api_version.rpartition("/")[0]

    @property
    def is_object(self) -> bool:
        """Whether it is a Kubernetes object."""
        return bool(self.kind and self.api_version)

    @cached_property
    def name(self) -> str:
        return self.root.at("metadata", "name").text

    @cached_property
    def namespace(self) -> str:
        return self.root.at("metadata", "namespace").text

    @cached_property
    def labels(self) -> Mapping[str, Any]:
        return self.root.at("metadata", "labels").mapping

    @cached_property
    def keys(self) -> frozenset[str]:
        """Names of fields anywhere in it: a rule that looks for one need not walk through where it is not."""
        found: set[str] = set()
        stack = [self.value]
        while stack:
            value = stack.pop()
            if isinstance(value, dict):
                found.update(map(str, value))
                stack += value.values()
            elif isinstance(value, list):
                stack += value
        return frozenset(found)

    @property
    def title(self) -> str:
        """`namespace/Kind/name`, as far as it has them."""
        return "/".join(part for part in (self.namespace, self.kind, self.name) if part) or self.outer

    def where(self, path: FieldPath, *, of_key: bool = False) -> Where:
        if not self.tree.is_placed:
            inner = dotted(path[len(self.base) :])
            return Where(file=self.file, object=f"{self.title} {inner}".strip())
        place = self.tree.place(path, of_key=of_key)
        return Where(file=self.file, line=place.line, column=place.column, object=self.title)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snippet:
    """Text that is not YAML: a script, prose, a log."""

    kind: SnippetKind
    file: str
    text: str
    shift: Shift = field(default_factory=Shift)
    object: str = ""
    """The object that it is in, or the pod whose log it is."""
    language: str = ""
    """The fence's word in Markdown."""

    def where(self, line: int, column: int) -> Where:
        """The place of a line and column of the text, both from 1."""
        if not self.file:
            return Where(object=self.object)
        place = self.shift.place(line, column)
        return Where(file=self.file, line=place.line, column=place.column, object=self.object)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that one run looks at, in a fixed order."""

    resources: tuple[Resource, ...] = ()
    snippets: tuple[Snippet, ...] = ()
    problems: tuple[Problem, ...] = ()
    """What could not be read, in words."""
    ignored: Mapping[str, Mapping[int, frozenset[str]]] = field(default_factory=dict)
    """By file and line, the codes that a comment there waves through; line 0 is the whole file."""
    files: int = 0
    absent: frozenset[tuple[str, str, str]] = frozenset()
    """Kind, namespace and name of objects that were asked for by name and are not there."""
    now: float = 0.0
    """When the cluster was read, in Unix seconds; 0 where no cluster was."""


def resource_of(value: Mapping[str, Any], source: str = "") -> Resource:
    """An object as an API server sends it; `source` names what it was read from, "" for the cluster itself."""
    plain: Any = dict(value)
    return Resource(file=source, tree=tree_of(plain), value=plain)


def joined(parts: list[Evidence]) -> Evidence:
    """Several evidences as one, in their order."""
    ignored: dict[str, Mapping[int, frozenset[str]]] = {}
    for part in parts:
        ignored.update(part.ignored)
    return Evidence(
        resources=tuple(r for part in parts for r in part.resources),
        snippets=tuple(s for part in parts for s in part.snippets),
        problems=tuple(p for part in parts for p in part.problems),
        ignored=ignored,
        files=sum(part.files for part in parts),
        absent=frozenset(key for part in parts for key in part.absent),
        now=max((part.now for part in parts), default=0.0),
    )
