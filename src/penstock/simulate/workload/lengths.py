"""How many tokens: a mixture of log-normal humps, each given by its median and 99th percentile.

Guarantees: draws are whole numbers from 1 to the cap, and depend only on the random stream that is handed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from statistics import NormalDist

from penstock.errors import UsageError

__all__ = ["Hump", "Lengths", "parse_lengths"]

_Z99 = NormalDist().inv_cdf(0.99)
_CAP_DEFAULT = 128_000  # the context of the larger open-weight models


@dataclass(frozen=True, slots=True, kw_only=True)
class Hump:
    """One mode of a distribution of lengths. `p99 == p50` is a fixed length."""

    weight: float = 1.0
    p50: float
    p99: float

    def draw(self, rng: Random) -> float:
        """One length, not yet rounded or capped."""
        sigma = math.log(self.p99 / self.p50) / _Z99
        return self.p50 * math.exp(rng.gauss(0.0, sigma)) if sigma else self.p50


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """A distribution of token counts."""

    humps: tuple[Hump, ...]
    cap: int = _CAP_DEFAULT

    @classmethod
    def of(cls, p50: float, p99: float | None = None, *, cap: int = _CAP_DEFAULT) -> Lengths:
        """One hump; a fixed length when there is no `p99`."""
        return cls(humps=(Hump(p50=p50, p99=p50 if p99 is None else p99),), cap=cap)

    def draw(self, rng: Random) -> int:
        """One length in tokens, from 1 to the cap."""
        hump = self.humps[0]
        if len(self.humps) > 1:
            hump = rng.choices(self.humps, [h.weight for h in self.humps])[0]
        return max(1, min(self.cap, round(hump.draw(rng))))


def parse_lengths(text: str, *, option: str) -> Lengths:
    """`512` is a fixed length, `1000:7400` a distribution with that median and 99th percentile."""
    cells = text.split(":")
    if len(cells) > 2 or not all(cell.strip().isdecimal() and int(cell) > 0 for cell in cells):
        raise UsageError(
            f"{option}: '{text}' is not a number of tokens",
            hint=f"a fixed length: {option} 512; a distribution by median and 99th percentile: {option} 1000:7400",
        )
    p50, p99 = int(cells[0]), int(cells[-1])
    if p99 < p50:
        raise UsageError(f"{option}: the 99th percentile ({p99}) is under the median ({p50})")
    return Lengths.of(p50, p99, cap=max(_CAP_DEFAULT, p50))
