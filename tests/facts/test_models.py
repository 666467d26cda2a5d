"""Models by name."""

from __future__ import annotations

import pytest

from penstock.facts.catalog import MODELS
from penstock.facts.models import find_model


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
        ("google/gemma-3-27b", "google/gemma-3-27b-it", "bfloat16"),
        ("mistralai/Mixtral-8x7B", "mistralai/Mixtral-8x7B-Instruct-v0.1", "bfloat16"),
        ("Qwen/Qwen2.5-Coder-7B-Instruct-AWQ", "Qwen/Qwen2.5-7B", "int4"),
        ("Qwen/Qwen3-VL-235B-A22B-Instruct-FP8", "Qwen/Qwen3-VL-235B-A22B-Instruct", "fp8"),
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


def test_text_only_variant_has_no_vision_tower() -> None:
    assert find_model("gemma-3-27b-text").vision_params == 0 < find_model("gemma-3-27b-it").vision_params
