"""Parameters that follow from a shape."""

from __future__ import annotations

import pytest

from penstock.facts import find_model

EXACT = {
    # total of the safetensors index of each model
    "meta-llama/Llama-3.2-1B": 1_235_814_400,
    "meta-llama/Llama-3.2-3B": 3_212_749_824,
    "meta-llama/Llama-3.1-8B": 8_030_261_248,
    "meta-llama/Llama-3.1-70B": 70_553_706_496,
    "meta-llama/Llama-3.1-405B": 405_853_388_800,
    "mistralai/Mistral-7B-v0.3": 7_248_023_552,
    "mistralai/Mixtral-8x7B-Instruct-v0.1": 46_702_792_704,
    "Qwen/Qwen2.5-0.5B": 494_032_768,
    "Qwen/Qwen2.5-7B": 7_615_616_512,
    "Qwen/Qwen2.5-72B": 72_706_203_648,
    "Qwen/Qwen3-0.6B": 596_049_920,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "Qwen/Qwen3-30B-A3B": 30_532_122_624,
    "Qwen/Qwen3-235B-A22B": 235_093_634_560,
    "google/gemma-3-1b-it": 999_885_952,
    "openai/gpt-oss-20b": 20_914_757_184,
    "openai/gpt-oss-120b": 116_829_156_672,
    "microsoft/phi-4": 14_659_507_200,
    "deepseek-ai/DeepSeek-V2-Lite-Chat": 15_706_484_224,
}
CLOSE = {
    "deepseek-ai/DeepSeek-V3": 671_026_419_200,
    "facebook/opt-125m": 125_239_296,
    "allenai/OLMoE-1B-7B-0924": 6_919_161_856,
    "Qwen/Qwen1.5-MoE-A2.7B": 14_315_784_192,
    "moonshotai/Kimi-K2-Instruct-0905": 1_026_000_000_000,
    "sentence-transformers/all-MiniLM-L6-v2": 22_713_216,
}


@pytest.mark.parametrize("name", sorted(EXACT))
def test_parameter_count_is_the_published_one_to_the_last(name: str) -> None:
    assert find_model(name).params == EXACT[name]


@pytest.mark.parametrize("name", sorted(CLOSE))
def test_parameter_count_of_the_odd_families_is_within_a_percent(name: str) -> None:
    assert find_model(name).params == pytest.approx(CLOSE[name], rel=0.01)


@pytest.mark.parametrize(
    ("name", "billions"), [("Qwen3-30B-A3B", 3.35), ("DeepSeek-V3", 37.5), ("gpt-oss-20b", 3.6), ("Mixtral-8x7B", 12.9)]
)
def test_a_mixture_of_experts_multiplies_a_small_part_of_itself(name: str, billions: float) -> None:
    model = find_model(name)
    assert model.active_params / 1e9 == pytest.approx(billions, rel=0.12)
    assert model.active_params < model.params / 2.5


def test_tied_and_embedding_models_have_no_head_of_their_own() -> None:
    assert find_model("Llama-3.2-1B").head_params == 0
    assert find_model("Qwen/Qwen3-Embedding-8B").head_params == 0
    assert find_model("Llama-3.1-8B").head_params == 128256 * 4096


@pytest.mark.parametrize(
    ("name", "full", "sliding", "window"),
    [("gemma-3-27b", 10, 52, 1024), ("gemma-3-1b", 4, 22, 512), ("gpt-oss-20b", 12, 12, 128), ("Qwen3-8B", 36, 0, 0)],
)
def test_layers_of_a_hybrid_are_counted_by_kind(name: str, full: int, sliding: int, window: int) -> None:
    model = find_model(name)
    assert (model.full_layers, model.sliding_layers, model.window) == (full, sliding, window)
