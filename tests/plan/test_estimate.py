"""The door to facts and performance: bars add up, more memory holds more tokens."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.facts import GPUS, find_gpu, find_model
from penstock.perf import StepTime
from penstock.plan.estimate import Estimate, Layout, StepParts, fits, graph_bytes, safe_utilization

LLAMA = find_model("meta-llama/Llama-3.1-8B")
H100 = find_gpu("H100")


def estimate(**changes: object) -> Estimate:
    return Estimate(LLAMA, Layout(**{"gpu": H100, **changes}), 8192)  # type: ignore[arg-type]


@pytest.mark.parametrize("gpu", ["L4", "H100", "H200"])
@pytest.mark.parametrize("model", ["meta-llama/Llama-3.1-8B", "BAAI/bge-m3", "google/gemma-3-4b-it"])
def test_the_parts_of_the_bar_add_up(gpu: str, model: str) -> None:
    memory = Estimate(find_model(model), Layout(gpu=find_gpu(gpu)), 8192).memory

    assert sum(size for _, size in memory.parts) == memory.total


def test_a_model_without_a_cache_has_no_cache_in_its_bar() -> None:
    found = Estimate(find_model("BAAI/bge-m3"), Layout(gpu=H100), 8192)

    assert (found.memory.kv_cache, found.memory.kv_tokens) == (0, 0)
    assert found.requests_of(100) == math.inf


def test_weights_that_are_too_large_are_told() -> None:
    found = Estimate(find_model("meta-llama/Llama-3.1-70B"), Layout(gpu=H100), 8192)

    assert "does not fit" in str(fits(found))
    assert fits(estimate()) is None


def test_one_engine_on_one_gpu_takes_the_time_that_perf_says() -> None:
    perf = StepTime(LLAMA, H100).step_s(decode_requests=8, decode_context=8000)
    found = estimate()

    assert found.seconds(found.step(prompts=0, prefill_tokens=0, decodes=8, context=8000, pairs=0)) == perf


def test_a_launch_hides_behind_what_the_gpu_has_left_and_the_host_has_slow_spells() -> None:
    found = estimate()
    launched, decode = StepParts(gpu_s=0.010, host_s=0.020), StepParts(gpu_s=0.008, host_s=0.001)

    assert found.left(decode) == pytest.approx(0.008)
    assert found.left(launched) == 0.0
    assert found.seconds(launched) == pytest.approx(0.020 * sum(p * spell for p, spell in found.spells))
    assert found.seconds(launched, left=0.008) == pytest.approx(found.seconds(launched) - 0.008)
    assert found.seconds(decode, left=0.008) == 0.008
    assert found.left(launched, before=0.008) < found.left(launched, before=0.020) <= 0.010


def test_quantized_weights_are_loaded_whole_from_disk() -> None:
    found = estimate(quantization="fp8")

    assert found.source_bytes > 1.7 * found.weight_bytes


def test_a_smaller_request_of_more_is_the_same_cache() -> None:
    found = estimate()

    assert found.requests_of(1024) == pytest.approx(8 * found.requests_of(8192), rel=0.01)
    assert found.memory.full_requests == pytest.approx(found.memory.kv_tokens / 8192, rel=0.01)


@pytest.mark.parametrize("gpu", [gpu.name for gpu in GPUS])
def test_what_comes_on_top_of_the_request_fits(gpu: str) -> None:
    small = find_model("Qwen/Qwen3-0.6B")
    found = find_gpu(gpu)
    utilization = safe_utilization(found, small)

    assert utilization <= 0.92
    assert Estimate(small, Layout(gpu=found, utilization=utilization), 8192).memory.free >= 0


def test_more_stages_have_fewer_graphs_each() -> None:
    assert graph_bytes(LLAMA, 2) == graph_bytes(LLAMA) / 2


def test_intervals_surround_their_figure() -> None:
    low, high = estimate().interval(10.0, "ttft")

    assert low < 10.0 < high


def test_a_layout_reads_as_people_write_it() -> None:
    assert Layout(gpu=H100).words == "1× H100"
    assert Layout(gpu=H100, tensor=4, pipeline=2).words == "8× H100 (TP 4 · PP 2)"


@settings(deadline=None)
@given(st.floats(0.5, 0.95), st.floats(0.5, 0.95))
def test_more_memory_never_holds_fewer_tokens(one: float, other: float) -> None:
    less, more = sorted((one, other))

    assert estimate(utilization=less).memory.kv_tokens <= estimate(utilization=more).memory.kv_tokens
