"""Models by their own config.json."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.errors import UsageError
from penstock.facts import find_model
from penstock.facts.config import architecture_from_config

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}


def test_config_gives_the_same_architecture_as_the_table() -> None:
    known = find_model("meta-llama/Llama-3.1-8B")
    assert architecture_from_config(LLAMA, "meta-llama/Llama-3.1-8B") == known


def test_config_of_a_mixture_of_experts_in_mxfp4() -> None:
    config = LLAMA | {
        "model_type": "gpt_oss",
        "num_local_experts": 32,
        "experts_per_token": 4,
        "intermediate_size": 2880,
        "hidden_size": 2880,
        "head_dim": 64,
        "quantization_config": {"quant_method": "mxfp4"},
    }
    found = architecture_from_config(config)
    assert (found.experts, found.experts_per_token, found.expert_intermediate) == (32, 4, 2880)
    assert found.expert_bits == 4.25
    assert found.head_dim == 64


def test_config_of_an_encoder_embeds_and_keeps_no_cache() -> None:
    found = architecture_from_config(LLAMA | {"model_type": "bert", "architectures": ["BertModel"]})
    assert (found.task, found.has_kv_cache, found.is_gated) == ("embed", False, False)


def test_config_of_a_bare_decoder_embeds() -> None:
    assert architecture_from_config(LLAMA | {"architectures": ["Qwen3Model"]}).task == "embed"


def test_text_part_of_a_vision_config_counts() -> None:
    found = architecture_from_config({"architectures": ["XForConditionalGeneration"], "text_config": LLAMA})
    assert (found.layers, found.task) == (32, "generate")


def test_missing_field_is_named() -> None:
    with pytest.raises(UsageError, match="num_hidden_layers"):
        architecture_from_config({k: v for k, v in LLAMA.items() if k != "num_hidden_layers"})


QWEN_MOE = {
    "model_type": "qwen3_moe", "hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 48,
    "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128, "vocab_size": 151936,
    "max_position_embeddings": 40960, "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768,
    "tie_word_embeddings": False, "sliding_window": None,
}  # fmt: skip
GEMMA = {
    "model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"],
    "text_config": {
        "model_type": "gemma3_text", "hidden_size": 5376, "intermediate_size": 21504, "num_hidden_layers": 62,
        "num_attention_heads": 32, "num_key_value_heads": 16, "head_dim": 128, "sliding_window": 1024,
    },
    "vision_config": {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27},
}  # fmt: skip
DEEPSEEK = {
    "model_type": "deepseek_v3", "hidden_size": 7168, "intermediate_size": 18432, "num_hidden_layers": 61,
    "num_attention_heads": 128, "num_key_value_heads": 128, "vocab_size": 129280, "max_position_embeddings": 163840,
    "kv_lora_rank": 512, "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
    "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8, "moe_intermediate_size": 2048,
    "first_k_dense_replace": 3, "tie_word_embeddings": False, "quantization_config": {"quant_method": "fp8"},
}  # fmt: skip
GPT_OSS = {
    "model_type": "gpt_oss", "hidden_size": 2880, "intermediate_size": 2880, "num_hidden_layers": 24,
    "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 201088,
    "max_position_embeddings": 131072, "num_local_experts": 32, "experts_per_token": 4, "sliding_window": 128,
    "layer_types": ["sliding_attention", "full_attention"] * 12, "attention_bias": True,
    "tie_word_embeddings": False, "quantization_config": {"quant_method": "mxfp4"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (QWEN_MOE, "Qwen/Qwen3-30B-A3B"),
        (GEMMA, "google/gemma-3-27b-it"),
        (DEEPSEEK, "deepseek-ai/DeepSeek-V3"),
        (GPT_OSS, "openai/gpt-oss-20b"),
    ],
)
def test_each_family_reads_as_its_row(config: dict[str, Any], name: str) -> None:
    found, row = architecture_from_config(config, name), find_model(name)
    for field in ("params", "active_params", "sliding_layers", "window", "latent", "dtype", "expert_bits", "context"):
        assert getattr(found, field) == getattr(row, field), field
    assert found.vision_params == pytest.approx(row.vision_params, rel=0.05)


@pytest.mark.parametrize(
    ("weights", "dtype"),
    [({"type": "float", "num_bits": 8}, "fp8"), ({"type": "int", "num_bits": 8}, "int8"), ({"num_bits": 4}, "int4")],
)
def test_compressed_tensors_say_their_bits(weights: dict[str, Any], dtype: str) -> None:
    quantization = {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": weights}}}
    assert architecture_from_config(LLAMA | {"quantization_config": quantization}).dtype == dtype


def test_window_that_is_switched_off_counts_for_nothing() -> None:
    found = architecture_from_config(LLAMA | {"sliding_window": 4096, "use_sliding_window": False})
    assert (found.window, found.sliding_layers) == (0, 0)
    assert architecture_from_config(LLAMA | {"sliding_window": 4096}).sliding_layers == 32


LLAMA4 = {
    "num_hidden_layers": 48, "hidden_size": 5120, "num_attention_heads": 40, "num_key_value_heads": 8, "head_dim": 128,
    "vocab_size": 202048, "intermediate_size": 8192, "intermediate_size_mlp": 16384, "num_experts_per_tok": 1,
    "attention_chunk_size": 8192, "model_type": "llama4_text",
}  # fmt: skip
GEMMA2 = {
    "model_type": "gemma2", "num_hidden_layers": 42, "hidden_size": 3584, "num_attention_heads": 16,
    "num_key_value_heads": 8, "head_dim": 256, "vocab_size": 256000, "intermediate_size": 14336, "sliding_window": 4096,
}  # fmt: skip
COMMAND_R = {
    "model_type": "cohere", "num_hidden_layers": 40, "hidden_size": 8192, "num_attention_heads": 64,
    "num_key_value_heads": 64, "vocab_size": 256000, "intermediate_size": 22528,
}  # fmt: skip
FALCON = {
    "model_type": "falcon", "num_hidden_layers": 32, "hidden_size": 4544, "num_attention_heads": 71,
    "vocab_size": 65024, "multi_query": True,
}  # fmt: skip
PHI3 = {
    "model_type": "phi3", "num_hidden_layers": 32, "hidden_size": 3072, "num_attention_heads": 32,
    "num_key_value_heads": 32, "vocab_size": 32064, "intermediate_size": 8192,
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "billions", "sliding"),
    [  # parameters as the model cards say them, of the language model
        ({"text_config": LLAMA4 | {"num_local_experts": 16, "interleave_moe_layer_step": 1}}, 107.8, 36),
        ({"text_config": LLAMA4 | {"num_local_experts": 128, "interleave_moe_layer_step": 2}}, 400.7, 36),
        (GEMMA2, 9.24, 21),
        (COMMAND_R, 34.98, 0),
        (FALCON, 6.92, 0),
        (PHI3, 3.82, 0),
    ],
)
def test_families_beyond_the_table_have_the_parameters_of_their_cards(
    config: dict[str, Any], billions: float, sliding: int
) -> None:
    found = architecture_from_config(config)
    assert found.params / 1e9 == pytest.approx(billions, rel=0.005)
    assert found.sliding_layers == sliding


def test_one_key_value_head_for_all_queries() -> None:
    assert architecture_from_config(FALCON).kv_heads == 1
