"""Whether a safetensors file is whole, from its header and its size: no tensor is read.

Pure. Guarantees that a header that does not describe exactly the bytes that follow it is told, with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from penstock.errors import UsageError
from penstock.facts import header_length

__all__ = ["DTYPE_BITS", "Header", "read_header"]

DTYPE_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
"""Bits of one number by the format's name for it, from the format's own description (safetensors, `Dtype`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What one file's header says, and what is wrong with it."""

    tensors: Mapping[str, int]
    """Bytes of each tensor by its name; empty where the header cannot be read."""
    troubles: tuple[str, ...] = ()
    """In words, without the file's name."""

    @property
    def total(self) -> int:
        """Bytes of all tensors."""
        return sum(self.tensors.values())


def read_header(first: bytes, size: int) -> Header:
    """Reads the head of a file. `first`: its first bytes, header included; `size`: bytes of the whole file."""
    try:
        length = header_length(first)
    except UsageError as error:
        return Header(tensors={}, troubles=(error.message,))
    if 8 + length > size:
        return Header(
            tensors={}, troubles=(f"says a header of {length} bytes, but the file has {size}: it is cut short",)
        )
    try:
        listed: Any = json.loads(first[8 : 8 + length])
        if not isinstance(listed, dict):
            raise TypeError("it is not an object")
        spans = [_span(name, entry) for name, entry in listed.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        return Header(tensors={}, troubles=(f"its header cannot be read: {error}",))
    if any(not isinstance(value, str) for value in (listed.get("__metadata__") or {}).values()):
        return Header(tensors={}, troubles=("its header's metadata is not text",))
    return Header(
        tensors={span.name: span.end - span.start for span in spans},
        troubles=tuple(_troubles(spans, size - 8 - length)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    name: str
    start: int
    end: int
    bytes_said: int | None
    """By dtype and shape; None for a dtype that is not known here."""
    dtype: str


def _span(name: str, entry: Mapping[str, Any]) -> _Span:
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    start, end = offsets
    numbers = [*shape, start, end]
    if not isinstance(dtype, str) or any(not isinstance(n, int) or isinstance(n, bool) or n < 0 for n in numbers):
        raise ValueError(f"tensor {name[:100]!r} has no dtype, shape and place")
    bits = DTYPE_BITS.get(dtype)
    said = None if bits is None else (prod(shape) * bits + 7) // 8
    return _Span(name=name, start=start, end=end, bytes_said=said, dtype=dtype)


def _troubles(spans: list[_Span], room: int) -> list[str]:
    """What does not fit: each kind told once, with the first tensor that shows it."""
    troubles: list[str] = []
    ordered = sorted(spans, key=lambda s: (s.start, s.end))
    place = 0
    for span in ordered:
        if span.start != place or span.end < span.start:
            what = "overlaps the one before it" if span.start < place else "leaves a hole before it"
            troubles.append(
                f"tensor {span.name[:100]!r} {what}: bytes {span.start} to {span.end}, expected from {place}"
            )
            break
        place = span.end
    else:
        if place != room:
            more = "is cut short" if place > room else "has bytes that no tensor owns"
            troubles.append(f"holds {room} bytes of tensors and its header describes {place}: it {more}")
    for span in ordered:
        if span.bytes_said is not None and span.bytes_said != span.end - span.start:
            kind = f"{span.dtype} of its shape takes {span.bytes_said} bytes"
            troubles.append(f"tensor {span.name[:100]!r} has {span.end - span.start} bytes where {kind}")
            break
    return troubles
