"""What an engine needs around its GPUs."""

from __future__ import annotations

import pytest

from penstock.facts import find_gpu, find_model
from penstock.plan.estimate import Estimate, Layout
from penstock.plan.host import host_needs, startup

GIB = 1 << 30


def estimate(model: str, **changes: object) -> Estimate:
    return Estimate(find_model(model), Layout(**{"gpu": find_gpu("H200"), **changes}), 8192)  # type: ignore[arg-type]


def test_a_measured_start_is_met() -> None:
    """vLLM 0.26 on H200 with weights in the page cache: 48.0 s with warm caches; 98.8 s cold."""
    llama = estimate("meta-llama/Llama-3.1-8B")
    cold = startup(llama, is_cold=True)

    assert startup(llama, is_cold=False).total_s == pytest.approx(48.0, rel=0.15)
    assert cold.total_s - cold.load_s + 1.7 == pytest.approx(98.8, rel=0.15)


def test_a_cold_start_is_never_faster_than_a_warm_one() -> None:
    for model in ("meta-llama/Llama-3.1-8B", "openai/gpt-oss-120b", "BAAI/bge-m3"):
        needs = host_needs(estimate(model))
        assert needs.cold.total_s > needs.warm.total_s


def test_a_probe_waits_twice_the_cold_start() -> None:
    needs = host_needs(estimate("meta-llama/Llama-3.1-70B", tensor=4))

    assert 2 * needs.cold.total_s <= needs.probe_period_s * needs.probe_failures <= 2 * needs.cold.total_s + 10


def test_host_memory_is_above_what_the_guides_ask() -> None:
    assert host_needs(estimate("Qwen/Qwen2.5-7B")).memory_bytes >= 20 * GIB
    assert host_needs(estimate("meta-llama/Llama-3.1-70B", tensor=4)).memory_bytes >= 80 * GIB


def test_shared_memory_grows_with_the_gpus_and_counts_as_memory() -> None:
    one, four = (host_needs(estimate("Qwen/Qwen3-8B", tensor=n)) for n in (1, 4))

    assert one.shm_bytes < four.shm_bytes < four.memory_bytes


def test_the_disk_holds_the_files_as_they_are_published() -> None:
    plain, quantized = (host_needs(estimate("Qwen/Qwen3-8B", quantization=how)) for how in ("none", "fp8"))

    assert plain.disk_bytes == quantized.disk_bytes > 16e9
