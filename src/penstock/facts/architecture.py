"""The shape of a transformer, and what follows from it: parameters, and which of them a step reads.

Counts are exact for the families in `models.py` (`tests/facts/test_architecture.py` holds them to the published ones):
norms, biases and attention sinks included. Bytes, sharding and padding are `penstock.perf`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Architecture", "Latent", "Task"]

Task = Literal["generate", "embed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Latent:
    """Multi-head latent attention (DeepSeek): keys and values are cached as one short vector for all heads."""

    kv_rank: int
    """Length of the cached vector, without its rotary part."""
    rope_dim: int
    nope_dim: int
    value_dim: int
    query_rank: int = 0
    """0: queries are projected at once."""
    index_dim: int = 0
    """Width of the sparse attention's index key (DeepSeek V3.2); 0 without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One model's shape. Field names follow the model's `config.json`, shortened."""

    name: str
    layers: int
    hidden: int
    intermediate: int
    """Width of the dense feed-forward layer; 0 where all layers are mixtures of experts."""
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    context: int
    """Longest context the model was made for, tokens."""
    window: int = 0
    """Tokens that a sliding-window layer attends to."""
    sliding_layers: int = 0
    """Layers that attend to a window only; the others to everything."""
    latent: Latent | None = None
    experts: int = 0
    """Experts of each mixture layer; 0 for a dense model."""
    experts_per_token: int = 0
    expert_intermediate: int = 0
    shared_intermediate: int = 0
    """Width of the experts that every token passes, together."""
    dense_layers: int = 0
    """Leading layers of a mixture model that are dense."""
    is_tied: bool = False
    """The output head shares the embedding's weights."""
    is_gated: bool = True
    """The feed-forward layer has three matrices (SwiGLU), not two."""
    is_encoder: bool = False
    """Attends both ways and keeps no KV cache, as BERT."""
    has_qkv_bias: bool = False
    has_bias: bool = False
    """Every matrix has a bias (OPT, BERT; gpt-oss: attention, router and experts)."""
    has_qk_norm: bool = False
    norms_per_layer: int = 2
    vision_params: int = 0
    """Parameters of towers for images or sound, kept in bf16 beside the language model."""
    task: Task = "generate"
    dtype: str = "bfloat16"
    """Of the matrices inside the layers; embedding and head stay in bf16 when that is fp8, int8 or int4."""
    expert_bits: float | None = None
    """Bits of one expert weight where experts are quantized apart (MXFP4: 4.25 with scales). None: as `dtype`."""
    is_guess: bool = False
    """Nothing is known of the model but its name."""
    source: str = ""

    @property
    def moe_layers(self) -> int:
        return self.layers - self.dense_layers if self.experts else 0

    @property
    def full_layers(self) -> int:
        """Layers that attend to all tokens."""
        return self.layers - self.sliding_layers

    @property
    def has_kv_cache(self) -> bool:
        return not self.is_encoder

    @property
    def _matrices(self) -> int:
        return 3 if self.is_gated else 2

    @property
    def expert_params(self) -> int:
        """Parameters of one expert in one layer."""
        if not self.experts:
            return 0
        biases = 2 * self.expert_intermediate + self.hidden if self.has_bias else 0
        return self._matrices * self.hidden * self.expert_intermediate + biases

    @property
    def expert_bytes_per_param(self) -> float:
        """Bytes of one expert weight."""
        return self.expert_bits / 8 if self.expert_bits is not None else self.matrix_bytes_per_param

    @property
    def matrix_bytes_per_param(self) -> float:
        """Bytes of one weight of a layer's matrices; 4-bit ones with scale and zero of their groups of 128."""
        return {"float32": 4.0, "fp8": 1.0, "int8": 1.0, "int4": 4.16 / 8}.get(self.dtype, 2.0)

    @property
    def plain_bytes_per_param(self) -> float:
        """Bytes of one weight that quantization leaves alone: embedding, head, norms, router, vision."""
        return 4.0 if self.dtype == "float32" else 2.0

    @property
    def query_key_dim(self) -> int:
        """Length of one head's query."""
        return self.latent.nope_dim + self.latent.rope_dim if self.latent else self.head_dim

    @property
    def attention_params(self) -> int:
        """Of one layer's attention matrices."""
        if self.latent is None:
            return self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        lat, query = self.latent, self.heads * self.query_key_dim
        query_params = self.hidden * lat.query_rank + lat.query_rank * query if lat.query_rank else self.hidden * query
        cached = self.hidden * (lat.kv_rank + lat.rope_dim) + lat.kv_rank * self.heads * (lat.nope_dim + lat.value_dim)
        return query_params + cached + self.heads * lat.value_dim * self.hidden

    @property
    def forward_params(self) -> int:
        """Of all dense feed-forward matrices: dense layers and shared experts."""
        dense = self.dense_layers if self.experts else self.layers
        width = dense * self.intermediate + self.moe_layers * self.shared_intermediate
        return self._matrices * self.hidden * width

    @property
    def small_params(self) -> int:
        """Norms, biases, sinks and routers of all layers."""
        norms = self.norms_per_layer * self.hidden + (2 * self.head_dim if self.has_qk_norm else 0)
        if self.latent:
            norms += self.latent.kv_rank + self.latent.query_rank
        biases = (self.heads + 2 * self.kv_heads) * self.head_dim if self.has_qkv_bias or self.has_bias else 0
        if self.has_bias:
            biases += self.hidden + (self.heads + self.experts if self.experts else self.intermediate + self.hidden)
            norms += 0 if self.experts else norms  # layer norm with a bias
        return self.layers * (norms + biases) + self.moe_layers * self.hidden * self.experts + self.hidden

    @property
    def embedding_params(self) -> int:
        """Token embedding, and positions where they are learned."""
        has_positions = self.is_encoder or (self.has_bias and not self.experts)
        return (self.vocab + (self.context + 2 if has_positions else 0)) * self.hidden

    @property
    def head_params(self) -> int:
        """The output head's own weights."""
        return self.vocab * self.hidden if self.task == "generate" and not self.is_tied else 0

    @property
    def matrix_params(self) -> int:
        """Matrices of all layers without experts: what quantization shrinks."""
        return self.layers * self.attention_params + self.forward_params

    @property
    def dense_params_read(self) -> int:
        """Parameters that every step reads and multiplies by: all layers without experts, embedding and head."""
        return self.matrix_params + self.small_params

    @property
    def params(self) -> int:
        """All parameters of the language model; `vision_params` come on top."""
        experts = self.moe_layers * self.experts * self.expert_params
        return self.dense_params_read + experts + self.embedding_params + self.head_params

    @property
    def active_params(self) -> int:
        """Parameters that one token is multiplied by, the head included."""
        experts = self.moe_layers * self.experts_per_token * self.expert_params
        return self.dense_params_read + experts + (self.vocab * self.hidden if self.task == "generate" else 0)
