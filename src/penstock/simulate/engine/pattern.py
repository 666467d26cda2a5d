"""Text that a regular expression matches: short, plain characters first.

Guarantees: what is returned matches. Lookarounds and back references are tried as if they were not there; where the
result then does not match, or the expression is no Python regular expression, it is a `ValueError`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

__all__ = ["pattern_text"]

Below = Callable[[int], int]
"""Draws a number from 0 to one less than its argument."""
_MORE_MAX = 3
"""Repetitions past the least that an open repeat gets."""
_PLAIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-. "
_CATEGORIES = {
    "CATEGORY_DIGIT": "0123456789",
    "CATEGORY_WORD": "abcdefghijklmnopqrstuvwxyz",
    "CATEGORY_SPACE": " ",
    "CATEGORY_NOT_DIGIT": "abcdefghijklmnopqrstuvwxyz",
    "CATEGORY_NOT_WORD": " ",
    "CATEGORY_NOT_SPACE": "abcdefghijklmnopqrstuvwxyz",
}


def pattern_text(regex: str, below: Below, *, is_whole: bool) -> str:
    """Text that `regex` matches: all of it where `is_whole`, else somewhere in it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compiled = re.compile(regex)
            parsed = re._parser.parse(regex)  # type: ignore[attr-defined]
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{regex!r} is not a regular expression: {error}") from error
    text = _sequence(parsed, below)
    if not (compiled.fullmatch(text) if is_whole else compiled.search(text)):
        raise ValueError(f"no text was found that {regex!r} matches")
    return text


def _sequence(parsed: Any, below: Below) -> str:
    return "".join(_one(str(kind), argument, below) for kind, argument in parsed)


def _one(kind: str, argument: Any, below: Below) -> str:
    match kind:
        case "LITERAL":
            return chr(argument)
        case "NOT_LITERAL":
            return next(c for c in _PLAIN if ord(c) != argument)
        case "ANY":
            return _PLAIN[below(26)]
        case "IN":
            return _member(argument, below)
        case "BRANCH":
            return _sequence(argument[1][below(len(argument[1]))], below)
        case "SUBPATTERN":
            return _sequence(argument[3], below)
        case "ATOMIC_GROUP":
            return _sequence(argument, below)
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            least, most, body = argument
            count = least + below(min(int(most) - least, _MORE_MAX) + 1)
            return "".join(_sequence(body, below) for _ in range(count))
    return ""


def _member(items: Any, below: Below) -> str:
    """A character of a class; of a negated one, a plain character that is not in it."""
    is_negated = str(items[0][0]) == "NEGATE"
    characters = "".join(_characters(str(kind), argument) for kind, argument in items[is_negated:])
    if is_negated:
        characters = "".join(c for c in _PLAIN if c not in characters) or "~"
    return characters[below(len(characters))]


def _characters(kind: str, argument: Any) -> str:
    match kind:
        case "LITERAL":
            return chr(argument)
        case "RANGE":
            low, high = argument
            return "".join(map(chr, range(low, min(high, low + 127) + 1)))
    return _CATEGORIES.get(str(argument), "a")
