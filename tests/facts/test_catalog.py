"""The table of models."""

from __future__ import annotations

import pytest

from penstock.facts import MODELS, find_model


def test_every_row_is_sourced_and_consistent() -> None:
    for model in MODELS:
        assert model.source == f"config.json of {model.name}"
        assert model.heads % model.kv_heads == 0
        assert 0 < model.active_params <= model.params + model.vocab * model.hidden
        assert bool(model.window) == bool(model.sliding_layers)


@pytest.mark.parametrize(
    "name",
    [
        "meta-llama/Llama-3.1-8B-Instruct", "openai/gpt-oss-20b", "openai/gpt-oss-120b",
        "Qwen/Qwen3-Embedding-8B", "Qwen/Qwen3-Omni-30B-A3B-Instruct", "LLM360/K2-Think",
        "Qwen/Qwen3-VL-235B-A22B-Instruct", "google/gemma-3-12b-it", "mistralai/Mistral-7B-Instruct-v0.3",
        "deepseek-ai/DeepSeek-R1", "Qwen/Qwen2.5-VL-72B-Instruct", "Qwen/Qwen3-32B",
    ],
)  # fmt: skip
def test_families_of_the_guides_are_known(name: str) -> None:
    assert not find_model(name).is_guess


def test_names_are_unique() -> None:
    assert len({m.name for m in MODELS}) == len(MODELS)
