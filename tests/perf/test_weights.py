"""Weights on each GPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import UsageError
from penstock.facts import MODELS, find_model
from penstock.perf.weights import Parallelism, check_parallelism, kv_heads_per_gpu, weight_bytes

GIB = 1 << 30
LLAMA_70B = find_model("Llama-3.1-70B")


@pytest.mark.parametrize(
    ("name", "gib"),
    [
        ("Llama-3.1-70B-Instruct-FP8", 67.75),  # 68.45e9 matrices in fp8, 2.1e9 of embedding and head in bf16
        ("openai/gpt-oss-120b", 64.4),  # as vLLM says once it is loaded
        ("Qwen2.5-32B-Instruct-AWQ", 18.1),  # 18.0 GiB on the hub
        ("deepseek-ai/DeepSeek-V3", 627.0),
        ("sentence-transformers/all-MiniLM-L6-v2", 0.084),
    ],
)
def test_quantized_weights_are_what_was_seen(name: str, gib: float) -> None:
    assert weight_bytes(find_model(name)) / GIB == pytest.approx(gib, rel=0.02)


def test_fp8_halves_the_matrices_and_leaves_embedding_and_head() -> None:
    full, half = weight_bytes(LLAMA_70B), weight_bytes(replace(LLAMA_70B, dtype="fp8"))
    assert full - half == pytest.approx(LLAMA_70B.matrix_params)


@given(model=st.sampled_from(MODELS), tensor=st.sampled_from([1, 2, 4, 8]), pipeline=st.integers(1, 4))
def test_a_gpu_never_holds_less_than_its_share_nor_more_than_with_fewer(
    model: object, tensor: int, pipeline: int
) -> None:
    found = next(m for m in MODELS if m is model)
    whole = weight_bytes(found)
    part = weight_bytes(found, tensor, pipeline_parallel=pipeline)
    assert whole / (tensor * pipeline) * 0.999 <= part <= whole
    assert weight_bytes(found, 2 * tensor, pipeline_parallel=pipeline) <= part


def test_experts_are_spread_over_attention_copies_too() -> None:
    model = find_model("Qwen3-235B-A22B")
    sliced = weight_bytes(model, 1, data_parallel=8)
    whole = weight_bytes(model, 1, data_parallel=8, is_expert_parallel=True)
    assert sliced == whole  # 128 experts divide by 8
    assert whole < weight_bytes(model, 1) / 4


def test_key_value_heads_are_repeated_past_their_number() -> None:
    assert [kv_heads_per_gpu(LLAMA_70B, n) for n in (1, 4, 8, 16)] == [8, 2, 1, 1]


def test_spread_counts_its_gpus_and_refuses_uneven_heads() -> None:
    assert Parallelism(tensor=4, pipeline=2, data=2).gpus == 16
    check_parallelism(LLAMA_70B, Parallelism(tensor=8))
    with pytest.raises(UsageError, match="64 attention heads, which 3 GPUs"):
        check_parallelism(LLAMA_70B, Parallelism(tensor=3))
