"""KV cache: bytes of a block, and how vLLM counts tokens where layers differ.

A block holds `block_size` tokens of one layer's keys and values; vLLM hands out one block for a whole group of layers.
A model with one kind of layer is one group. A hybrid (Gemma 3, gpt-oss) is cut into groups of as many layers as its
rarer kind has, full-attention ones and sliding ones apart; each group of a request takes blocks of its own, a sliding
one only for the window and one step's tokens. What vLLM prints as "GPU KV cache size" is the number of requests of
`max_model_len` that fit, times `max_model_len`; a measured start of Gemma 3 27B agrees to 0.1 %.

Rule from `vllm/v1/core/kv_cache_utils.py` and `kv_cache_interface.py`. State-space layers (Mamba, gated delta nets) are
not covered.
"""

from __future__ import annotations

from dataclasses import dataclass

from penstock.facts.architecture import Architecture
from penstock.perf.weights import kv_heads_per_gpu

__all__ = ["DTYPE_BYTES", "KvLayout", "kv_bytes_per_token", "kv_layout"]

DTYPE_BYTES: dict[str, float] = {"float32": 4, "bfloat16": 2, "float16": 2, "fp8": 1, "int8": 1, "int4": 0.5}
"""Bytes of one element by dtype name."""
_FP8_LATENT_BYTES = 656
"""One token of DeepSeek's sparse attention in fp8: 512 of values, scales, and the rotary part in bf16."""
_PADDING_MAX = 1.5
"""Kinds of layers that differ by less than this are padded to the larger one, not cut to the smaller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KvLayout:
    """Groups of layers that share blocks, on each GPU."""

    block_size: int
    layer_token_bytes: float
    """Keys and values of one token in one layer."""
    group_layers: int
    """Layers of each group, padding included."""
    full_groups: int
    sliding_groups: int
    window: int = 0

    @property
    def block_bytes(self) -> int:
        """Bytes of one block in all layers of a group."""
        return round(self.layer_token_bytes * self.block_size) * self.group_layers

    def blocks(self, kv_bytes: int) -> int:
        """Blocks that fit."""
        return max(0, kv_bytes // self.block_bytes) if self.block_bytes else 0

    def blocks_per_request(self, max_model_len: int, max_num_batched_tokens: int) -> int:
        """Blocks that vLLM reckons for one request of full length."""
        full = -(-max_model_len // self.block_size)
        held = min(self.window - 1 + max_num_batched_tokens, max_model_len)
        sliding = -(-held // self.block_size) + 1
        return max(1, self.full_groups * full + self.sliding_groups * sliding)

    def blocks_held(self, tokens: int) -> int:
        """Blocks that one decoding request of so many tokens holds: of sliding layers its window only."""
        whole = -(-tokens // self.block_size)
        sliding = min(whole, (self.window - 2) // self.block_size + 2) if self.sliding_groups else 0
        return max(1, self.full_groups * whole + self.sliding_groups * sliding)

    def tokens_of(self, blocks: int, max_model_len: int, max_num_batched_tokens: int) -> int:
        """ "GPU KV cache size" of so many blocks, as vLLM prints it."""
        return blocks * max_model_len // self.blocks_per_request(max_model_len, max_num_batched_tokens)

    def tokens(self, kv_bytes: int, max_model_len: int, max_num_batched_tokens: int) -> int:
        """ "GPU KV cache size" as vLLM prints it."""
        return self.tokens_of(self.blocks(kv_bytes), max_model_len, max_num_batched_tokens)


def kv_layout(
    model: Architecture,
    kv_dtype: str | None = None,
    tensor_parallel: int = 1,
    *,
    pipeline_parallel: int = 1,
    block_size: int = 16,
) -> KvLayout:
    """How one GPU's cache is laid out. `kv_dtype`: None or `auto` for the model's."""
    full = -(-model.full_layers // pipeline_parallel)
    sliding = -(-model.sliding_layers // pipeline_parallel)
    if not model.has_kv_cache:
        full = sliding = 0
    counts = [n for n in (full, sliding) if n]
    group = min(counts, default=0)
    if counts and max(counts) < _PADDING_MAX * group:
        group = max(counts)
    return KvLayout(
        block_size=block_size,
        layer_token_bytes=_layer_token_bytes(model, kv_dtype, tensor_parallel),
        group_layers=group,
        full_groups=-(-full // group) if full else 0,
        sliding_groups=-(-sliding // group) if sliding else 0,
        window=model.window,
    )


def kv_bytes_per_token(model: Architecture, kv_dtype: str | None = None, tensor_parallel: int = 1) -> int:
    """Bytes that one token within all windows takes on each GPU; 0 for a model without a cache."""
    return round(model.layers * _layer_token_bytes(model, kv_dtype, tensor_parallel)) if model.has_kv_cache else 0


def _layer_token_bytes(model: Architecture, kv_dtype: str | None, tensor: int) -> float:
    name = kv_dtype if kv_dtype not in (None, "auto") else model.dtype
    if kv_dtype in (None, "auto") and model.dtype in ("fp8", "int8", "int4"):
        name = "bfloat16"  # quantized weights leave the cache in the compute dtype
    element = DTYPE_BYTES["fp8" if str(name).startswith("fp8") else str(name)]
    lat = model.latent
    if lat is None:
        return 2 * kv_heads_per_gpu(model, tensor) * model.head_dim * element
    if lat.index_dim:
        index = lat.index_dim + 4  # fp8 with a scale
        return index + (_FP8_LATENT_BYTES if element == 1 else (lat.kv_rank + lat.rope_dim) * element)
    return (lat.kv_rank + lat.rope_dim) * element
