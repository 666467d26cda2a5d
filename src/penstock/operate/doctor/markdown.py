"""Markdown taken apart: code in fences and spans, prose by paragraph. Pure.

Guarantees: each part knows its line; nothing is both code and prose.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Part", "comment_prose", "parts_of"]

_FENCE = re.compile(r"^(\s*)(```+|~~~+)\s*([\w+-]*)")
_SPAN = re.compile(r"`([^`\n]+)`")
_TOOL = re.compile(r"(?:sudo )?(?:kubectl|helm|vllm|nvidia-smi|docker|python3?) \S+ \S")
_COMMENT = re.compile(r"(?:^|\s)#+\s?(.*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A piece of a page. `line` and `column` are those above and left of it: add the piece's own."""

    language: str
    """The fence's word, "" for a fence without; `prose`; `span` for a command in backticks."""
    line: int
    column: int
    text: str


def parts_of(text: str) -> list[Part]:
    """Fences, paragraphs and commands in spans, in the order of the page."""
    found: list[Part] = []
    lines = text.split("\n")
    place = 0
    prose: list[str] = []

    def close() -> None:
        if any(line.strip() for line in prose):
            found.append(Part(language="prose", line=place - len(prose), column=0, text="\n".join(prose)))
        prose.clear()

    while place < len(lines):
        fence = _FENCE.match(lines[place])
        if fence is None:
            line = lines[place]
            if not line.strip() or re.match(r"\s*([-*+|]|\d+\.)\s?", line):
                close()
            if line.strip():
                prose.append(line)
            found += _spans(line, place)
            place += 1
            continue
        close()
        indent, mark, language = fence.groups()
        end = place + 1
        while end < len(lines) and not re.match(rf"\s*{re.escape(mark)}\s*$", lines[end]):
            end += 1
        body = [line[len(indent) :] if line[: len(indent)].isspace() else line for line in lines[place + 1 : end]]
        found.append(Part(language=language.lower(), line=place + 1, column=len(indent), text="\n".join(body)))
        place = end + 1
    close()
    return found


def _spans(line: str, place: int) -> list[Part]:
    return [
        Part(language="span", line=place, column=match.start(1), text=match.group(1))
        for match in _SPAN.finditer(line)
        if _TOOL.match(match.group(1))
    ]


def comment_prose(text: str) -> list[Part]:
    """What the comments of YAML or a script say; neighbouring lines of comment are one paragraph."""
    found: list[Part] = []
    lines = text.split("\n")
    for place, line in enumerate(lines):
        if "#" not in line or line.startswith("#!"):
            continue
        match = _COMMENT.search(line)
        if match is None or not match.group(1).strip():
            continue
        last = found[-1] if found else None
        is_alone = not line[: match.start()].strip()
        if last is not None and is_alone and last.line + last.text.count("\n") == place - 1:
            found[-1] = Part(language="prose", line=last.line, column=0, text=f"{last.text}\n{match.group(1)}")
        else:
            found.append(Part(language="prose", line=place, column=match.start(1), text=match.group(1)))
    return found
