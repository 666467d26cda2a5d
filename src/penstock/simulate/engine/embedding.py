"""Embeddings of the simulated engine: unit vectors, the same for the same tokens, closer for texts that share words.

Each word, whatever its case, points some way in a few of the dimensions; a text is the weighted sum of its words. It
has no sense of meaning beyond shared words.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Sequence
from zlib import crc32

from penstock.simulate.engine.generation import context_hash, mix
from penstock.simulate.engine.text import tokenizer

__all__ = ["embed", "similarity"]

_WAYS = 16
"""Dimensions that one token points to: enough that two tokens seldom share many, few enough to be quick."""
_NOISE = 0.01
"""Size of the part that depends on the order of tokens, so that no two texts have the same vector."""


@functools.lru_cache(maxsize=32_768)
def _direction(word: bytes, dims: int) -> tuple[tuple[int, float], ...]:
    """Dimensions and amounts of one word."""
    ways: list[tuple[int, float]] = []
    draw = crc32(word)
    for _ in range(_WAYS):
        draw = mix(draw + 0x9E3779B97F4A7C15)
        ways.append((draw % dims, 1.0 if draw & (1 << 40) else -1.0))
    return tuple(ways)


def embed(ids: Sequence[int], dims: int) -> list[float]:
    """A vector of length 1 and `dims` dimensions."""
    vector = [0.0] * dims
    known = tokenizer()
    for token_id, count in sorted(Counter(ids).items()):
        word = known.bytes_of[token_id].strip().lower() if token_id < known.vocab_size else b"?"
        weight = math.sqrt(count) * (1.0 if len(word) > 1 and word.isalnum() else 0.25)
        for place, amount in _direction(word, dims):
            vector[place] += weight * amount
    draw = context_hash(ids)
    for place in range(dims):
        draw = mix(draw + place)
        vector[place] += _NOISE * ((draw & 0xFFFF) / 32768 - 1.0)
    return _unit(vector)


def _unit(vector: list[float]) -> list[float]:
    length = math.sqrt(sum(v * v for v in vector))
    return [v / length for v in vector] if length else [1.0, *vector[1:]]


def similarity(a: Sequence[float], b: Sequence[float]) -> float:
    """Cosine of two unit vectors, -1 to 1."""
    return sum(x * y for x, y in zip(a, b, strict=True))
