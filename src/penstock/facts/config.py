"""Reads a model's own `config.json` into its architecture, whatever family it is of.

Guarantees: what is known of the family (biases, norms, windows, latent attention, experts, quantization) comes from the
file, never from the model's name. `UsageError` names a field that is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.errors import UsageError
from penstock.facts.architecture import Architecture, Latent, Task

__all__ = ["architecture_from_config"]

_UNGATED = frozenset(
    {"bert", "roberta", "xlm-roberta", "mpnet", "distilbert", "opt", "gpt2", "gpt_neox", "gpt_bigcode", "falcon"}
)
_ENCODERS = frozenset({"bert", "roberta", "xlm-roberta", "mpnet", "distilbert", "nomic_bert", "modernbert"})
_QKV_BIAS = frozenset({"qwen2", "qwen2_moe", "qwen2_vl_text", "qwen2_5_vl_text", "qwen2_5_omni_text"})
_QK_NORM = frozenset({"qwen3", "qwen3_moe", "qwen3_vl_text", "qwen3_vl_moe_text", "gemma3_text", "gemma3"})
_TIED = frozenset({"gemma", "gemma2", "cohere", "cohere2", "falcon"})
"""Families whose head is the embedding unless their file says otherwise."""
_PATTERN = {"gemma2": 2, "gpt_oss": 2, "cohere2": 4}
"""One layer in so many attends to everything, where the file does not list them."""
_REQUIRED = ("num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size")
_OTHER_NAMES = {
    "num_hidden_layers": ("n_layer", "n_layers", "num_layers"),
    "hidden_size": ("n_embd", "d_model", "dim"),
    "num_attention_heads": ("n_head", "n_heads"),
    "intermediate_size": ("ffn_dim", "n_inner", "hidden_dim"),
    "max_position_embeddings": ("n_positions", "max_sequence_length", "n_ctx"),
    "num_experts": ("num_local_experts", "n_routed_experts"),
    "num_experts_per_tok": ("experts_per_token", "num_experts_per_token"),
}
_GEMMA3 = {"head_dim": 256, "num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 262208}
"""Fields that Gemma 3's files leave out where they have the family's default."""


def architecture_from_config(config: Mapping[str, Any], name: str = "") -> Architecture:
    """The architecture that a model's `config.json` describes; `UsageError` naming what is missing."""
    text = _text_part(config)
    kind = str(text.get("model_type", config.get("model_type", "")))
    if kind.startswith("gemma3"):
        text = {**_GEMMA3, "max_position_embeddings": 131072, "tie_word_embeddings": True, **text}
    layers, hidden, heads, vocab = (_number(text, field, None, name) for field in _REQUIRED)
    experts = _number(text, "num_experts")
    intermediate = _number(text, "intermediate_size", 4 * hidden)
    is_encoder = kind in _ENCODERS
    latent = _latent(text)
    window, sliding_layers = _windows(text, kind, layers)
    method = _quantization(config, text)
    return Architecture(
        name=name or str(config.get("_name_or_path") or kind or "model"),
        layers=layers,
        hidden=hidden,
        intermediate=_number(text, "intermediate_size_mlp", intermediate),
        heads=heads,
        kv_heads=_number(text, "num_key_value_heads", 1 if text.get("multi_query") is True else heads),
        head_dim=latent.value_dim if latent else _number(text, "head_dim", hidden // heads),
        vocab=vocab,
        context=_number(text, "max_position_embeddings", 2048),
        window=window,
        sliding_layers=sliding_layers,
        latent=latent,
        experts=experts,
        experts_per_token=_number(text, "num_experts_per_tok"),
        expert_intermediate=_number(text, "moe_intermediate_size", intermediate) if experts else 0,
        shared_intermediate=_shared(text, kind) if experts else 0,
        dense_layers=_dense_layers(text, layers) if experts else 0,
        is_tied=bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", is_encoder or kind in _TIED))),
        is_gated=kind not in _UNGATED,
        is_encoder=is_encoder,
        has_qkv_bias=kind in _QKV_BIAS or (bool(text.get("attention_bias")) and kind != "gpt_oss"),
        has_bias=(kind in _UNGATED and kind != "falcon") or kind == "gpt_oss",
        has_qk_norm=kind in _QK_NORM,
        norms_per_layer=4 if kind.startswith(("gemma2", "gemma3")) else 2,
        vision_params=_vision_params(config),
        task=_task_of(config, is_encoder),
        dtype=_dtype_of(config, text, method),
        expert_bits=4.25 if method == "mxfp4" else None,
        source=f"config.json of {name}" if name else "config.json",
    )


def _text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The language model of a config that also has towers: `text_config`, inside `thinker_config` in omni models."""
    thinker = config.get("thinker_config")
    outer = thinker if isinstance(thinker, Mapping) else config
    inner = outer.get("text_config")
    return inner if isinstance(inner, Mapping) else outer


def _number(text: Mapping[str, Any], field: str, default: int | None = 0, name: str = "") -> int:
    for key in (field, *_OTHER_NAMES.get(field, ())):
        value = text.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    if default is None:
        raise UsageError(
            f"config.json of {name or 'the model'} has no {field!r}, which sizes the model",
            hint=f"it must have {', '.join(_REQUIRED)}",
        )
    return default


def _windows(text: Mapping[str, Any], kind: str, layers: int) -> tuple[int, int]:
    """Sliding window and the layers that have it: by `layer_types` where listed, else by the family's pattern."""
    window = _number(text, "sliding_window") or _number(text, "attention_chunk_size")
    listed = text.get("layer_types")
    if not window or text.get("use_sliding_window") is False:
        return 0, 0
    if isinstance(listed, list):
        return window, sum(1 for t in listed if t == "sliding_attention")
    if kind.startswith("gemma3"):
        return window, layers - layers // _number(text, "sliding_window_pattern", 6)
    if kind.startswith("llama4"):
        return window, layers - layers // 4  # attention within chunks; each fourth layer sees everything
    pattern = _number(text, "sliding_window_pattern", _PATTERN.get(kind, 0))
    return window, layers - layers // pattern if pattern else layers


def _latent(text: Mapping[str, Any]) -> Latent | None:
    rank = _number(text, "kv_lora_rank")
    if not rank:
        return None
    return Latent(
        kv_rank=rank,
        rope_dim=_number(text, "qk_rope_head_dim", 64),
        nope_dim=_number(text, "qk_nope_head_dim", 128),
        value_dim=_number(text, "v_head_dim", 128),
        query_rank=_number(text, "q_lora_rank"),
        index_dim=_number(text, "index_head_dim"),
    )


def _dense_layers(text: Mapping[str, Any], layers: int) -> int:
    """Layers of a mixture that are dense: the first ones, or all but each n-th."""
    step = _number(text, "interleave_moe_layer_step", 1)
    return layers - layers // step if step > 1 else min(layers, _number(text, "first_k_dense_replace"))


def _shared(text: Mapping[str, Any], kind: str) -> int:
    """Width of all shared experts together."""
    if kind.startswith("llama4"):
        return _number(text, "intermediate_size")
    named = _number(text, "shared_expert_intermediate_size")
    return named or _number(text, "n_shared_experts") * _number(text, "moe_intermediate_size")


def _vision_params(config: Mapping[str, Any]) -> int:
    """Of an image tower, from its width and depth: attention and feed-forward; patches and projector left out."""
    tower = config.get("vision_config")
    if not isinstance(tower, Mapping):
        return 0
    width = _number(tower, "hidden_size") or _number(tower, "embed_dim")
    depth = _number(tower, "num_hidden_layers") or _number(tower, "depth")
    return depth * (4 * width * width + 2 * width * _number(tower, "intermediate_size", 4 * width))


def _task_of(config: Mapping[str, Any], is_encoder: bool) -> Task:
    listed = config.get("architectures")
    is_bare = isinstance(listed, list) and bool(listed) and str(listed[0]).endswith("Model")
    return "embed" if is_encoder or is_bare else "generate"


def _quantization(config: Mapping[str, Any], text: Mapping[str, Any]) -> str:
    """`fp8`, `awq`, `gptq`, `mxfp4`, `int8`, `int4` or "" by the file's `quantization_config`."""
    found = config.get("quantization_config") or text.get("quantization_config")
    if not isinstance(found, Mapping):
        return ""
    method = str(found.get("quant_method", ""))
    if method != "compressed-tensors":
        return method
    groups = found.get("config_groups")
    first: Any = next(iter(groups.values()), None) if isinstance(groups, Mapping) else None
    weights = first.get("weights") or {} if isinstance(first, Mapping) else {}
    bits = weights.get("num_bits", 8)
    return "fp8" if weights.get("type") == "float" and bits == 8 else f"int{bits}"


def _dtype_of(config: Mapping[str, Any], text: Mapping[str, Any], method: str) -> str:
    if method in ("fp8", "fbgemm_fp8", "modelopt"):
        return "fp8"
    if method in ("awq", "gptq", "int4"):
        return "int4"
    if method == "int8":
        return "int8"
    dtype = str(text.get("dtype") or text.get("torch_dtype") or config.get("torch_dtype") or "bfloat16")
    return dtype if dtype in ("bfloat16", "float16", "float32") else "bfloat16"
