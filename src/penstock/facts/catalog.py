"""The table of well-known models. Each row's source is the `config.json` of the model of that name on the hub.

Published checkpoints that are quantized as they are (DeepSeek in FP8, gpt-oss in MXFP4) say so in their row; names with
`-FP8`, `-AWQ` and their like are found by `models.find_model`. Vision and sound towers are counted by parameters only.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from penstock.facts.architecture import Architecture, Latent

__all__ = ["MODELS"]


def _model(
    name: str,
    shape: tuple[int, int, int],
    attention: tuple[int, int, int],
    vocab: int,
    context: int,
    *,
    moe: tuple[int, int, int] = (0, 0, 0),
    **more: Any,
) -> Architecture:
    """Layers, hidden, intermediate; heads, KV heads, head size; experts, experts per token, width of an expert."""
    return Architecture(
        name=name, layers=shape[0], hidden=shape[1], intermediate=shape[2],
        heads=attention[0], kv_heads=attention[1], head_dim=attention[2], vocab=vocab, context=context,
        experts=moe[0], experts_per_token=moe[1], expert_intermediate=moe[2],
        source=f"config.json of {name}", **more,
    )  # fmt: skip


def _like(model: Architecture, name: str, **changes: Any) -> Architecture:
    return replace(model, name=name, source=f"config.json of {name}", **changes)


def _qwen25(name: str, shape: tuple[int, int, int], heads: tuple[int, int, int], **more: Any) -> Architecture:
    vocab = 151936 if shape[1] <= 2048 else 152064
    return _model(name, shape, heads, vocab, more.pop("context", 32768), has_qkv_bias=True, **more)


def _qwen3(
    name: str, shape: tuple[int, int, int], heads: tuple[int, int, int], context: int = 40960, **more: Any
) -> Architecture:
    return _model(name, shape, heads, more.pop("vocab", 151936), context, has_qk_norm=True, **more)


def _gemma3(
    size: str, shape: tuple[int, int, int], heads: tuple[int, int, int], *, window: int, vision: int
) -> Architecture:
    """Five layers of a window, then one of everything."""
    return _model(
        f"google/gemma-3-{size}-it", shape, heads, 262208 if vision else 262144, 131072 if vision else 32768,
        is_tied=True, window=window, sliding_layers=shape[0] - shape[0] // 6, has_qk_norm=True, norms_per_layer=4,
        vision_params=vision,
    )  # fmt: skip


def _bert(name: str, *, layers: int, hidden: int, heads: int, vocab: int = 30522, context: int = 512) -> Architecture:
    return _model(
        name, (layers, hidden, 4 * hidden), (heads, heads, hidden // heads), vocab, context,
        task="embed", is_encoder=True, is_gated=False, has_bias=True, dtype="float32",
    )  # fmt: skip


_LLAMA_8B = _model("meta-llama/Llama-3.1-8B", (32, 4096, 14336), (32, 8, 128), 128256, 131072)
_LLAMA_70B = _model("meta-llama/Llama-3.1-70B", (80, 8192, 28672), (64, 8, 128), 128256, 131072)
_LLAMA = (
    _model("meta-llama/Llama-3.2-1B", (16, 2048, 8192), (32, 8, 64), 128256, 131072, is_tied=True),
    _model("meta-llama/Llama-3.2-3B", (28, 3072, 8192), (24, 8, 128), 128256, 131072, is_tied=True),
    _LLAMA_8B,
    _LLAMA_70B,
    _model("meta-llama/Llama-3.1-405B", (126, 16384, 53248), (128, 8, 128), 128256, 131072),
    _like(_LLAMA_8B, "meta-llama/Meta-Llama-3-8B", context=8192),
    _like(_LLAMA_70B, "meta-llama/Meta-Llama-3-70B", context=8192),
    _like(_LLAMA_70B, "meta-llama/Llama-3.3-70B-Instruct"),
    _like(_LLAMA_8B, "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"),
    _like(_LLAMA_70B, "deepseek-ai/DeepSeek-R1-Distill-Llama-70B"),
    _model("TinyLlama/TinyLlama-1.1B-Chat-v1.0", (22, 2048, 5632), (32, 4, 64), 32000, 2048),
    _model("HuggingFaceTB/SmolLM2-135M", (30, 576, 1536), (9, 3, 64), 49152, 8192, is_tied=True),
)

_QWEN25_7B = _qwen25("Qwen/Qwen2.5-7B", (28, 3584, 18944), (28, 4, 128))
_QWEN25_14B = _qwen25("Qwen/Qwen2.5-14B", (48, 5120, 13824), (40, 8, 128))
_QWEN25_32B = _qwen25("Qwen/Qwen2.5-32B", (64, 5120, 27648), (40, 8, 128))
_QWEN25 = (
    _qwen25("Qwen/Qwen2.5-0.5B", (24, 896, 4864), (14, 2, 64), is_tied=True),
    _qwen25("Qwen/Qwen2.5-1.5B", (28, 1536, 8960), (12, 2, 128), is_tied=True),
    _qwen25("Qwen/Qwen2.5-3B", (36, 2048, 11008), (16, 2, 128), is_tied=True),
    _QWEN25_7B,
    _QWEN25_14B,
    _QWEN25_32B,
    _qwen25("Qwen/Qwen2.5-72B", (80, 8192, 29568), (64, 8, 128)),
    _like(_QWEN25_7B, "Qwen/Qwen2-7B", context=131072),
    _like(_QWEN25_32B, "Qwen/QwQ-32B", context=40960),
    _like(_QWEN25_32B, "LLM360/K2-Think", context=131072),
    _qwen25("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", (28, 1536, 8960), (12, 2, 128), context=131072),
    _like(_QWEN25_7B, "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", context=131072),
    _like(_QWEN25_14B, "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B", context=131072),
    _like(_QWEN25_32B, "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", context=131072),
    _qwen25(
        "Qwen/Qwen2.5-VL-3B-Instruct", (36, 2048, 11008), (16, 2, 128), is_tied=True, context=128000,
        vision_params=669_000_000,
    ),
    _like(_QWEN25_7B, "Qwen/Qwen2.5-VL-7B-Instruct", context=128000, vision_params=676_000_000),
    _qwen25("Qwen/Qwen2.5-VL-72B-Instruct", (80, 8192, 29568), (64, 8, 128), context=128000, vision_params=700_000_000),
    _like(_QWEN25_7B, "Qwen/Qwen2.5-Omni-7B", vision_params=1_316_000_000),
    _model(
        "Qwen/Qwen1.5-MoE-A2.7B", (24, 2048, 0), (16, 16, 128), 151936, 8192, moe=(60, 4, 1408),
        shared_intermediate=5632, has_qkv_bias=True,
    ),
)  # fmt: skip

_QWEN3_4B = _qwen3("Qwen/Qwen3-4B", (36, 2560, 9728), (32, 8, 128), is_tied=True)
_QWEN3_8B = _qwen3("Qwen/Qwen3-8B", (36, 4096, 12288), (32, 8, 128))
_QWEN3_32B = _qwen3("Qwen/Qwen3-32B", (64, 5120, 25600), (64, 8, 128))
_QWEN3_30B = _qwen3("Qwen/Qwen3-30B-A3B", (48, 2048, 6144), (32, 4, 128), moe=(128, 8, 768))
_QWEN3_235B = _qwen3("Qwen/Qwen3-235B-A22B", (94, 4096, 12288), (64, 4, 128), moe=(128, 8, 1536))
_QWEN3 = (
    _qwen3("Qwen/Qwen3-0.6B", (28, 1024, 3072), (16, 8, 128), is_tied=True),
    _qwen3("Qwen/Qwen3-1.7B", (28, 2048, 6144), (16, 8, 128), is_tied=True),
    _QWEN3_4B,
    _QWEN3_8B,
    _qwen3("Qwen/Qwen3-14B", (40, 5120, 17408), (40, 8, 128)),
    _QWEN3_32B,
    _QWEN3_30B,
    _QWEN3_235B,
    _like(_QWEN3_4B, "Qwen/Qwen3-4B-Instruct-2507", context=262144),
    _like(_QWEN3_4B, "Qwen/Qwen3-4B-Thinking-2507", context=262144),
    _like(_QWEN3_30B, "Qwen/Qwen3-30B-A3B-Instruct-2507", context=262144),
    _like(_QWEN3_30B, "Qwen/Qwen3-30B-A3B-Thinking-2507", context=262144),
    _like(_QWEN3_30B, "Qwen/Qwen3-Coder-30B-A3B-Instruct", context=262144),
    _like(_QWEN3_235B, "Qwen/Qwen3-235B-A22B-Instruct-2507", context=262144),
    _like(_QWEN3_235B, "Qwen/Qwen3-235B-A22B-Thinking-2507", context=262144),
    _qwen3("Qwen/Qwen3-Coder-480B-A35B-Instruct", (62, 6144, 8192), (96, 8, 128), 262144, moe=(160, 8, 2560)),
    _like(_QWEN3_4B, "Qwen/Qwen3-VL-4B-Instruct", context=262144, vision_params=415_000_000),
    _like(_QWEN3_8B, "Qwen/Qwen3-VL-8B-Instruct", context=262144, vision_params=576_000_000),
    _like(_QWEN3_32B, "Qwen/Qwen3-VL-32B-Instruct", context=262144, vision_params=596_000_000),
    _like(_QWEN3_30B, "Qwen/Qwen3-VL-30B-A3B-Instruct", context=262144, vision_params=538_000_000),
    _like(_QWEN3_235B, "Qwen/Qwen3-VL-235B-A22B-Instruct", context=262144, vision_params=576_000_000),
    _like(_QWEN3_235B, "Qwen/Qwen3-VL-235B-A22B-Thinking", context=262144, vision_params=576_000_000),
    _like(_QWEN3_30B, "Qwen/Qwen3-Omni-30B-A3B-Instruct", vocab=152064, context=65536, vision_params=1_180_000_000),
    _qwen3(
        "Qwen/Qwen3-Embedding-0.6B", (28, 1024, 3072), (16, 8, 128), 32768, vocab=151669, is_tied=True, task="embed"
    ),
    _qwen3("Qwen/Qwen3-Embedding-4B", (36, 2560, 9728), (32, 8, 128), vocab=151665, is_tied=True, task="embed"),
    _qwen3("Qwen/Qwen3-Embedding-8B", (36, 4096, 12288), (32, 8, 128), vocab=151665, task="embed"),
)

_GEMMA = (
    _gemma3("1b", (26, 1152, 6912), (4, 1, 256), window=512, vision=0),
    _gemma3("4b", (34, 2560, 10240), (8, 4, 256), window=1024, vision=420_000_000),
    _gemma3("12b", (48, 3840, 15360), (16, 8, 256), window=1024, vision=421_000_000),
    _gemma3("27b", (62, 5376, 21504), (32, 16, 128), window=1024, vision=423_000_000),
)

_MISTRAL_7B = _model("mistralai/Mistral-7B-v0.3", (32, 4096, 14336), (32, 8, 128), 32768, 32768)
_MISTRAL_24B = _model(
    "mistralai/Mistral-Small-24B-Instruct-2501", (40, 5120, 32768), (32, 8, 128), 131072, 32768
)  # fmt: skip
_MISTRAL = (
    _MISTRAL_7B,
    _like(_MISTRAL_7B, "mistralai/Mistral-7B-Instruct-v0.2", vocab=32000),
    _like(_MISTRAL_7B, "mistralai/Mistral-7B-Instruct-v0.3"),
    _model("mistralai/Mistral-Nemo-Instruct-2407", (40, 5120, 14336), (32, 8, 128), 131072, 131072),
    _MISTRAL_24B,
    _like(_MISTRAL_24B, "mistralai/Mistral-Small-3.1-24B-Instruct-2503", context=131072, vision_params=439_000_000),
    _like(_MISTRAL_24B, "mistralai/Mistral-Small-3.2-24B-Instruct-2506", context=131072, vision_params=439_000_000),
    _like(_MISTRAL_24B, "mistralai/Devstral-Small-2507", context=131072),
    _model("mistralai/Mistral-Large-Instruct-2411", (88, 12288, 28672), (96, 8, 128), 32768, 131072),
    _model("mistralai/Mixtral-8x7B-Instruct-v0.1", (32, 4096, 0), (32, 8, 128), 32000, 32768, moe=(8, 2, 14336)),
    _model("mistralai/Mixtral-8x22B-Instruct-v0.1", (56, 6144, 0), (48, 8, 128), 32768, 65536, moe=(8, 2, 16384)),
)


def _gpt_oss(size: str, layers: int, experts: int) -> Architecture:
    """Every other layer attends to 128 tokens; experts in MXFP4, the rest in bf16."""
    return _model(
        f"openai/gpt-oss-{size}", (layers, 2880, 0), (64, 8, 64), 201088, 131072, moe=(experts, 4, 2880),
        window=128, sliding_layers=layers // 2, has_bias=True, expert_bits=4.25,
    )  # fmt: skip


def _deepseek(
    name: str, shape: tuple[int, int, int], heads: int, vocab: int, latent: Latent, **more: Any
) -> Architecture:
    heads_each = (heads, heads, latent.value_dim)
    return _model(f"deepseek-ai/{name}", shape, heads_each, vocab, 163840, latent=latent, **more)


_LATENT = Latent(kv_rank=512, rope_dim=64, nope_dim=128, value_dim=128, query_rank=1536)
_DEEPSEEK_V3 = _deepseek(
    "DeepSeek-V3", (61, 7168, 18432), 128, 129280, _LATENT,
    moe=(256, 8, 2048), shared_intermediate=2048, dense_layers=3, dtype="fp8",
)  # fmt: skip
_DEEPSEEK = (
    _deepseek(
        "DeepSeek-V2-Lite-Chat", (27, 2048, 10944), 16, 102400, replace(_LATENT, query_rank=0),
        moe=(64, 6, 1408), shared_intermediate=2816, dense_layers=1,
    ),
    _deepseek(
        "DeepSeek-V2-Chat", (60, 5120, 12288), 128, 102400, _LATENT,
        moe=(160, 6, 1536), shared_intermediate=3072, dense_layers=1,
    ),
    _DEEPSEEK_V3,
    _like(_DEEPSEEK_V3, "deepseek-ai/DeepSeek-V3-0324"),
    _like(_DEEPSEEK_V3, "deepseek-ai/DeepSeek-V3.1"),
    _like(_DEEPSEEK_V3, "deepseek-ai/DeepSeek-R1"),
    _like(_DEEPSEEK_V3, "deepseek-ai/DeepSeek-R1-0528"),
    _like(_DEEPSEEK_V3, "deepseek-ai/DeepSeek-V3.2-Exp", latent=replace(_LATENT, index_dim=128)),
    _like(
        _DEEPSEEK_V3, "moonshotai/Kimi-K2-Instruct-0905", heads=64, kv_heads=64, vocab=163840, context=262144,
        experts=384, dense_layers=1,
    ),
)  # fmt: skip

_OTHERS = (
    _gpt_oss("20b", 24, 32),
    _gpt_oss("120b", 36, 128),
    _model("allenai/OLMoE-1B-7B-0924", (16, 2048, 0), (16, 16, 128), 50304, 4096, moe=(64, 8, 1024)),
    _model("microsoft/phi-4", (40, 5120, 17920), (40, 10, 128), 100352, 16384),
    _model("microsoft/Phi-4-mini-instruct", (32, 3072, 8192), (24, 8, 128), 200064, 131072, is_tied=True),
    _model(
        "facebook/opt-125m", (12, 768, 3072), (12, 12, 64), 50272, 2048, is_tied=True, is_gated=False, has_bias=True
    ),
    _bert("sentence-transformers/all-MiniLM-L6-v2", layers=6, hidden=384, heads=12),
    _bert("BAAI/bge-small-en-v1.5", layers=12, hidden=384, heads=12),
    _bert("BAAI/bge-base-en-v1.5", layers=12, hidden=768, heads=12),
    _bert("BAAI/bge-large-en-v1.5", layers=24, hidden=1024, heads=16),
    _bert("BAAI/bge-m3", layers=24, hidden=1024, heads=16, vocab=250002, context=8192),
)

MODELS: tuple[Architecture, ...] = (*_QWEN3, *_QWEN25, *_LLAMA, *_GEMMA, *_MISTRAL, *_DEEPSEEK, *_OTHERS)
"""Every known model."""
