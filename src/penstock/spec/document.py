"""YAML text as plain values, with the place of every one of them. Pure.

YAML 1.2 core schema: `yes`, `on`, `010`, `1_000` and dates are not booleans, octals, numbers or dates. Merge keys
(`<<: *anchor`) work as other Kubernetes tools take them. Guarantees: one document, keys are text, no key twice, no
value that contains itself; whatever is wrong is a `Problem` with its place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from penstock.errors import Problem, SpecError
from penstock.spec.base import FieldPath
from penstock.spec.syntax import syntax_problem

__all__ = ["Document", "Place", "Plain", "dotted", "parse_document", "scalar_value"]

Plain = str | int | float | bool | None | list["Plain"] | dict[str, "Plain"]
"""What YAML's core schema can say."""

_DEPTH_MAX = 50
"""Nesting past which a file is refused; a fleet file needs 9 levels."""
_VALUES_MAX = 100_000
"""Values of one file, aliases unfolded, past which it is refused: a thousand models need 40,000."""

_MERGE = "tag:yaml.org,2002:merge"
_STR = "tag:yaml.org,2002:str"
_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "value")
)
_NULL = re.compile(r"(?:~|null|Null|NULL|)\Z")
_TRUE = re.compile(r"(?:true|True|TRUE)\Z")
_FALSE = re.compile(r"(?:false|False|FALSE)\Z")
_INT = re.compile(r"[-+]?[0-9]+\Z")
_INT_OCTAL = re.compile(r"0o[0-7]+\Z")
_INT_HEX = re.compile(r"0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_FLOAT_SPECIAL = re.compile(r"(?:([-+])?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z")
_DIGITS_MAX = 40
"""A longer number is left as text: no field takes it, and converting it costs the square of its length."""


@dataclass(frozen=True, slots=True)
class Place:
    """A line and column of the file, both from 1."""

    line: int
    column: int


class Document:
    """One YAML document: its value, where each part of it stands, and what is wrong with it as YAML.

    Places are kept by path: of the value, and of the key it is under.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.value: Plain = None
        self.problems: list[Problem] = []
        self._values: dict[FieldPath, Place] = {}
        self._keys: dict[FieldPath, Place] = {}
        self._count = 0

    def place(self, path: FieldPath, *, of_key: bool = False) -> Place:
        """Where `path` stands; where it is not in the file, the nearest object around it."""
        for end in range(len(path), -1, -1):
            tables = (self._keys, self._values) if of_key and end == len(path) else (self._values, self._keys)
            for table in tables:
                if path[:end] in table:
                    return table[path[:end]]
        return Place(1, 1)

    def problem(self, path: FieldPath, message: str, hint: str | None = None, *, of_key: bool = False) -> Problem:
        """A problem at `path` of this file."""
        place = self.place(path, of_key=of_key)
        return Problem(
            file=self.file, line=place.line, column=place.column, field=dotted(path), message=message, hint=hint
        )

    def read(self, root: Node) -> None:
        """Takes the value and the places of a composed document."""
        self.value = self._plain(root, (), frozenset())

    def _plain(self, node: Node, path: FieldPath, around: frozenset[int]) -> Plain:
        self._values.setdefault(path, _place(node))
        self._count += 1
        if id(node) in around:
            self._refuse(node, path, "is an alias of something around it: the value would contain itself")
        if len(around) > _DEPTH_MAX:
            self._refuse(node, path, f"is nested more than {_DEPTH_MAX} levels deep")
        if self._count > _VALUES_MAX:
            self._refuse(
                node, path, f"the file holds more than {_VALUES_MAX} values, counted with its aliases unfolded"
            )
        if node.tag not in _TAGS:
            self._refuse(node, path, f"has the tag {node.tag}, which a fleet file does not take")
        inside = around | {id(node)}
        if isinstance(node, MappingNode):
            return self._mapping(node, path, inside)
        if isinstance(node, SequenceNode):
            return [self._plain(item, (*path, place), inside) for place, item in enumerate(node.value)]
        assert isinstance(node, ScalarNode)
        if not node.value and node.style is None and path in self._keys:
            self._values[path] = self._keys[path]  # an empty value has no place of its own
        return _scalar(node)

    def _mapping(self, node: MappingNode, path: FieldPath, inside: frozenset[int]) -> dict[str, Plain]:
        result: dict[str, Plain] = {}
        merged: list[Node] = []
        for key, value in node.value:
            if key.tag == _MERGE:
                merged += value.value if isinstance(value, SequenceNode) else [value]
                continue
            if not isinstance(key, ScalarNode):
                self._refuse(key, path, "a key must be text, not a list or a mapping")
            name = str(key.value)
            here = (*path, name)
            if name in result:
                first = self._keys[here]
                self._say(key, here, f"is written twice; the first is on line {first.line}", "keep one of the two")
                continue
            self._keys.setdefault(here, _place(key))
            result[name] = self._plain(value, here, inside)
        for source in merged:
            extra = self._plain(source, path, inside)
            if not isinstance(extra, dict):
                self._refuse(source, path, "`<<` merges mappings only")
            result = {**extra, **result}
        return result

    def _say(self, node: Node, path: FieldPath, message: str, hint: str | None = None) -> None:
        place = _place(node)
        self.problems.append(
            Problem(
                file=self.file, line=place.line, column=place.column, field=dotted(path), message=message, hint=hint
            )
        )

    def _refuse(self, node: Node, path: FieldPath, message: str) -> NoReturn:
        self._say(node, path, message)
        raise SpecError(self.problems)


def parse_document(text: str, file: str) -> Document:
    """Reads the one YAML document of a file.

    Raises:
        SpecError: the text is not YAML, holds no document or several, or says something that no fleet file may.
    """
    yaml = YAML(typ="rt", pure=True)
    yaml.composer.warn_double_anchors = False  # YAML 1.2 lets an anchor be defined anew
    try:
        nodes = [node for node in yaml.compose_all(text) if node is not None and not _is_nothing(node)]
    except YAMLError as error:
        raise SpecError([syntax_problem(error, file)]) from error
    except RecursionError as error:
        message = f"is nested more than {_DEPTH_MAX} levels deep"
        raise SpecError([Problem(file=file, line=0, column=0, field="", message=message)]) from error
    if not nodes:
        hint = "a fleet file begins with `apiVersion: penstock.dev/v1alpha1` and `kind: Fleet`"
        raise SpecError([Problem(file=file, line=1, column=1, field="", message="the file says nothing", hint=hint)])
    if len(nodes) > 1:
        place = _place(nodes[1])
        message = f"a second YAML document begins here ({len(nodes)} in all); a fleet file holds one"
        hint = "put each fleet in a file of its own"
        problem = Problem(file=file, line=place.line, column=place.column, field="", message=message, hint=hint)
        raise SpecError([problem])
    document = Document(file)
    document.read(nodes[0])
    return document


def dotted(path: FieldPath) -> str:
    """`("spec", "models", 0, "name")` → `spec.models[0].name`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif "." in part or "[" in part:
            text += f'["{part}"]'
        else:
            text += f".{part}" if text else part
    return text


def _place(node: Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def _is_nothing(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.style is None and not node.value


def _scalar(node: ScalarNode) -> str | int | float | bool | None:
    """The value of a scalar by YAML 1.2's core schema."""
    return scalar_value(str(node.value), is_plain=node.style is None and node.tag != _STR)


def scalar_value(text: str, *, is_plain: bool) -> str | int | float | bool | None:
    """What a scalar's text means; `is_plain` where it has no quotes, block or tag that makes it text."""
    if not is_plain or len(text) > _DIGITS_MAX:
        return text
    if _NULL.match(text):
        return None
    if _TRUE.match(text):
        return True
    if _FALSE.match(text):
        return False
    return _number(text)


def _number(text: str) -> str | int | float:
    """The number that plain text is, or the text."""
    if _INT.match(text):
        return int(text)
    if _INT_OCTAL.match(text):
        return int(text[2:], 8)
    if _INT_HEX.match(text):
        return int(text[2:], 16)
    if _FLOAT.match(text):
        return float(text)
    if _FLOAT_SPECIAL.match(text):
        return float(text.replace(".", "").lower())
    return text
