"""MIG profiles: how an NVIDIA GPU is cut into smaller ones that share nothing.

A GPU has seven slices of compute and eight of memory; a profile `2g.20gb` has two of the first. Source of all rows:
NVIDIA Multi-Instance GPU User Guide, "Supported MIG Profiles" (names, counts and memory slices). What a slice gets of
bandwidth follows from its memory slices. Slices cannot work together: the guide has no peer access between them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from penstock.errors import UsageError
from penstock.facts.gpus import Gpu, find_gpu

__all__ = ["MIG_PROFILES", "MigProfile", "mig_profiles", "mig_slice"]

_COMPUTE_SLICES = 7
_MEMORY_SLICES = 8
_RESERVED_GIB = 0.16
"""What a slice has less than its share of memory: an H100 of 79.25 GiB is cut into 9.75, 19.62 and 39.50
(`nvidia-smi mig -lgip`, jbarrow.ai/field_notes/nvidia-mig)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigProfile:
    """One size of slice."""

    gpu: str
    name: str
    """As `nvidia-smi mig -lgip` and the resource `nvidia.com/mig-<name>` write it."""
    compute_slices: int
    memory_slices: int
    count_max: int
    """Slices of this size on one GPU."""


def _profiles(gpu: str, gigabytes: tuple[int, int, int, int]) -> tuple[MigProfile, ...]:
    """The six profiles of a GPU, from the memory sizes in its names: an eighth, a quarter, a half, all."""
    eighth, quarter, half, whole = gigabytes
    shapes = (
        (1, 1, eighth, 7),
        (1, 2, quarter, 4),
        (2, 2, quarter, 3),
        (3, 4, half, 2),
        (4, 4, half, 1),
        (7, 8, whole, 1),
    )
    return tuple(
        MigProfile(gpu=gpu, name=f"{g}g.{size}gb", compute_slices=g, memory_slices=m, count_max=count)
        for g, m, size, count in shapes
    )


MIG_PROFILES: tuple[MigProfile, ...] = (
    *_profiles("A100-40GB", (5, 10, 20, 40)),
    *_profiles("A100-80GB", (10, 20, 40, 80)),
    *_profiles("H100", (10, 20, 40, 80)),
    *_profiles("H100-PCIe", (10, 20, 40, 80)),
    *_profiles("H200", (18, 35, 71, 141)),
    *_profiles("B200", (23, 45, 90, 180)),
)
"""Every known profile, smallest first for each GPU."""


def mig_profiles(gpu: Gpu) -> tuple[MigProfile, ...]:
    """Profiles of a GPU; none where it cannot be cut."""
    return tuple(p for p in MIG_PROFILES if p.gpu == gpu.name)


def mig_slice(gpu_name: str, profile_name: str) -> Gpu:
    """A slice as a GPU of its own, with its share of everything. `UsageError` where there is none."""
    gpu = find_gpu(gpu_name)
    known = {p.name: p for p in mig_profiles(gpu)}
    profile = known.get(profile_name)
    if profile is None:
        hint = "its profiles are " + ", ".join(known) if known else "it has no multi-instance mode"
        raise UsageError(f"{gpu.name} has no MIG profile {profile_name!r}", hint=hint)
    memory, compute = profile.memory_slices / _MEMORY_SLICES, profile.compute_slices / _COMPUTE_SLICES
    return replace(
        gpu,
        name=f"{gpu.name}-{profile.name}",
        title=f"{gpu.title} MIG {profile.name}",
        memory_gib=gpu.memory_gib * memory - (_RESERVED_GIB if memory < 1 else 0.0),
        bandwidth_tb_per_s=gpu.bandwidth_tb_per_s * memory,
        bf16_tflops=gpu.bf16_tflops * compute,
        fp8_tflops=None if gpu.fp8_tflops is None else gpu.fp8_tflops * compute,
        link_gb_per_s=16,
        aliases=(),
        slice_of=gpu.name,
        source=f"{gpu.source}; {profile.compute_slices}/7 of compute, {profile.memory_slices}/8 of memory",
    )
