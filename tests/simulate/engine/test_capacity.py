"""What bounds a simulated engine."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.errors import UsageError
from penstock.facts import find_gpu, find_model
from penstock.simulate.engine.capacity import count_blocks, count_tokens, make_limits
from penstock.simulate.engine.messages import EngineConfig


def _config(model: str = "Llama-3.1-8B", **changes: Any) -> EngineConfig:
    return EngineConfig(model=find_model(model), gpu=find_gpu("H200"), gpu_memory_utilization=0.9, **changes)


@pytest.mark.parametrize(
    ("model", "printed"), [("Llama-3.1-8B", 896_912), ("gemma-3-27b", 134_709), ("Qwen3-30B-A3B", 714_128)]
)
def test_tokens_are_what_vllm_printed(model: str, printed: int) -> None:
    config = _config(model)
    assert count_tokens(config, 8192, count_blocks(config, 8192)) == pytest.approx(printed, rel=0.01)


def test_blocks_that_are_given_are_taken_and_too_few_are_told() -> None:
    assert count_blocks(_config(num_gpu_blocks=600), 8192) == 600
    assert count_tokens(_config(num_gpu_blocks=600), 8192, 600) == 9600
    with pytest.raises(UsageError, match="needs 513 KV blocks of 16 tokens") as told:
        count_blocks(_config(num_gpu_blocks=100), 8192)
    assert "--max-model-len 1584" in (told.value.hint or "")


def test_a_hybrid_takes_a_block_in_each_group() -> None:
    limits = make_limits(_config("gemma-3-27b"))
    assert (limits.full_groups, limits.sliding_groups, limits.window) == (1, 6, 1024)
    assert limits.more_blocks(0, 8192) == 6 * 512
    assert limits.more_blocks(8192, 8193) == 6 * (513 - 448)


def test_a_model_without_groups_takes_no_more_blocks() -> None:
    limits = make_limits(_config())
    assert limits.more_blocks(100, 200) == 0
