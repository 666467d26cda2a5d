"""What vLLM does when it is not told otherwise.

Source: `vllm serve --help=all` and the resolved configuration in the start-up log of vLLM 0.32 (CPU build) and 0.26
(H200); the values that depend on the hardware are those of `vllm/engine/arg_utils.py` for GPUs of 70 GiB and more.
"""

from __future__ import annotations

from dataclasses import dataclass

from penstock.facts.gpus import Gpu

__all__ = ["VLLM_VERSION", "EngineDefaults", "engine_defaults"]

VLLM_VERSION = "0.32.0"
"""The version whose API and defaults the simulated engine has."""
_LARGE_GPU_BYTES = 70 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineDefaults:
    """Settings of an engine that was given none."""

    block_size: int = 16
    gpu_memory_utilization: float = 0.92
    max_num_batched_tokens: int = 8192
    max_num_seqs: int = 1024
    scheduling_policy: str = "fcfs"
    enable_prefix_caching: bool = True
    enable_chunked_prefill: bool = True


def engine_defaults(gpu: Gpu) -> EngineDefaults:
    """Defaults of the API server on this GPU: smaller ones below 70 GiB, and on the A100."""
    if gpu.memory_bytes >= _LARGE_GPU_BYTES and not gpu.name.startswith("A100"):
        return EngineDefaults()
    return EngineDefaults(max_num_batched_tokens=2048, max_num_seqs=256)
