"""Resource quantities: `1.5`, `500m`, `2Gi` as numbers, and in the one form that the API server stores. Pure.

Source: `k8s.io/apimachinery` `pkg/api/resource` (suffixes and canonical form).
"""

from __future__ import annotations

import re
from fractions import Fraction

__all__ = ["amount_of", "canonical", "shown_amount"]

_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL = {"n": -3, "u": -2, "m": -1, "": 0, "k": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
_SUFFIX = {power: suffix for suffix, power in _DECIMAL.items()}
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([KMGTPE]i)|([numkMGTPE])|[eE]([+-]?\d+))?")


def amount_of(text: str | float) -> Fraction:
    """The number that a quantity means.

    Raises:
        ValueError: it is none.
    """
    match = _QUANTITY.fullmatch(str(text))
    if match is None:
        raise ValueError("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")
    number, binary, decimal, exponent = match.groups()
    if exponent is not None and abs(int(exponent)) > 30:
        raise ValueError(f"the exponent of {text} is out of range")
    scale = Fraction(1)
    if binary:
        scale = Fraction(1024) ** _BINARY.index(binary)
    elif decimal:
        scale = Fraction(1000) ** _DECIMAL[decimal]
    elif exponent:
        scale = Fraction(10) ** int(exponent)
    return Fraction(number) * scale


def canonical(text: str | float) -> str:
    """The stored form: the largest suffix that leaves a whole number, of the family that was written.

    Raises:
        ValueError: it is no quantity.
    """
    amount = amount_of(text)
    written = str(text)
    match = _QUANTITY.fullmatch(written)
    assert match is not None
    if match[2] and (amount.denominator == 1):
        return _binary(int(amount))
    if match[4] is not None:
        return _exponential(amount)
    return _decimal(amount)


def _binary(amount: int) -> str:
    power = 0
    while amount and amount % 1024 == 0 and power < 6:
        amount //= 1024
        power += 1
    return f"{amount}{_BINARY[power]}"


def _decimal(amount: Fraction) -> str:
    nano = -(-amount * 1000**3 // 1)  # rounded up, as the real one does with what is finer
    power = -3
    while nano and nano % 1000 == 0 and power < 6:
        nano //= 1000
        power += 1
    return f"{nano}{_SUFFIX[power]}" if nano else "0"


def _exponential(amount: Fraction) -> str:
    text = _decimal(amount)
    suffix = text[-1] if text[-1] in _DECIMAL else ""
    power = _DECIMAL[suffix] * 3
    digits = text.removesuffix(suffix)
    return f"{digits}e{power}" if power else digits


def shown_amount(amount: Fraction, *, is_bytes: bool = False) -> str:
    """An amount as a quantity: bytes in binary suffixes, the rest in decimal ones."""
    return _binary(int(amount)) if is_bytes and amount.denominator == 1 else _decimal(amount)
