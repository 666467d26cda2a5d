"""What a GPU's memory holds: weights, KV cache, and what is left for it.

    KV = utilization x total - weights - activation peak - non-torch

The identity holds to 0.01 GiB on each measured start of vLLM 0.26 on an H200, and the activation peak of dense models
has the closed form below (`tests/perf/test_memory.py` says how close). First form: dense and mixture-of-experts
models with full attention, tensor parallelism; sliding-window layers are counted as full ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from penstock.errors import UsageError
from penstock.facts.architecture import Architecture
from penstock.facts.gpus import Gpu

__all__ = ["DTYPE_BYTES", "MemoryPlan", "activation_bytes", "kv_bytes_per_token", "plan_memory", "weight_bytes"]

_GIB = 1 << 30
DTYPE_BYTES: dict[str, float] = {"float32": 4, "bfloat16": 2, "float16": 2, "fp8": 1, "int8": 1, "int4": 0.5}
"""Bytes of one element by dtype name."""
NON_TORCH_BYTES = round(0.22 * _GIB)
"""CUDA context and libraries: 0.22 to 0.24 GiB measured."""
MOE_GRAPH_BYTES = round(0.64 * _GIB)
"""What vLLM sets aside beforehand for CUDA graphs of a mixture-of-experts model: its older model runner does, the newer
one of dense models does not. Fitted on one start."""


def weight_bytes(model: Architecture, tensor_parallel: int = 1) -> int:
    """Bytes of the weights on each GPU."""
    experts = model.layers * model.experts * model.expert_params
    total = (model.params - experts) * DTYPE_BYTES[model.dtype] + experts * model.expert_bytes_per_param
    return round(total / tensor_parallel)


def kv_bytes_per_token(model: Architecture, kv_dtype: str | None = None, tensor_parallel: int = 1) -> int:
    """Bytes of keys and values of one token on each GPU; 0 for a model without a cache. `kv_dtype`: the model's."""
    if not model.has_kv_cache:
        return 0
    dtype = kv_dtype if kv_dtype not in (None, "auto") else ("bfloat16" if model.dtype == "fp8" else model.dtype)
    heads = max(1, model.kv_heads // tensor_parallel)
    return round(2 * model.layers * heads * model.head_dim * DTYPE_BYTES[dtype or "bfloat16"])


def activation_bytes(
    model: Architecture,
    max_num_batched_tokens: int,
    *,
    max_num_seqs: int = 1024,
    tensor_parallel: int = 1,
    is_cold: bool = True,
) -> int:
    """Peak of activations that vLLM measures at start. `is_cold`: the start that compiles, whose peak is the higher."""
    tokens = max_num_batched_tokens
    forward = tokens * (6 * model.intermediate / tensor_parallel + 7.2 * model.hidden)
    compiling = model.vocab * model.hidden * 2 / tensor_parallel + 4 * tokens * model.hidden
    peak = max(forward, compiling) if is_cold else forward
    if model.experts:
        sampling = 18.5 * max_num_seqs * model.vocab  # logits and their sorted copies; fitted on one start
        peak = max(peak, sampling)
    return round(peak)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """Bytes on each GPU of one replica."""

    total: int
    requested: int
    """`utilization` x total: what vLLM may use."""
    weights: int
    activations: int
    non_torch: int
    graphs_set_aside: int
    kv_cache: int
    """What is left; below 0 where it does not fit."""
    kv_bytes_per_token: int
    block_size: int

    @property
    def num_blocks(self) -> int:
        """KV blocks, as vLLM counts them."""
        per_block = self.kv_bytes_per_token * self.block_size
        return max(0, self.kv_cache // per_block) if per_block else 0

    @property
    def kv_tokens(self) -> int:
        return self.num_blocks * self.block_size


def plan_memory(
    model: Architecture,
    gpu: Gpu,
    *,
    utilization: float = 0.92,
    max_num_batched_tokens: int = 8192,
    max_num_seqs: int = 1024,
    block_size: int = 16,
    tensor_parallel: int = 1,
    kv_dtype: str | None = None,
    is_cold: bool = True,
) -> MemoryPlan:
    """Memory of each GPU. `UsageError` where the weights leave no room."""
    activations = activation_bytes(
        model,
        max_num_batched_tokens,
        max_num_seqs=max_num_seqs,
        tensor_parallel=tensor_parallel,
        is_cold=is_cold,
    )
    requested = round(gpu.memory_bytes * utilization)
    weights = weight_bytes(model, tensor_parallel)
    set_aside = MOE_GRAPH_BYTES if model.experts else 0
    left = requested - weights - activations - NON_TORCH_BYTES - set_aside
    if left <= 0:
        raise UsageError(
            f"{model.name} does not fit on {gpu.name} with {tensor_parallel} GPU(s): of {requested / _GIB:.1f} GiB"
            f" usable on each, weights take {weights / _GIB:.1f}, activations {activations / _GIB:.1f}; KV gets none",
            hint="use a larger GPU, more GPUs with tensor parallelism, or a quantized model",
        )
    return MemoryPlan(
        total=gpu.memory_bytes,
        requested=requested,
        weights=weights,
        activations=activations,
        non_torch=NON_TORCH_BYTES,
        graphs_set_aside=set_aside,
        kv_cache=left,
        kv_bytes_per_token=kv_bytes_per_token(model, kv_dtype, tensor_parallel),
        block_size=block_size,
    )
