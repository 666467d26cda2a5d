"""Which endpoint a key belongs to, agreed without talking: the one that draws the highest lot for it.

Guarantees: every gateway that sees the same endpoints gets the same order; when an endpoint goes, only its keys move,
and they spread over all others; shares are even. Highest-random-weight hashing. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from xxhash import xxh3_64_intdigest

from penstock.serve.routing.endpoints import Endpoint

__all__ = ["MASK", "ODD", "bounded_home", "home", "key_of", "lot", "seed_of"]

MASK = (1 << 64) - 1
ODD = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio: its products spread over the high bits."""
_IDS_MAX = 4096
_BOUND = 1.25
"""Load over the mean that an endpoint may have before its keys go to the next one: as in the published consistent
hashing with bounded loads, where a quarter over the mean moves few keys and no endpoint drowns."""
_BOUND_MIN = 8.0
"""Load that no endpoint is too busy for: an engine decodes eight requests in nearly the time of one, and a bound of two
or three would move keys by chance."""


@lru_cache(maxsize=_IDS_MAX)
def seed_of(endpoint_id: str) -> int:
    """What an endpoint's lots are drawn with; the same in every process."""
    return xxh3_64_intdigest(endpoint_id.encode())


def key_of(text: str) -> int:
    """A key of 64 bits from a text, the same in every process."""
    return xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))


def lot(key: int, seed: int) -> int:
    """The lot that an endpoint draws for a key; the highest wins."""
    mixed = ((key ^ seed) * ODD) & MASK
    return ((mixed ^ (mixed >> 29)) * ODD) & MASK


def home(key: int, candidates: Sequence[Endpoint]) -> Endpoint:
    """The endpoint of a key. `candidates` is not empty."""
    return max(candidates, key=lambda e: lot(key, seed_of(e.id)))


def bounded_home(key: int, candidates: Sequence[Endpoint], loads: Sequence[float]) -> Endpoint:
    """The first endpoint in the key's order whose load, with this request, is within the bound of the mean."""
    bound = max(_BOUND_MIN, _BOUND * (sum(loads) + 1.0) / len(candidates))
    best, best_lot = None, -1
    for endpoint, load in zip(candidates, loads, strict=True):
        if load + 1.0 <= bound and (drawn := lot(key, seed_of(endpoint.id))) > best_lot:
            best, best_lot = endpoint, drawn
    if best is not None:
        return best
    return candidates[min(range(len(candidates)), key=loads.__getitem__)]
