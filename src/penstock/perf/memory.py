"""What a GPU's memory holds: weights, KV cache, and what is left for it.

    KV = utilization x total - weights - activation peak - non-torch (- CUDA graphs, mixtures of experts)

The identity holds to 0.01 GiB on each measured start of vLLM 0.26 on an H200, and the activation peak of dense models
has the closed form below; `docs/accuracy.md` says how close the whole is. Weights are `weights.py`, blocks and groups
of layers `kv.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from penstock.errors import UsageError
from penstock.facts.architecture import Architecture
from penstock.facts.gpus import Gpu
from penstock.perf.kv import DTYPE_BYTES, KvLayout, kv_bytes_per_token, kv_layout
from penstock.perf.weights import Parallelism, check_parallelism, weight_bytes

__all__ = [
    "DTYPE_BYTES",
    "KV_TOKENS_ERROR",
    "MemoryPlan",
    "activation_bytes",
    "kv_bytes_per_token",
    "plan_memory",
    "weight_bytes",
]

_GIB = 1 << 30
NON_TORCH_BYTES = round(0.22 * _GIB)
"""CUDA context and libraries: 0.22 to 0.24 GiB measured."""
NCCL_BYTES = {"NVLink": round(1.85 * _GIB), "Infinity Fabric": round(1.85 * _GIB), "PCIe": round(0.08 * _GIB)}
"""More of it where GPUs talk to each other, by link: buffers of NCCL and of the custom all-reduce. Two H100 show 1.79
GiB more than one (vLLM pull request 10511), llm-d's capacity planner has 1.83; two L40S or 4090 show 0.30 in all (vLLM
issues 15815, 13061). Not measured by us."""
_MOE_GRAPH_BYTES_PER_LAYER = 0.64 * _GIB / 48
"""What vLLM sets aside beforehand for CUDA graphs of a mixture-of-experts model: its older model runner does, the newer
one of dense models does not. From one start, of 48 layers."""
_SAMPLER_BYTES = 18.5
"""Bytes for each request and vocabulary entry in that runner's trial of the sampler: logits in two dtypes, sorted
values and indices. From one start; the form is sound: llm-d's planner lists three models of other vocabularies on an
older vLLM, all with 38.4 to 38.9."""
KV_TOKENS_ERROR = 0.02
"""Half width of the 90 % interval of KV tokens: three times the worst of the measured starts (0.5 %), rounded up."""


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
    wide = max(model.intermediate if not model.experts or model.dense_layers else 0, model.shared_intermediate)
    forward = tokens * (6 * wide / tensor_parallel + 7.2 * model.hidden)
    if model.experts:
        # two buffers of the chosen experts' rows: gate and up (or output), and the activated product
        rows = max(2 * model.expert_intermediate / tensor_parallel, model.hidden)
        rows += model.expert_intermediate / tensor_parallel
        forward = max(forward, tokens * (2 * model.experts_per_token * rows + 7.2 * model.hidden))
    compiling = model.vocab * model.hidden * 2 / tensor_parallel + 4 * tokens * model.hidden
    peak = max(forward, compiling) if is_cold else forward
    if model.experts and model.task == "generate":
        peak = max(peak, _SAMPLER_BYTES * max_num_seqs * model.vocab)
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
    layout: KvLayout
    max_model_len: int
    max_num_batched_tokens: int

    @property
    def num_blocks(self) -> int:
        """KV blocks, as vLLM counts them."""
        return self.layout.blocks(self.kv_cache)

    @property
    def kv_tokens(self) -> int:
        """ "GPU KV cache size" as vLLM prints it."""
        return self.layout.tokens(self.kv_cache, self.max_model_len, self.max_num_batched_tokens)

    @property
    def kv_tokens_interval(self) -> tuple[int, int]:
        """90 % interval of `kv_tokens`."""
        tokens = self.kv_tokens
        return round(tokens * (1 - KV_TOKENS_ERROR)), round(tokens * (1 + KV_TOKENS_ERROR))

    @property
    def concurrency(self) -> float:
        """Requests of `max_model_len` that fit, as vLLM prints it."""
        return self.num_blocks / self.layout.blocks_per_request(self.max_model_len, self.max_num_batched_tokens)


def plan_memory(
    model: Architecture,
    gpu: Gpu,
    *,
    utilization: float = 0.92,
    max_num_batched_tokens: int = 8192,
    max_num_seqs: int = 1024,
    max_model_len: int | None = None,
    block_size: int = 16,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    data_parallel: int = 1,
    is_expert_parallel: bool = False,
    kv_dtype: str | None = None,
    is_cold: bool = True,
) -> MemoryPlan:
    """Memory of each GPU. `UsageError` where the weights leave no room, or heads cannot be shared out."""
    spread = Parallelism(tensor=tensor_parallel, pipeline=pipeline_parallel, data=data_parallel)
    check_parallelism(model, spread)
    activations = activation_bytes(
        model,
        max_num_batched_tokens,
        max_num_seqs=max_num_seqs,
        tensor_parallel=tensor_parallel,
        is_cold=is_cold,
    )
    requested = round(gpu.memory_bytes * utilization)
    weights = weight_bytes(
        model,
        tensor_parallel,
        pipeline_parallel=pipeline_parallel,
        data_parallel=data_parallel,
        is_expert_parallel=is_expert_parallel,
    )
    talks = spread.tensor > 1 or spread.data > 1
    non_torch = NON_TORCH_BYTES + (NCCL_BYTES[gpu.link] if talks else 0)
    set_aside = round(_MOE_GRAPH_BYTES_PER_LAYER * model.layers) if model.experts else 0
    left = requested - weights - activations - non_torch - set_aside
    if left <= 0:
        raise UsageError(
            f"{model.name} does not fit on {gpu.name} with {spread.gpus} GPU(s): of {requested / _GIB:.1f} GiB"
            f" usable on each, weights take {weights / _GIB:.1f}, activations {activations / _GIB:.1f}; KV gets none",
            hint="use a larger GPU, more GPUs with tensor parallelism, or a quantized model",
        )
    return MemoryPlan(
        total=gpu.memory_bytes,
        requested=requested,
        weights=weights,
        activations=activations,
        non_torch=non_torch,
        graphs_set_aside=set_aside,
        kv_cache=left,
        kv_bytes_per_token=kv_bytes_per_token(model, kv_dtype, tensor_parallel),
        block_size=block_size,
        layout=kv_layout(model, kv_dtype, tensor_parallel, pipeline_parallel=pipeline_parallel, block_size=block_size),
        max_model_len=max_model_len or model.context,
        max_num_batched_tokens=max_num_batched_tokens,
    )
