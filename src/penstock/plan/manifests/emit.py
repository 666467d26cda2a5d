"""Manifests as YAML text, each reason a comment above its value. Pure, and the same text for the same manifests.

Why not a library: none writes comments at this speed; a fleet of a hundred models is fifteen hundred objects.
Guarantees that the text reads back as the object it was made from, by YAML 1.1 (what Kubernetes' tools read) and 1.2
alike: text that either would take for something else is quoted.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from penstock.plan.manifests.manifest import Because, Manifest

__all__ = ["emit", "emit_all"]

_WIDTH = 118
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@-]*(?:[:=+][A-Za-z0-9_./@-]+)*(?: [A-Za-z0-9_./@()=+-]+)*")
"""Text that needs no quotes in either YAML, apart from the words below. Narrow on purpose."""
_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf"}
"""What one of the two takes for something other than text, lower-cased."""


def emit(manifest: Manifest) -> str:
    """One document, without `---`."""
    lines: list[str] = []
    if manifest.heading:
        _comment(manifest.heading, "", lines)
    _mapping(manifest.body, "", lines)
    return "\n".join(lines) + "\n"


def emit_all(manifests: Iterable[Manifest]) -> str:
    """Several documents."""
    return "".join(f"---\n{emit(manifest)}" for manifest in manifests)


def _comment(text: str, indent: str, lines: list[str]) -> None:
    lines += _wrapped(text, indent)


@lru_cache(maxsize=4096)
def _wrapped(text: str, indent: str) -> tuple[str, ...]:
    return tuple(textwrap.wrap(text, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "))


def _mapping(body: dict[str, Any], indent: str, lines: list[str]) -> None:
    for name, value in body.items():
        if isinstance(value, Because):
            _comment(value.reason, indent, lines)
            value = _bare(value)
        _entry(f"{indent}{_text(name)}:", value, indent, lines)


def _sequence(items: Iterable[Any], indent: str, lines: list[str]) -> None:
    for item in items:
        if isinstance(item, Because):
            _comment(item.reason, indent, lines)
            item = _bare(item)
        if isinstance(item, dict) and item:
            _item(item, indent, lines)
        else:
            _entry(f"{indent}-", item, indent, lines)


def _item(body: dict[str, Any], indent: str, lines: list[str]) -> None:
    """A mapping in a list: its first line carries the dash, and what is said of that line stands above it."""
    start = len(lines)
    _mapping(body, f"{indent}  ", lines)
    while lines[start].startswith(f"{indent}  # "):
        lines[start] = indent + lines[start][len(indent) + 2 :]
        start += 1
    lines[start] = f"{indent}- {lines[start][len(indent) + 2 :]}"


def _entry(start: str, value: Any, indent: str, lines: list[str]) -> None:
    """`start` and a value: on the same line where it is a scalar or empty, below it else."""
    if isinstance(value, dict) and value:
        lines.append(start)
        _mapping(value, f"{indent}  ", lines)
    elif isinstance(value, list | tuple) and value:
        lines.append(start)
        _sequence(value, f"{indent}  ", lines)
    elif isinstance(value, str) and "\n" in value and _is_block(value):
        lines.append(f"{start} |{'' if value.endswith(chr(10)) else '-'}")
        lines += (f"{indent}  {line}" if line else "" for line in value.removesuffix("\n").split("\n"))
    else:
        lines.append(f"{start} {_scalar(value)}")


def _bare(value: Any) -> Any:
    while isinstance(value, Because):
        value = value.value
    return value


def _scalar(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return json.dumps(value)
        case str():
            return _text(value)
        case dict():
            return "{}"
        case list() | tuple():
            return "[]"
        case _:
            raise TypeError(f"{type(value).__name__} has no YAML form")


@lru_cache(maxsize=4096)
def _text(value: str) -> str:
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return "".join(map(_escaped, json.dumps(value, ensure_ascii=False)))


def _escaped(char: str) -> str:
    """A character as both YAMLs read it in double quotes."""
    if char.isprintable():
        return char
    return f"\\u{ord(char):04x}" if ord(char) < 1 << 16 else f"\\U{ord(char):08x}"


def _is_block(value: str) -> bool:
    """Whether a literal block reads back as this text."""
    body = value.removesuffix("\n")
    lines = body.split("\n")
    return (
        bool(body)
        and not body.endswith("\n")
        and not lines[0].startswith((" ", "\t"))
        and bool(lines[0])
        and all(line.isprintable() or "\t" in line for line in lines)
        and all(char.isprintable() or char in "\n\t" for char in body)
        and not any(line and not line.strip() for line in lines)
    )
