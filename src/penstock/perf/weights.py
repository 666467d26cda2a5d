"""How a model's weights lie on the GPUs of one replica.

    per GPU = (attention + forward) / tensor + experts / (tensor x data) + embedding or head of its pipeline stage

Key and value heads are repeated where there are fewer of them than GPUs; the vocabulary is padded to 64. Quantization
shrinks the matrices inside the layers; embedding, head, norms and routers stay in bf16. Exact to the parameter; what
the allocator rounds up is not counted (0.01 to 0.4 GiB on the measured starts).
"""

from __future__ import annotations

from dataclasses import dataclass

from penstock.errors import UsageError
from penstock.facts.architecture import Architecture

__all__ = ["Parallelism", "check_parallelism", "kv_heads_per_gpu", "weight_bytes"]

_MXFP4_BITS = 4.25
_MXFP4_PAD = 256
"""The MXFP4 kernels of Hopper want a multiple of this: gpt-oss-120b is 60.8 GiB on disk and 64.4 GiB once loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallelism:
    """How one replica is spread over GPUs."""

    tensor: int = 1
    pipeline: int = 1
    data: int = 1
    """Copies of the attention that share one set of experts; for a dense model each copy is a replica of its own."""
    is_expert: bool = False
    """Whole experts on each GPU, not a slice of each one."""

    @property
    def gpus(self) -> int:
        return self.tensor * self.pipeline * self.data


def check_parallelism(model: Architecture, spread: Parallelism) -> None:
    """`UsageError` where vLLM would not start, in the model's own numbers."""
    if model.heads % spread.tensor:
        fits = ", ".join(str(n) for n in (1, 2, 4, 8, 16) if model.heads % n == 0)
        raise UsageError(
            f"{model.name} has {model.heads} attention heads, which {spread.tensor} GPUs cannot share evenly",
            hint=f"use a tensor parallel size that divides {model.heads}: {fits}",
        )
    if spread.pipeline > model.layers:
        raise UsageError(
            f"{model.name} has {model.layers} layers, fewer than {spread.pipeline} pipeline stages",
            hint=f"use {model.layers} stages at most",
        )


def kv_heads_per_gpu(model: Architecture, tensor: int) -> int:
    """KV heads that each GPU holds: repeated where there are fewer than GPUs."""
    return -(-model.kv_heads // tensor)


def weight_bytes(
    model: Architecture,
    tensor_parallel: int = 1,
    *,
    pipeline_parallel: int = 1,
    data_parallel: int = 1,
    is_expert_parallel: bool = False,
) -> int:
    """Bytes of the weights on the GPU that has the most."""
    stage = -(-model.layers // pipeline_parallel) / model.layers
    matrices = _matrix_params(model, tensor_parallel) * model.matrix_bytes_per_param
    ranks = tensor_parallel * data_parallel
    experts_here = -(-model.experts // ranks) if is_expert_parallel else model.experts / ranks
    experts = model.moe_layers * experts_here * model.expert_params * model.expert_bytes_per_param
    if model.expert_bits == _MXFP4_BITS:
        experts *= -(-model.hidden // _MXFP4_PAD) * _MXFP4_PAD / model.hidden
    plain = model.plain_bytes_per_param
    layers = stage * (matrices + experts + model.small_params * plain)
    return round(layers + _ends_bytes(model, tensor_parallel, pipeline_parallel) + _rope_bytes(model))


def _matrix_params(model: Architecture, tensor: int) -> float:
    """Parameters of attention and dense forward layers on each GPU."""
    if model.latent is None:
        heads = 2 * model.heads / tensor + 2 * kv_heads_per_gpu(model, tensor)
        attention = model.hidden * model.head_dim * heads
    else:
        shared = model.hidden * (model.latent.kv_rank + model.latent.rope_dim + model.latent.query_rank)
        attention = shared + (model.attention_params - shared) / tensor
    return model.layers * attention + model.forward_params / tensor


def _ends_bytes(model: Architecture, tensor: int, pipeline: int) -> float:
    """Embedding (with towers) and head: on the first and last stage, so both on one GPU without a pipeline."""
    padded = -(-model.vocab // 64) * 64 / model.vocab
    plain = model.plain_bytes_per_param / tensor
    first = model.embedding_params * padded * plain + model.vision_params * plain
    last = model.head_params * padded * plain
    return first + last if pipeline == 1 else max(first, last or first * (model.task == "generate"))


def _rope_bytes(model: Architecture) -> int:
    """The table of rotary angles, one for each kind of layer."""
    if model.is_encoder:
        return 0
    width = model.latent.rope_dim if model.latent else model.head_dim
    kinds = 2 if 0 < model.sliding_layers < model.layers else 1
    return kinds * model.context * width * 2
