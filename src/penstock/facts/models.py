"""Well-known models by name, and any model by its `config.json`.

Guarantees: `find_model` always answers; what is not known is guessed from the size in the name and marked `is_guess`.
Each row's source is the `config.json` of the model of that name on the Hugging Face hub. Sliding windows, latent
attention and vision towers are not described yet.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from penstock.errors import UsageError
from penstock.facts.architecture import Architecture, Task

__all__ = ["MODELS", "architecture_from_config", "find_model"]


def _model(
    name: str,
    shape: tuple[int, int, int],
    attention: tuple[int, int, int],
    vocab: int,
    context: int,
    *,
    moe: tuple[int, int, int] = (0, 0, 0),
    is_tied: bool = False,
    task: Task = "generate",
    is_encoder: bool = False,
    is_gated: bool = True,
    dtype: str = "bfloat16",
    expert_bits: float | None = None,
) -> Architecture:
    """Layers, hidden, intermediate; heads, KV heads, head size; experts, experts per token, width of an expert."""
    return Architecture(
        name=name, layers=shape[0], hidden=shape[1], intermediate=shape[2],
        heads=attention[0], kv_heads=attention[1], head_dim=attention[2], vocab=vocab, context=context,
        experts=moe[0], experts_per_token=moe[1], expert_intermediate=moe[2],
        is_tied=is_tied, is_gated=is_gated, is_encoder=is_encoder, task=task, dtype=dtype, expert_bits=expert_bits,
        source=f"config.json of {name}",
    )  # fmt: skip


def _bert(name: str, *, layers: int, hidden: int, heads: int, vocab: int = 30522, context: int = 512) -> Architecture:
    return _model(
        name, (layers, hidden, 4 * hidden), (heads, heads, hidden // heads), vocab, context,
        task="embed", is_encoder=True, is_gated=False, dtype="float32",
    )  # fmt: skip


MODELS: tuple[Architecture, ...] = (
    _model("Qwen/Qwen3-0.6B", (28, 1024, 3072), (16, 8, 128), 151936, 40960, is_tied=True),
    _model("Qwen/Qwen3-1.7B", (28, 2048, 6144), (16, 8, 128), 151936, 40960, is_tied=True),
    _model("Qwen/Qwen3-4B", (36, 2560, 9728), (32, 8, 128), 151936, 40960, is_tied=True),
    _model("Qwen/Qwen3-8B", (36, 4096, 12288), (32, 8, 128), 151936, 40960),
    _model("Qwen/Qwen3-14B", (40, 5120, 17408), (40, 8, 128), 151936, 40960),
    _model("Qwen/Qwen3-32B", (64, 5120, 25600), (64, 8, 128), 151936, 40960),
    _model("Qwen/Qwen3-30B-A3B", (48, 2048, 6144), (32, 4, 128), 151936, 40960, moe=(128, 8, 768)),
    _model("Qwen/Qwen3-4B-Instruct-2507", (36, 2560, 9728), (32, 8, 128), 151936, 262144, is_tied=True),
    _model("Qwen/Qwen3-30B-A3B-Instruct-2507", (48, 2048, 6144), (32, 4, 128), 151936, 262144, moe=(128, 8, 768)),
    _model("Qwen/Qwen3-235B-A22B", (94, 4096, 12288), (64, 4, 128), 151936, 40960, moe=(128, 8, 1536)),
    _model("Qwen/Qwen3-Embedding-0.6B", (28, 1024, 3072), (16, 8, 128), 151669, 32768, is_tied=True, task="embed"),
    _model("Qwen/Qwen3-Embedding-4B", (36, 2560, 9728), (32, 8, 128), 151665, 40960, is_tied=True, task="embed"),
    _model("Qwen/Qwen3-Embedding-8B", (36, 4096, 12288), (32, 8, 128), 151665, 40960, task="embed"),
    _model("Qwen/Qwen2.5-0.5B", (24, 896, 4864), (14, 2, 64), 151936, 32768, is_tied=True),
    _model("Qwen/Qwen2.5-1.5B", (28, 1536, 8960), (12, 2, 128), 151936, 32768, is_tied=True),
    _model("Qwen/Qwen2.5-3B", (36, 2048, 11008), (16, 2, 128), 151936, 32768, is_tied=True),
    _model("Qwen/Qwen2.5-7B", (28, 3584, 18944), (28, 4, 128), 152064, 32768),
    _model("Qwen/Qwen2.5-14B", (48, 5120, 13824), (40, 8, 128), 152064, 32768),
    _model("Qwen/Qwen2.5-32B", (64, 5120, 27648), (40, 8, 128), 152064, 32768),
    _model("Qwen/Qwen2.5-72B", (80, 8192, 29568), (64, 8, 128), 152064, 32768),
    _model("LLM360/K2-Think", (64, 5120, 27648), (40, 8, 128), 152064, 131072),
    _model("meta-llama/Llama-3.2-1B", (16, 2048, 8192), (32, 8, 64), 128256, 131072, is_tied=True),
    _model("meta-llama/Llama-3.2-3B", (28, 3072, 8192), (24, 8, 128), 128256, 131072, is_tied=True),
    _model("meta-llama/Llama-3.1-8B", (32, 4096, 14336), (32, 8, 128), 128256, 131072),
    _model("meta-llama/Llama-3.1-70B", (80, 8192, 28672), (64, 8, 128), 128256, 131072),
    _model("meta-llama/Llama-3.3-70B-Instruct", (80, 8192, 28672), (64, 8, 128), 128256, 131072),
    _model("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", (32, 4096, 14336), (32, 8, 128), 128256, 131072),
    _model("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", (28, 3584, 18944), (28, 4, 128), 152064, 131072),
    _model("TinyLlama/TinyLlama-1.1B-Chat-v1.0", (22, 2048, 5632), (32, 4, 64), 32000, 2048),
    _model("mistralai/Mistral-7B-v0.3", (32, 4096, 14336), (32, 8, 128), 32768, 32768),
    _model("mistralai/Mistral-7B-Instruct-v0.3", (32, 4096, 14336), (32, 8, 128), 32768, 32768),
    _model("mistralai/Mistral-Small-24B-Instruct-2501", (40, 5120, 32768), (32, 8, 128), 131072, 32768),
    _model("microsoft/phi-4", (40, 5120, 17920), (40, 10, 128), 100352, 16384),
    _model("facebook/opt-125m", (12, 768, 3072), (12, 12, 64), 50272, 2048, is_tied=True, is_gated=False),
    _model("openai/gpt-oss-20b", (24, 2880, 0), (64, 8, 64), 201088, 131072, moe=(32, 4, 2880), expert_bits=4.25),
    _model("openai/gpt-oss-120b", (36, 2880, 0), (64, 8, 64), 201088, 131072, moe=(128, 4, 2880), expert_bits=4.25),
    _bert("sentence-transformers/all-MiniLM-L6-v2", layers=6, hidden=384, heads=12),
    _bert("BAAI/bge-small-en-v1.5", layers=12, hidden=384, heads=12),
    _bert("BAAI/bge-base-en-v1.5", layers=12, hidden=768, heads=12),
    _bert("BAAI/bge-large-en-v1.5", layers=24, hidden=1024, heads=16),
    _bert("BAAI/bge-m3", layers=24, hidden=1024, heads=16, vocab=250002, context=8192),
)
"""Every known model."""

_QUANTIZED = {
    "fp8": "fp8",
    "w8a8": "int8",
    "int8": "int8",
    "awq": "int4",
    "gptq": "int4",
    "int4": "int4",
    "w4a16": "int4",
}
_SUFFIX = re.compile(r"-(instruct|chat|base|hf|it|thinking|dynamic|128k|latest|gptq|awq|int[48]|w8a8|w4a16|fp8)$")
_PREFIX = re.compile(r"^meta-(?=llama)")
_EMBED = re.compile(r"embed|minilm|(^|[-_/])(bge|gte|e5|mpnet)([-_]|$)")


def _key(name: str) -> str:
    return _PREFIX.sub("", name.rstrip("/").rsplit("/", 1)[-1].strip().lower().replace("_", "-"))


_BY_KEY: dict[str, Architecture] = {_key(m.name): m for m in MODELS}


def find_model(name: str) -> Architecture:
    """The architecture of a model by hub name or the last part of a path; a guess (`is_guess`) where none is known.

    Suffixes such as `-Instruct` find the base model; `-FP8`, `-AWQ` and their like set the weights' dtype.
    """
    key = _key(name)
    dtype: str | None = None
    while key not in _BY_KEY:
        match = _SUFFIX.search(key)
        if match is None:
            return _guess(name)
        dtype = _QUANTIZED.get(match.group(1), dtype)
        key = key[: match.start()]
    known = _BY_KEY[key]
    return replace(known, name=name, dtype=dtype) if dtype else replace(known, name=name)


def _guess(name: str) -> Architecture:
    """The known dense model nearest in size to the number in the name; 8B, or BERT for embeddings, without one."""
    key = _key(name)
    sizes = re.findall(r"(?<![a-z\d.])(\d+(?:\.\d+)?)([bm])(?![a-z])", key)
    billions = (float(sizes[0][0]) / (1000 if sizes[0][1] == "m" else 1)) if sizes else None
    is_embed = bool(_EMBED.search(key))
    if is_embed and (billions is None or billions < 0.5):
        nearest = _BY_KEY["all-minilm-l6-v2" if "mini" in key or "small" in key else "bge-base-en-v1.5"]
    else:
        wanted = max(billions or 8.0, 1e-3)
        dense = [m for m in MODELS if m.task == "generate" and not m.experts and m.name.startswith(("Qwen/", "meta-"))]
        nearest = min(dense, key=lambda m: abs(math.log(m.params / 1e9 / wanted)))
    task: Task = "embed" if is_embed else "generate"
    return replace(
        nearest, name=name, task=task, is_guess=True, source=f"guess from the name: the shape of {nearest.name}"
    )


_UNGATED = frozenset(
    {"bert", "roberta", "xlm-roberta", "mpnet", "distilbert", "opt", "gpt2", "gpt_neox", "gpt_bigcode"}
)
_ENCODERS = frozenset({"bert", "roberta", "xlm-roberta", "mpnet", "distilbert", "nomic_bert", "modernbert"})
_REQUIRED = ("num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size")
_OTHER_NAMES = {
    "num_hidden_layers": ("n_layer", "n_layers", "num_layers"),
    "hidden_size": ("n_embd", "d_model", "dim"),
    "num_attention_heads": ("n_head", "n_heads"),
    "intermediate_size": ("ffn_dim", "n_inner", "hidden_dim"),
    "max_position_embeddings": ("n_positions", "max_sequence_length", "n_ctx"),
    "num_experts": ("num_local_experts", "n_routed_experts"),
    "num_experts_per_tok": ("experts_per_token", "num_experts_per_token"),
    "moe_intermediate_size": (),
    "vocab_size": (),
}


def architecture_from_config(config: Mapping[str, Any], name: str = "") -> Architecture:
    """The architecture that a model's `config.json` describes; `UsageError` naming what is missing."""
    text: Mapping[str, Any] = config["text_config"] if isinstance(config.get("text_config"), Mapping) else config

    def number(field: str, default: int | None = 0) -> int:
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

    layers, hidden, heads, vocab = (number(field, None) for field in _REQUIRED)
    experts = number("num_experts")
    intermediate = number("intermediate_size", 4 * hidden)
    kind = str(text.get("model_type", config.get("model_type", "")))
    is_encoder = kind in _ENCODERS
    return Architecture(
        name=name or str(config.get("_name_or_path") or kind or "model"),
        layers=layers,
        hidden=hidden,
        intermediate=intermediate,
        heads=heads,
        kv_heads=number("num_key_value_heads", heads),
        head_dim=number("head_dim", hidden // heads),
        vocab=vocab,
        context=number("max_position_embeddings", 2048),
        experts=experts,
        experts_per_token=number("num_experts_per_tok"),
        expert_intermediate=number("moe_intermediate_size", intermediate) if experts else 0,
        is_tied=bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", is_encoder))),
        is_gated=kind not in _UNGATED,
        is_encoder=is_encoder,
        task=_task_of(config, is_encoder),
        dtype=_dtype_of(config, text),
        expert_bits=4.25 if _quantization(config) == "mxfp4" else None,
        source=f"config.json of {name}" if name else "config.json",
    )


def _task_of(config: Mapping[str, Any], is_encoder: bool) -> Task:
    listed = config.get("architectures")
    is_bare = isinstance(listed, list) and bool(listed) and str(listed[0]).endswith("Model")
    return "embed" if is_encoder or is_bare else "generate"


def _quantization(config: Mapping[str, Any]) -> str:
    quantization = config.get("quantization_config")
    return str(quantization.get("quant_method", "")) if isinstance(quantization, Mapping) else ""


def _dtype_of(config: Mapping[str, Any], text: Mapping[str, Any]) -> str:
    method = _quantization(config)
    if method in ("fp8", "fbgemm_fp8"):
        return "fp8"
    if method in ("awq", "gptq"):
        return "int4"
    dtype = str(text.get("dtype") or text.get("torch_dtype") or config.get("torch_dtype") or "bfloat16")
    return dtype if dtype in ("bfloat16", "float16", "float32") else "bfloat16"
