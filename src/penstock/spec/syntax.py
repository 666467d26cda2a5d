"""YAML syntax errors in words that help: the parser's own speak of tokens and blocks. Pure."""

from __future__ import annotations

import re

from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from penstock.errors import Problem

__all__ = ["syntax_problem"]

_SAYINGS: tuple[tuple[str, str, str], ...] = (
    (
        r"found character '\\t'",
        "a tab stands where YAML wants spaces",
        "indent with spaces; most editors can convert tabs",
    ),
    (
        r"found character '(?P<a>.)' that cannot start",
        "text cannot begin with `{a}`",
        "put the text in quotes",
    ),
    (
        r"mapping values are not allowed",
        "there is a `:` here that YAML cannot place",
        "check this line's indentation, and put text that holds `: ` in quotes",
    ),
    (
        r"sequence entries are not allowed",
        "a list item `- ` cannot begin here",
        "begin the list on a line of its own, below its field",
    ),
    (
        r"mapping keys are not allowed",
        "`? ` begins a key here, where YAML wants a value",
        "put text that begins with `?` in quotes",
    ),
    (
        r"expected the node content",
        "a value is missing here",
        "write one, or put text that begins with `-`, `}` or `]` in quotes",
    ),
    (
        r"expected (?:a comment or a line break|chomping)",
        "nothing may follow `|` or `>` on the line",
        "begin the text on the next line, or put it in quotes",
    ),
    (
        r"expected ',' or '(?P<a>[\]}])'",
        "this list or mapping in brackets is not closed with `{a}`",
        "close it, or put one entry on each line without brackets",
    ),
    (
        r"found unexpected (?:end of stream|document separator)",
        "the quote that begins here is not closed",
        "close the quote",
    ),
    (
        r"expected <block end>",
        "a line of this block is indented unlike the others",
        "let entries of one block begin in the same column, and list items with `- `",
    ),
    (
        r"(?:could not find expected ':'|expected ':')",
        "this line is neither `field: value` nor `- item`",
        "put a space after the `:`; text over several lines needs `|` or quotes",
    ),
    (
        r"found undefined alias '?(?P<a>[^']*)'?",
        "`*{a}` refers to an anchor `&{a}` that is nowhere above",
        "define the anchor first, or put the text in quotes",
    ),
    (
        r"(?:found unknown escape character|expected escape sequence)",
        "this backslash means nothing inside double quotes",
        "use single quotes, in which a backslash is a backslash",
    ),
    (
        r"expected alphabetic or numeric character",
        "`*` and `&` begin an alias or an anchor, and no name follows",
        "put the text in quotes",
    ),
    (
        r"(?:expected '<document start>'|did not find expected <document start>)",
        "something follows the end of the document",
        "check the indentation of this line",
    ),
)
_POINT_AT_CONTEXT = re.compile(r"expected ',' or|unexpected end of stream|unexpected document separator|expected ':'")
"""The parser notices these further down; what is wrong stands where the construct began."""


def syntax_problem(error: YAMLError, file: str) -> Problem:
    """What a parser's error means, and where."""
    if isinstance(error, ReaderError):
        code = error.character if isinstance(error.character, int) else ord(str(error.character)[:1])
        message = f"character U+{code:04X} at place {error.position + 1} of the file is not text"
        return Problem(file=file, line=0, column=0, field="", message=message, hint="save the file as plain UTF-8 text")
    if not isinstance(error, MarkedYAMLError):
        return Problem(file=file, line=0, column=0, field="", message=f"is not valid YAML: {error}")
    said: str = error.problem or error.context or "cannot be read"
    mark = error.problem_mark or error.context_mark
    if _POINT_AT_CONTEXT.search(said) and error.context_mark is not None:
        mark = error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
    message, hint = _in_words(said)
    return Problem(file=file, line=line, column=column, field="", message=message, hint=hint)


def _in_words(said: str) -> tuple[str, str | None]:
    for pattern, message, hint in _SAYINGS:
        match = re.search(pattern, said)
        if match is not None:
            return message.format(**match.groupdict()), hint
    return f"this is not valid YAML: {said}", None
