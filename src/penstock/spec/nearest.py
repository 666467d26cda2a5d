"""Nearest names: what a person probably meant when they wrote a name that we do not know. Pure.

Used for fields of the fleet file, for models in the gateway's 404, and for tables of facts. Bounded work: only the
start of a long name is compared, since a client may choose it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher

__all__ = ["fold", "nearest", "similarity"]

_SIMILARITY_MIN = 0.6
"""Share of characters in common below which a name is a different name, not a slip (difflib's own default)."""
_NAME_CHARS_MAX = 200
"""A longer name is compared by its start: similarity costs the square of the length."""
_LAST_PART_WEIGHT = 0.99
"""A match of the last path part alone ranks just below the same match of the whole name."""


def fold(name: str) -> str:
    """`name` without case and word separators: `maxModelLen` and `max_model-len` both give `maxmodellen`."""
    return re.sub(r"[\s._:/-]", "", name).lower()


def similarity(name: str, candidate: str) -> float:
    """How alike two names are, 0 to 1. 1: the same but for case and separators.

    A candidate's last path part counts nearly as much as its whole: `qwen3-8b` is like `Qwen/Qwen3-8B`.
    """
    wanted = fold(name[:_NAME_CHARS_MAX])
    candidate = candidate[:_NAME_CHARS_MAX]
    whole, last = fold(candidate), fold(candidate.rpartition("/")[2])
    if not wanted:
        return 0.0
    if last == whole:
        return _ratio(wanted, whole)
    return max(_ratio(wanted, whole), _ratio(wanted, last) * _LAST_PART_WEIGHT)


def nearest(name: str, candidates: Iterable[str], limit: int = 3) -> list[str]:
    """The candidates most like `name`, best first, ties in alphabetical order; empty when none is alike."""
    scored = [(-similarity(name, candidate), candidate) for candidate in set(candidates)]
    return [candidate for score, candidate in sorted(scored) if -score >= _SIMILARITY_MIN][: max(0, limit)]


def _ratio(a: str, b: str) -> float:
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    if matcher.real_quick_ratio() < _SIMILARITY_MIN or matcher.quick_ratio() < _SIMILARITY_MIN:
        return 0.0  # cannot reach the bar; skips the costly comparison
    return matcher.ratio()
