"""Parameters that follow from a shape."""

from __future__ import annotations

import pytest

from penstock.facts import find_model

PUBLISHED = {
    # total of the safetensors index of each model
    "meta-llama/Llama-3.2-1B": 1_235_814_400,
    "meta-llama/Llama-3.2-3B": 3_212_749_824,
    "meta-llama/Llama-3.1-8B": 8_030_261_248,
    "meta-llama/Llama-3.1-70B": 70_553_706_496,
    "mistralai/Mistral-7B-v0.3": 7_248_023_552,
    "Qwen/Qwen2.5-7B": 7_615_616_512,
    "Qwen/Qwen3-8B": 8_190_735_360,
    # model cards, to the digits they give
    "Qwen/Qwen3-30B-A3B": 30.5e9,
    "Qwen/Qwen3-235B-A22B": 235e9,
    "openai/gpt-oss-20b": 20.9e9,
    "openai/gpt-oss-120b": 116.8e9,
    "sentence-transformers/all-MiniLM-L6-v2": 22.7e6,
}


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_parameter_count_is_the_published_one(name: str) -> None:
    tolerance = 0.001 if isinstance(PUBLISHED[name], int) else 0.012
    assert find_model(name).params == pytest.approx(PUBLISHED[name], rel=tolerance)


def test_a_mixture_of_experts_multiplies_a_tenth_of_itself() -> None:
    model = find_model("Qwen/Qwen3-30B-A3B")
    assert 2.9e9 < model.active_params < 3.4e9
    assert find_model("Qwen/Qwen3-8B").active_params < find_model("Qwen/Qwen3-8B").params


def test_tied_and_embedding_models_have_no_head_of_their_own() -> None:
    assert find_model("Llama-3.2-1B").head_params == 0
    assert find_model("Qwen/Qwen3-Embedding-8B").head_params == 0
    assert find_model("Llama-3.1-8B").head_params == 128256 * 4096
