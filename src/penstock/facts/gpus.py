"""GPUs by name: memory as the driver gives it to a process, bandwidth, dense peak rates, and where each figure is from.

Guarantees: every name and alias finds exactly one row, in any case and spelling of separators. Prices, MIG profiles and
links between GPUs are not here.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Literal

from penstock.errors import UsageError

__all__ = ["GPUS", "Gpu", "find_gpu"]

_GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One kind of GPU. Rates are dense peaks of the data sheet, without sparsity."""

    name: str
    title: str
    """Name as the vendor writes it."""
    vendor: Literal["nvidia", "amd"]
    memory_bytes: int
    """Total memory that a process sees (`torch.cuda.mem_get_info()[1]`): less than the data sheet's."""
    bandwidth_bytes_per_s: float
    bf16_flops: float
    fp8_flops: float | None
    """None where the GPU has no FP8 units; weights in FP8 are then computed in bf16."""
    source: str
    aliases: tuple[str, ...] = ()


def _gpu(
    name: str,
    title: str,
    gib: float,
    tb_per_s: float,
    bf16_tflops: float,
    fp8_tflops: float | None,
    source: str,
    *aliases: str,
    vendor: Literal["nvidia", "amd"] = "nvidia",
) -> Gpu:
    return Gpu(
        name=name,
        title=title,
        vendor=vendor,
        memory_bytes=round(gib * _GIB),
        bandwidth_bytes_per_s=tb_per_s * 1e12,
        bf16_flops=bf16_tflops * 1e12,
        fp8_flops=None if fp8_tflops is None else fp8_tflops * 1e12,
        source=source,
        aliases=aliases,
    )


GPUS: tuple[Gpu, ...] = (
    _gpu("H100", "NVIDIA H100 SXM 80GB", 79.11, 3.35, 989.4, 1978.9, "NVIDIA H100 data sheet", "H100-80GB", "H100-SXM"),
    _gpu("H200", "NVIDIA H200 SXM 141GB", 139.80, 4.8, 989.4, 1978.9, "NVIDIA H200 data sheet", "H200-141GB"),
)
"""Every known GPU, smallest memory first."""


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().removeprefix("nvidia").removeprefix("amd"))


_BY_KEY: dict[str, Gpu] = {_key(n): gpu for gpu in GPUS for n in (gpu.name, gpu.title, *gpu.aliases)}


def find_gpu(name: str) -> Gpu:
    """The GPU of this name or alias; `UsageError` with the nearest names where there is none."""
    found = _BY_KEY.get(_key(name))
    if found is not None:
        return found
    near = difflib.get_close_matches(_key(name), list(_BY_KEY), n=3, cutoff=0.5)
    names = sorted({_BY_KEY[k].name for k in near}) or [gpu.name for gpu in GPUS]
    raise UsageError(f"no GPU is known by the name {name!r}", hint="did you mean " + ", ".join(names) + "?")
