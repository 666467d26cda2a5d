"""Models by name and by config.json."""

from __future__ import annotations

import pytest

from penstock.errors import UsageError
from penstock.facts.models import MODELS, architecture_from_config, find_model

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


def test_every_model_is_found_by_its_name_and_by_the_end_of_a_path() -> None:
    for model in MODELS:
        assert find_model(model.name) == model
        short = find_model("/models/" + model.name.rsplit("/", 1)[1])
        assert (short.params, short.context) == (model.params, model.context)
        assert not short.is_guess


@pytest.mark.parametrize(
    ("asked", "like", "dtype"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B", "bfloat16"),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B", "bfloat16"),
        ("Qwen/Qwen3-8B-FP8", "Qwen/Qwen3-8B", "fp8"),
        ("Qwen/Qwen2.5-7B-Instruct-AWQ", "Qwen/Qwen2.5-7B", "int4"),
        ("neuralmagic/Llama-3.1-70B-Instruct-FP8-dynamic", "meta-llama/Llama-3.1-70B", "fp8"),
    ],
)
def test_suffixes_find_the_base_model_and_its_weights_dtype(asked: str, like: str, dtype: str) -> None:
    found = find_model(asked)
    assert found.name == asked
    assert found.dtype == dtype
    assert found.params == find_model(like).params
    assert not found.is_guess


@pytest.mark.parametrize(
    ("asked", "billions"), [("acme/wonder-8b", 8), ("acme/Tiny-0.5B-chat", 0.5), ("big-70B", 70), ("nameless", 8)]
)
def test_unknown_name_is_guessed_by_its_size_and_says_so(asked: str, billions: float) -> None:
    found = find_model(asked)
    assert found.is_guess
    assert found.name == asked
    assert found.params == pytest.approx(billions * 1e9, rel=0.25)
    assert "guess" in found.source


@pytest.mark.parametrize("asked", ["acme/text-embed-small", "acme/e5-large", "thenlper/gte-base"])
def test_unknown_embedding_model_embeds(asked: str) -> None:
    found = find_model(asked)
    assert (found.task, found.is_guess, found.is_encoder) == ("embed", True, True)


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
