"""GPUs by name: memory as a process sees it, bandwidth, dense peak rates, and where each figure is from.

Guarantees: every name and alias finds exactly one row, in any case and spelling of separators. Prices are in
`prices.py`, MIG profiles in `mig.py`.
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
    vendor: Literal["nvidia", "amd"] = "nvidia"
    memory_gib: float
    """Total memory as `torch.cuda.mem_get_info()` and out-of-memory errors say it; less than on the data sheet."""
    bandwidth_tb_per_s: float
    bf16_tflops: float
    """For the T4, which has no bf16, the fp16 rate."""
    fp8_tflops: float | None
    """None where the GPU has no FP8 units; weights in FP8 are then computed in bf16."""
    link_gb_per_s: float
    """To another GPU of the same machine, in one direction, over `link`."""
    link: Literal["NVLink", "Infinity Fabric", "PCIe"] = "PCIe"
    aliases: tuple[str, ...] = ()
    slice_of: str = ""
    """Of a MIG slice, the GPU that it is cut from; empty for a whole one."""
    source: str
    """Data sheet of rates and bandwidth; who saw the memory."""

    @property
    def memory_bytes(self) -> int:
        return round(self.memory_gib * _GIB)

    @property
    def bandwidth_bytes_per_s(self) -> float:
        return self.bandwidth_tb_per_s * 1e12

    @property
    def bf16_flops(self) -> float:
        return self.bf16_tflops * 1e12

    @property
    def fp8_flops(self) -> float | None:
        return None if self.fp8_tflops is None else self.fp8_tflops * 1e12

    @property
    def link_bytes_per_s(self) -> float:
        return self.link_gb_per_s * 1e9


GPUS: tuple[Gpu, ...] = (
    Gpu(
        name="T4", title="NVIDIA Tesla T4", memory_gib=14.56, bandwidth_tb_per_s=0.32,
        bf16_tflops=65.0, fp8_tflops=None, link_gb_per_s=16,
        source="NVIDIA T4 data sheet; memory: github.com/Zheng-Chong/CatVTON/issues/133",
    ),
    Gpu(
        name="L4", title="NVIDIA L4", memory_gib=22.03, bandwidth_tb_per_s=0.30,
        bf16_tflops=121.0, fp8_tflops=242.5, link_gb_per_s=32,
        source="NVIDIA L4 data sheet (halved to dense); memory: out-of-memory errors on 23,034 MiB cards",
    ),
    Gpu(
        name="A10G", title="NVIDIA A10G", memory_gib=22.06, bandwidth_tb_per_s=0.60,
        bf16_tflops=70.0, fp8_tflops=None, link_gb_per_s=32, aliases=("A10",),
        source="NVIDIA A10G data sheet (AWS g5); memory: out-of-memory errors on g5 instances",
    ),
    Gpu(
        name="RTX-4090", title="NVIDIA GeForce RTX 4090", memory_gib=23.52, bandwidth_tb_per_s=1.008,
        bf16_tflops=165.2, fp8_tflops=330.3, link_gb_per_s=32, aliases=("4090",),
        source="NVIDIA Ada GPU architecture paper; memory: github.com/Soul-AILab/SoulX-FlashTalk/issues/5",
    ),
    Gpu(
        name="A100-40GB", title="NVIDIA A100-SXM4-40GB", memory_gib=39.39, bandwidth_tb_per_s=1.555,
        bf16_tflops=312.0, fp8_tflops=None, link_gb_per_s=300, link="NVLink",
        aliases=("A100-40", "A100-SXM4-40GB", "A100-PCIE-40GB"),
        source="NVIDIA A100 data sheet; memory 42298834944 bytes: github.com/bottlerocket-os/bottlerocket/pull/3873",
    ),
    Gpu(
        name="L40S", title="NVIDIA L40S", memory_gib=44.40, bandwidth_tb_per_s=0.864,
        bf16_tflops=362.0, fp8_tflops=733.0, link_gb_per_s=32,
        source="NVIDIA L40S data sheet; memory: out-of-memory errors on g6e instances (46,068 MiB cards)",
    ),
    Gpu(
        name="H100", title="NVIDIA H100 80GB HBM3 (SXM)", memory_gib=79.11, bandwidth_tb_per_s=3.35,
        bf16_tflops=989.4, fp8_tflops=1978.9, link_gb_per_s=450, link="NVLink",
        aliases=("H100-80GB", "H100-SXM", "H100-SXM5", "H100-80GB-HBM3", "H100-SXM5-80GB"),
        source="NVIDIA H100 data sheet; memory: github.com/vllm-project/vllm/issues/27508",
    ),
    Gpu(
        name="H100-PCIe", title="NVIDIA H100 PCIe", memory_gib=79.11, bandwidth_tb_per_s=2.0,
        bf16_tflops=756.0, fp8_tflops=1513.0, link_gb_per_s=64, aliases=("H100-PCIe-80GB",),
        source="NVIDIA H100 PCIe data sheet; memory: taken equal to the SXM card's (81,559 MiB both)",
    ),
    Gpu(
        name="A100-80GB", title="NVIDIA A100-SXM4-80GB", memory_gib=79.25, bandwidth_tb_per_s=2.039,
        bf16_tflops=312.0, fp8_tflops=None, link_gb_per_s=300, link="NVLink",
        aliases=("A100", "A100-80", "A100-SXM", "A100-SXM4-80GB"),
        source="NVIDIA A100 data sheet; memory: github.com/levihsu/OOTDiffusion/issues/235",
    ),
    Gpu(
        name="H200", title="NVIDIA H200", memory_gib=139.80, bandwidth_tb_per_s=4.8,
        bf16_tflops=989.4, fp8_tflops=1978.9, link_gb_per_s=450, link="NVLink", aliases=("H200-141GB", "H200-SXM"),
        source="NVIDIA H200 data sheet; memory: measured with torch 2.11, CUDA 13.0",
    ),
    Gpu(
        name="B200", title="NVIDIA B200", memory_gib=178.35, bandwidth_tb_per_s=7.67,
        bf16_tflops=2250.0, fp8_tflops=4500.0, link_gb_per_s=900, link="NVLink", aliases=("B200-180GB", "B200-192GB"),
        source="NVIDIA DGX B200 data sheet; memory and bandwidth: github.com/pytorch/ao/pull/4002",
    ),
    Gpu(
        name="MI300X", title="AMD Instinct MI300X", vendor="amd", memory_gib=191.98, bandwidth_tb_per_s=5.3,
        bf16_tflops=1307.4, fp8_tflops=2614.9, link_gb_per_s=64, link="Infinity Fabric",
        source="AMD Instinct MI300X data sheet; memory: HIP out-of-memory errors",
    ),
)  # fmt: skip
"""Every known GPU, smallest memory first."""


def _key(name: str) -> str:
    words = re.sub(r"^(nvidia|amd|instinct|geforce|tesla)[\s_-]+", "", name.strip().lower())
    return re.sub(r"[^a-z0-9]", "", re.sub(r"^(instinct|geforce|tesla)[\s_-]+", "", words))


_BY_KEY: dict[str, Gpu] = {_key(n): gpu for gpu in GPUS for n in (gpu.name, gpu.title, *gpu.aliases)}


def find_gpu(name: str) -> Gpu:
    """The GPU of this name or alias; `UsageError` with the nearest names where there is none."""
    found = _BY_KEY.get(_key(name))
    if found is not None:
        return found
    near = difflib.get_close_matches(_key(name), list(_BY_KEY), n=4, cutoff=0.5)
    names = list(dict.fromkeys(_BY_KEY[k].name for k in near))
    hint = "did you mean " + " or ".join(names) + "?" if names else "known: " + ", ".join(gpu.name for gpu in GPUS)
    raise UsageError(f"no GPU is known by the name {name!r}", hint=hint)
