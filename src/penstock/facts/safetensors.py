"""Exact weight bytes of a checkpoint from its safetensors headers or index, without reading a tensor.

A safetensors file starts with eight bytes (little endian) that say how long its JSON header is; the header names each
tensor with dtype, shape and place. Pure: the caller reads the bytes. `UsageError` where they are not such a header.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock.errors import UsageError

__all__ = ["HEADER_BYTES_MAX", "TensorBytes", "header_length", "index_bytes", "tensor_bytes"]

HEADER_BYTES_MAX = 100_000_000
"""Longest header that the format allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorBytes:
    """What the tensors of one or more files hold."""

    total: int
    by_dtype: Mapping[str, int]
    """Bytes by the format's dtype name: BF16, F8_E4M3, U8 ..."""
    tensors: int

    def __add__(self, other: TensorBytes) -> TensorBytes:
        dtypes = sorted({*self.by_dtype, *other.by_dtype})
        return TensorBytes(
            total=self.total + other.total,
            by_dtype={d: self.by_dtype.get(d, 0) + other.by_dtype.get(d, 0) for d in dtypes},
            tensors=self.tensors + other.tensors,
        )


def header_length(first_bytes: bytes) -> int:
    """Bytes of the header that follow the first eight."""
    length = int.from_bytes(first_bytes[:8], "little") if len(first_bytes) >= 8 else 0
    if not 2 <= length <= HEADER_BYTES_MAX:
        raise UsageError(
            f"not a safetensors file: its first eight bytes say a header of {length} bytes",
            hint="the download may be cut short or be an error page; fetch the file again",
        )
    return length


def tensor_bytes(header: bytes) -> TensorBytes:
    """Bytes of the tensors that one header lists. `header`: the JSON alone."""
    try:
        listed: dict[str, Any] = json.loads(header)
        spans = [
            (str(entry["dtype"]), int(entry["data_offsets"][1]) - int(entry["data_offsets"][0]))
            for name, entry in listed.items()
            if name != "__metadata__"
        ]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UsageError(
            f"a safetensors header cannot be read: {error!r}", hint="the file is damaged; fetch it again"
        ) from error
    by_dtype: dict[str, int] = {}
    for dtype, size in sorted(spans):
        by_dtype[dtype] = by_dtype.get(dtype, 0) + size
    return TensorBytes(total=sum(by_dtype.values()), by_dtype=by_dtype, tensors=len(spans))


def index_bytes(index: Mapping[str, Any]) -> int | None:
    """Total that a `model.safetensors.index.json` states; None where it does not."""
    metadata = index.get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, Mapping) else None
    return int(total) if isinstance(total, int | float) else None
