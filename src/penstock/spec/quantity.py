"""Kubernetes quantities: `100Gi`, `500m`, `2`. Pure."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator

from penstock.spec.base import Words

__all__ = ["ByteSize", "Cpu", "parse_quantity"]

_FORM = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|([KMGTPE]i|[mkMGTPEnu]))?")
_FACTORS = {
    **{name: Decimal(1000) ** power for power, name in enumerate(("k", "M", "G", "T", "P", "E"), start=1)},
    **{f"{name}i": Decimal(1024) ** power for power, name in enumerate(("K", "M", "G", "T", "P", "E"), start=1)},
    "m": Decimal("1e-3"),
    "u": Decimal("1e-6"),
    "n": Decimal("1e-9"),
}


def parse_quantity(text: str) -> Decimal:
    """The number that a Kubernetes quantity means: `1Gi` is 1073741824, `500m` is 0.5.

    Raises:
        ValueError: it is none.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no Kubernetes quantity such as 100Gi, 500m or 2")
    number, exponent, suffix = match.groups()
    return Decimal(number + (exponent or "")) * _FACTORS.get(suffix or "", Decimal(1))


def _bytes(text: str) -> str:
    if text.endswith(("m", "u", "n")) or parse_quantity(text) <= 0:
        raise ValueError("must be a size above 0, as in 100Gi")
    return text


def _cpu(text: str) -> str:
    if parse_quantity(text) <= 0:
        raise ValueError("must be a number of CPUs above 0, as in 500m or 8")
    return text


ByteSize = Annotated[str, AfterValidator(_bytes), Words("a size, as in `100Gi`")]
Cpu = Annotated[str, AfterValidator(_cpu), Words("a number of CPUs as text, as in `500m` or `8`")]
