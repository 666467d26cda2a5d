"""The shape of a transformer, and what follows from it: parameters, and which of them a step reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Architecture", "Task"]

Task = Literal["generate", "embed"]


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
    experts: int = 0
    """Experts of each layer; 0 for a dense model."""
    experts_per_token: int = 0
    expert_intermediate: int = 0
    is_tied: bool = False
    """The output head shares the embedding's weights."""
    is_gated: bool = True
    """The feed-forward layer has three matrices (SwiGLU), not two."""
    is_encoder: bool = False
    """Attends both ways and keeps no KV cache, as BERT."""
    task: Task = "generate"
    dtype: str = "bfloat16"
    expert_bits: float | None = None
    """Bits of one expert weight where experts are quantized apart (MXFP4: 4.25 with scales). None: as `dtype`."""
    is_guess: bool = False
    """Nothing is known of the model but its name."""
    source: str = ""

    @property
    def expert_params(self) -> int:
        """Parameters of one expert in one layer."""
        return (3 if self.is_gated else 2) * self.hidden * self.expert_intermediate if self.experts else 0

    @property
    def expert_bytes_per_param(self) -> float:
        """Bytes of one expert weight."""
        if self.expert_bits is not None:
            return self.expert_bits / 8
        return {"float32": 4.0, "fp8": 1.0, "int8": 1.0, "int4": 0.5}.get(self.dtype, 2.0)

    @property
    def embedding_params(self) -> int:
        """Token embedding, and positions where they are learned."""
        positions = self.context + 2 if self.is_encoder else 0
        return (self.vocab + positions) * self.hidden

    @property
    def head_params(self) -> int:
        """The output head's own weights."""
        return self.vocab * self.hidden if self.task == "generate" and not self.is_tied else 0

    @property
    def dense_params_read(self) -> int:
        """Parameters that every step reads and multiplies by: all layers without experts, embedding and head."""
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        forward = (3 if self.is_gated else 2) * self.hidden * (0 if self.experts else self.intermediate)
        return self.layers * (attention + forward + self.hidden * (self.experts + 2))

    @property
    def params(self) -> int:
        """All parameters; biases and small norms left out."""
        experts = self.layers * self.experts * self.expert_params
        return self.dense_params_read + experts + self.embedding_params + self.head_params

    @property
    def active_params(self) -> int:
        """Parameters that one token is multiplied by, the head included."""
        experts = self.layers * self.experts_per_token * self.expert_params
        return self.dense_params_read + experts + (self.vocab * self.hidden if self.task == "generate" else 0)

    @property
    def has_kv_cache(self) -> bool:
        return not self.is_encoder
