"""Kubernetes' ways of writing amounts: `16Gi`, `500m`, `1m30s`, `25%`. Pure.

Guarantees: what is no amount gives None, never an exception: a file of somebody else may say anything.
"""

from __future__ import annotations

import math
import re

__all__ = ["count_of", "duration_s", "quantity"]

_SUFFIXES: dict[str, float] = {
    "": 1, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60,
}  # fmt: skip
_MOST = 1e24
"""No amount of anything; also keeps infinity and what is no number out."""
_QUANTITY = re.compile(r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)([numkKMGTPE]?i?)\s*\Z")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w|y)")
_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}


def quantity(value: object) -> float | None:
    """A resource quantity as a number: bytes of memory, cores, devices."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return float(value) if abs(value) < _MOST else None
    match = _QUANTITY.match(str(value))
    if match is None or match.group(2) not in _SUFFIXES:
        return None
    number = float(match.group(1)) * _SUFFIXES[match.group(2)]
    return number if number < _MOST else None


def duration_s(value: object) -> float | None:
    """A duration in seconds: a bare number, or Go's and Prometheus' way of writing it."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    text = str(value).strip() if value is not None else ""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def count_of(value: object, total: int, *, round_up: bool) -> int | None:
    """An int-or-percentage of `total`, rounded as Kubernetes does for that field."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return value
    text = str(value).strip()
    if text.isdigit():
        return int(text)
    if not re.fullmatch(r"\d+(\.\d+)?%", text):
        return None
    share = float(text[:-1]) * total / 100
    return math.ceil(share - 1e-9) if round_up else math.floor(share + 1e-9)
