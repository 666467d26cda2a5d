"""Manifests as YAML text, each reason a comment above its value. Pure, and the same text for the same manifests.

Why not a library: none writes comments at this speed; a fleet of a hundred models is fifteen hundred objects.
Guarantees that the text reads back as the object it was made from, by YAML 1.1 (what Kubernetes' tools read) and 1.2
alike: text that either would take for something else is quoted.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Iterator
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
        lines += _comment(manifest.heading, "")
    lines += _mapping(manifest.body, "")
    return "\n".join(lines) + "\n"


def emit_all(manifests: Iterable[Manifest]) -> str:
    """Several documents."""
    return "".join(f"---\n{emit(manifest)}" for manifest in manifests)


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


def _mapping(body: dict[str, Any], indent: str) -> Iterator[str]:
    for name, value in body.items():
        if isinstance(value, Because):
            yield from _comment(value.reason, indent)
        yield from _entry(f"{indent}{_text(str(name))}:", _bare(value), indent)


def _sequence(items: Iterable[Any], indent: str) -> Iterator[str]:
    for item in items:
        if isinstance(item, Because):
            yield from _comment(item.reason, indent)
        value = _bare(item)
        if isinstance(value, dict) and value:
            first, *rest = _without_leading_comment(_mapping(value, f"{indent}  "), f"{indent}  ")
            yield from (line for line in first[:-1])
            yield f"{indent}- {first[-1].lstrip()}"
            yield from rest
        else:
            yield from _entry(f"{indent}-", value, indent)


def _without_leading_comment(lines: Iterator[str], indent: str) -> Iterator[Any]:
    """First a list: comments before the first entry, moved above the dash, and its first line. Then the rest."""
    head: list[str] = []
    for line in lines:
        if line.startswith(f"{indent}# "):
            head.append(line[2:])
            continue
        head.append(line)
        break
    yield head
    yield from lines


def _entry(start: str, value: Any, indent: str) -> Iterator[str]:
    """`start` and a value: on the same line where it is a scalar or empty, below it else."""
    match value:
        case dict() if value:
            yield start
            yield from _mapping(value, f"{indent}  ")
        case list() | tuple() if value:
            yield start
            yield from _sequence(value, f"{indent}  ")
        case str() if "\n" in value and _is_block(value):
            yield f"{start} |{'' if value.endswith(chr(10)) else '-'}"
            yield from (f"{indent}  {line}" if line else "" for line in value.removesuffix("\n").split("\n"))
        case _:
            yield f"{start} {_scalar(value)}"


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


def _text(value: str) -> str:
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=True)


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
