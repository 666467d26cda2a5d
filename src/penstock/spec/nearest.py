"""Nearest names: what a person probably meant when they wrote a name that we do not know. Pure.

Used for fields of the fleet file, for models in the gateway's 404, and for tables of facts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher

__all__ = ["fold", "nearest"]

_SIMILARITY_MIN = 0.6
"""Share of characters in common below which a name is a different name, not a slip (difflib's own default)."""
_NAME_CHARS_MAX = 200
"""A longer input is compared by its start: similarity is quadratic, and a client chooses the input."""


def fold(name: str) -> str:
    """What is left of a name when case and word separators are dropped: `maxModelLen`, `max_model-len` → `maxmodellen`."""
    return re.sub(r"[\s._:/-]", "", name).lower()


def nearest(name: str, candidates: Iterable[str], limit: int = 3) -> list[str]:
    """The candidates most like `name`, best first, ties in alphabetical order; empty when none is alike.

    A name that differs only in case or separators always comes first; then names that hold `name` as their last path
    part (`Qwen3-8B` → `Qwen/Qwen3-8B`); then by similarity.
    """
    wanted = fold(name[:_NAME_CHARS_MAX])
    if not wanted or limit < 1:
        return []
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(wanted)
    scored: list[tuple[float, str]] = []
    for candidate in set(candidates):
        score = _similarity(matcher, wanted, candidate[:_NAME_CHARS_MAX])
        if score >= _SIMILARITY_MIN:
            scored.append((-score, candidate))
    return [candidate for _, candidate in sorted(scored)[:limit]]


def _similarity(matcher: SequenceMatcher[str], wanted: str, candidate: str) -> float:
    """1 for the same name; a share of common characters otherwise, over the whole name or its last path part."""
    best = 0.0
    for part, weight in ((candidate, 1.0), (candidate.rpartition("/")[2], 0.99)):
        folded = fold(part)
        if not folded:
            continue
        matcher.set_seq1(folded)
        if matcher.real_quick_ratio() * weight > best and matcher.quick_ratio() * weight > best:
            best = max(best, matcher.ratio() * weight)
    return best
