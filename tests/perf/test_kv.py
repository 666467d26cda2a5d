"""Blocks and groups of layers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.facts import find_model
from penstock.perf.kv import kv_bytes_per_token, kv_layout


def test_bytes_follow_heads_dtype_and_parallelism() -> None:
    llama = find_model("Llama-3.1-8B")
    assert kv_bytes_per_token(llama) == 131_072
    assert kv_bytes_per_token(llama, "fp8") == 65_536
    assert kv_bytes_per_token(llama, "fp8_e4m3", 2) == 32_768
    assert kv_bytes_per_token(llama, None, 4) == 32_768
    assert kv_bytes_per_token(llama, None, 16) == 16_384  # KV heads are repeated past their number
    assert kv_bytes_per_token(find_model("Llama-3.1-8B-FP8")) == 131_072  # quantized weights, plain cache
    assert kv_bytes_per_token(find_model("all-MiniLM-L6-v2")) == 0


def test_latent_cache_is_one_short_vector_that_every_gpu_holds() -> None:
    deepseek = find_model("DeepSeek-V3")
    assert kv_bytes_per_token(deepseek) == 61 * 576 * 2
    assert kv_bytes_per_token(deepseek, None, 8) == kv_bytes_per_token(deepseek)
    assert kv_bytes_per_token(find_model("DeepSeek-V3.2-Exp"), "fp8") == 61 * (656 + 132)


@pytest.mark.parametrize(
    ("name", "layers", "full", "sliding"),
    [
        ("gemma-3-27b", 10, 1, 6),
        ("gemma-3-12b", 8, 1, 5),
        ("gemma-3-4b", 5, 1, 6),
        ("gemma-3-1b", 4, 1, 6),
        ("gpt-oss-20b", 12, 1, 1),
        ("Llama-3.1-8B", 32, 1, 0),
        ("all-MiniLM-L6-v2", 0, 0, 0),
    ],
)
def test_layers_are_grouped_as_vllm_does(name: str, layers: int, full: int, sliding: int) -> None:
    layout = kv_layout(find_model(name))
    assert (layout.group_layers, layout.full_groups, layout.sliding_groups) == (layers, full, sliding)


def test_gemma_27b_holds_what_vllm_printed() -> None:
    """72.06 GiB on an H200: 134,709 tokens, 16.44 requests of 8192."""
    layout = kv_layout(find_model("gemma-3-27b"))
    assert layout.blocks_per_request(8192, 8192) == 512 + 6 * 513
    assert layout.tokens(round(72.06 * 2**30), 8192, 8192) == pytest.approx(134_709, rel=2e-4)


def test_a_decoding_request_holds_its_window_and_a_pure_one_everything() -> None:
    gemma, llama = kv_layout(find_model("gemma-3-27b")), kv_layout(find_model("Llama-3.1-8B"))
    assert llama.blocks_held(8192) == 512
    assert gemma.blocks_held(512) == 7 * 32
    assert gemma.blocks_held(8192) == 512 + 6 * 65  # 1,024 tokens that begin inside a block
    assert gemma.blocks_held(100_000) == 6250 + 6 * 65


def test_a_stage_of_a_pipeline_holds_its_layers_only() -> None:
    whole, half = kv_layout(find_model("Llama-3.1-8B")), kv_layout(find_model("Llama-3.1-8B"), pipeline_parallel=2)
    assert whole.block_bytes == 2 * half.block_bytes


@given(
    kv_bytes=st.integers(0, 10**12), length=st.integers(1, 200_000), name=st.sampled_from(["gemma-3-4b", "Qwen3-8B"])
)
def test_one_request_never_takes_more_than_all_layers_full(kv_bytes: int, length: int, name: str) -> None:
    layout = kv_layout(find_model(name))
    per_request = layout.blocks_per_request(length, 8192)
    groups = layout.full_groups + layout.sliding_groups
    assert -(-length // 16) * layout.full_groups <= per_request <= groups * (-(-length // 16) + 1)
    assert layout.tokens(kv_bytes, length, 8192) <= layout.blocks(kv_bytes) * 16 / layout.full_groups + length
