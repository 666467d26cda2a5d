"""Kubernetes quantities as the API server keeps them, so that a second apply finds nothing to change. Pure."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

from penstock.spec.quantity import parse_quantity

__all__ = ["canonical"]

_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL = ("m", "", "k", "M", "G", "T", "P", "E")


@lru_cache(maxsize=1024)
def canonical(text: str) -> str:
    """The same quantity as the API server writes it: `1024Mi` is `1Gi`, `1000m` is `1`, `1.5Gi` is `1536Mi`.

    What is finer than a thousandth is rounded up, as the API server does for CPU.
    """
    value = parse_quantity(text)
    if text.endswith("i") and value >= 1024 and value == value.to_integral_value():
        return _largest(value, 1024, _BINARY)
    milli = -(-value * 1000 // 1)
    return _largest(milli, 1000, _DECIMAL)


def _largest(number: Decimal, base: int, suffixes: tuple[str, ...]) -> str:
    """The number with the largest suffix that leaves it whole."""
    whole, place = int(number), 0
    while whole and whole % base == 0 and place < len(suffixes) - 1:
        whole, place = whole // base, place + 1
    return f"{whole}{suffixes[place]}" if whole else "0"
