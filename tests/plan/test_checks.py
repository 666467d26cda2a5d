"""What contradicts itself or the model is told before anything is sized."""

from __future__ import annotations

import pytest

from penstock.facts import find_model
from penstock.plan import plain_demand
from penstock.plan.checks import check, tensor_misfit
from plan.asks import an_ask


def test_an_ask_without_contradictions_passes() -> None:
    assert check(an_ask()) == []
    assert check(an_ask(count=4, tensor=2, data=2)) == []
    assert check(an_ask(count=8, pipeline=2)) == []


@pytest.mark.parametrize(
    ("changes", "about", "words"),
    [
        ({"tensor": 2, "count": 4}, "tensor", "2 of 4 GPUs would stand idle"),
        ({"tensor": 4, "count": 2}, "tensor", "would want 4 and not start"),
        ({"tensor": 2, "count": 2, "data": 2}, "tensor", "2 × 1 × 2 = 4, but each replica has 2 GPUs"),
        ({"count": 3, "pipeline": 2}, "count", "3 GPUs cannot be shared"),
        ({"tensor": 3}, "tensor", "32 attention heads do not divide by 3"),
        ({"count": 3}, "count", "32 attention heads do not divide by 3"),
        ({"pipeline": 40}, "pipeline", "40 pipeline stages"),
        ({"context": 50_000}, "context", "50,000 tokens is beyond what Qwen/Qwen3-8B was made for, 40,960"),
        ({"demand": plain_demand(1, 9000, 1000), "context": 8192}, "demand", "does not fit a context of 8,192"),
        ({"batched_tokens": 64, "max_num_seqs": 128}, "batched_tokens", "64 tokens of a step are fewer than 128"),
    ],
)
def test_a_contradiction_is_told_with_its_numbers(changes: dict[str, object], about: str, words: str) -> None:
    (refusal,) = check(an_ask(**changes))  # type: ignore[arg-type]

    assert refusal.about == about
    assert words in refusal.message
    assert refusal.hint


def test_a_number_type_that_no_gpu_takes_is_refused() -> None:
    (refusal,) = check(an_ask(gpus="A100 T4", quantization="fp8"))

    assert refusal.about == "quantization"
    assert check(an_ask(gpus="A100 H100", quantization="fp8")) == []


def test_weights_that_must_be_made_beforehand_are_not_laid_over_others() -> None:
    (refusal,) = check(an_ask(gpus="H100", quantization="awq"))

    assert "Qwen/Qwen3-8B has bfloat16 ones" in refusal.message
    assert "Qwen/Qwen3-8B-AWQ" in refusal.hint
    assert check(an_ask("Qwen/Qwen3-8B-AWQ", gpus="H100", quantization="awq")) == []


def test_a_volume_that_does_not_hold_the_files_is_told_with_the_size_that_does() -> None:
    (refusal,) = check(an_ask(gpus="H100", volume_bytes=10 << 30))

    assert "a volume of 10 GiB does not hold the files of Qwen/Qwen3-8B, 15.3 GiB" in refusal.message
    assert "18Gi" in refusal.hint
    assert check(an_ask(gpus="H100", volume_bytes=18 << 30)) == []


def test_a_refusal_stands_where_it_was_said() -> None:
    (refusal,) = check(an_ask(context=50_000, places={"context": ("contextLength",)}))

    assert refusal.at == ("contextLength",)


def test_several_contradictions_are_told_at_once() -> None:
    found = check(an_ask(gpus="T4", tensor=3, context=50_000, dtype="bfloat16"))

    assert {refusal.about for refusal in found} == {"tensor", "context", "dtype"}


def test_few_kv_heads_are_copied_to_more_gpus() -> None:
    assert tensor_misfit(find_model("Qwen/Qwen3-30B-A3B"), 8) is None  # 4 KV heads
    assert "28 attention heads" in str(tensor_misfit(find_model("Qwen/Qwen2.5-7B"), 8))
