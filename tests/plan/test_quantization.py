"""What weights may be made of, and on which GPU."""

from __future__ import annotations

import pytest

from penstock.facts import find_gpu, find_model
from penstock.perf import weight_bytes
from penstock.plan.quantization import (
    CHOICES,
    dtype_misfit,
    flag_of,
    misfit,
    native,
    needs_float16,
    quantized,
    words_of,
)

LLAMA = find_model("meta-llama/Llama-3.1-8B")
GPT_OSS = find_model("openai/gpt-oss-20b")
FP8 = find_model("meta-llama/Llama-3.1-8B-Instruct-FP8")


def test_a_model_knows_how_it_is_quantized() -> None:
    assert (native(LLAMA), native(GPT_OSS), native(FP8)) == ("none", "mxfp4", "fp8")


def test_fewer_bits_are_fewer_bytes() -> None:
    plain, eight, four = (weight_bytes(quantized(LLAMA, how)) for how in ("none", "fp8", "awq"))

    assert plain > 1.7 * eight > 1.7 * 1.5 * four


@pytest.mark.parametrize("how", CHOICES)
def test_a_model_stays_as_it_is_in_its_own_quantization(how: str) -> None:
    for model in (LLAMA, GPT_OSS, FP8):
        if native(model) == how:
            assert quantized(model, how) is model  # type: ignore[arg-type]
            assert flag_of(model, how) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "gpu", "how", "word"),
    [
        (LLAMA, "A100", "fp8", "no FP8 units"),
        (LLAMA, "T4", "fp8", "no FP8 units"),
        (GPT_OSS, "T4", "mxfp4", "compute capability"),
        (LLAMA, "MI300X", "awq", "MI300X"),
        (GPT_OSS, "H100", "fp8", "already"),
        (FP8, "H100", "none", "already"),
        (FP8, "H100", "awq", "already"),
    ],
)
def test_what_vllm_does_not_run_is_told(model: object, gpu: str, how: str, word: str) -> None:
    found = misfit(model, find_gpu(gpu), how)  # type: ignore[arg-type]

    assert found is not None
    assert word in found.message
    assert found.hint


@pytest.mark.parametrize(
    ("model", "gpu", "how"),
    [
        (LLAMA, "A100", "fp8-weights"),
        (FP8, "A100", "fp8"),
        (LLAMA, "L4", "fp8"),
        (LLAMA, "T4", "awq"),
        (GPT_OSS, "A100", "mxfp4"),
    ],
)
def test_what_vllm_runs_is_not_refused(model: object, gpu: str, how: str) -> None:
    assert misfit(model, find_gpu(gpu), how) is None  # type: ignore[arg-type]


def test_turing_has_no_bfloat16() -> None:
    assert dtype_misfit(find_gpu("T4"), "bfloat16") is not None
    assert dtype_misfit(find_gpu("L4"), "bfloat16") is None
    assert needs_float16(LLAMA, find_gpu("T4"))
    assert not needs_float16(LLAMA, find_gpu("L4"))
    assert not needs_float16(find_model("BAAI/bge-m3"), find_gpu("T4"))


def test_only_what_the_source_does_not_say_becomes_a_flag() -> None:
    assert flag_of(LLAMA, "fp8") == flag_of(LLAMA, "fp8-weights") == "fp8"
    assert flag_of(LLAMA, "none") is flag_of(FP8, "fp8") is flag_of(GPT_OSS, "mxfp4") is None


def test_people_read_words() -> None:
    assert words_of(LLAMA, "none") == "bfloat16"
    assert words_of(LLAMA, "awq") == "AWQ 4-bit"
