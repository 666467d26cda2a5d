"""Step times against an H200, and the laws that any step time obeys."""

from __future__ import annotations

import statistics
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.facts import find_gpu, find_model
from penstock.perf.fitting import DECODE_OVERHEADS, PREFILL_OVERHEADS, fit_points, predict
from penstock.perf.kv import kv_bytes_per_token
from penstock.perf.timing import StepTime
from perf.measured import NEEDS_H200, points

H200 = find_gpu("H200")
LLAMA = StepTime(find_model("Llama-3.1-8B"), H200)
GRAPHED = ["Llama-3.1-8B", "Qwen3-30B-A3B", "all-MiniLM-L6-v2", "gemma-3-4b", "DeepSeek-V2-Lite", "Llama-3.1-70B-FP8"]


def _errors(kind: str, model: str, *, is_eager: bool = False) -> list[float]:
    mine = [p for p in points(kind, is_eager=is_eager) if p.model.name == model]
    return [abs(predict(p, StepTime(p.model, p.gpu).calibration) / p.seconds - 1) for p in mine]


@NEEDS_H200
@pytest.mark.parametrize(
    ("model", "kind", "count", "median_max", "worst_max"),
    [  # seen: median 1.1, 1.5, 1.4, 1.2 and 2.7 %; worst 4.9, 7.4, 14.8 (a first prompt), 5.2 and 19.2 % (the same)
        ("llama-3.1-8b", "decode", 50, 0.02, 0.06),
        ("qwen2.5-7b", "decode", 9, 0.03, 0.11),
        ("llama-3.1-8b", "prefill", 33, 0.03, 0.17),
        ("qwen3-30b-a3b", "decode", 30, 0.02, 0.07),
        ("qwen3-30b-a3b", "prefill", 10, 0.05, 0.20),
    ],
)
def test_steps_are_as_measured(model: str, kind: str, count: int, median_max: float, worst_max: float) -> None:
    errors = _errors(kind, model)
    assert len(errors) == count
    assert statistics.median(errors) < median_max
    assert max(errors) < worst_max


@NEEDS_H200
def test_prefill_without_graphs_is_as_measured() -> None:
    """Seen: median 9 %, worst 22 %: launches alone, on a host that jitters."""
    errors = _errors("prefill", "llama-3.1-8b", is_eager=True)
    assert statistics.median(errors) < 0.12


@pytest.mark.parametrize(
    ("batch", "measured_ms"),
    [(1, 4.57), (8, 4.6), (16, 4.66), (32, 4.88), (64, 5.12), (128, 5.87), (256, 8.56), (512, 14.5)],
)
def test_decode_without_context_is_within_5_percent_of_the_h200(batch: int, measured_ms: float) -> None:
    head_and_sampling_ms = {1: 0.298, 8: 0.30, 16: 0.31, 32: 0.34, 64: 0.377, 128: 0.42, 256: 0.64, 512: 1.2}[batch]
    said = LLAMA.gpu_s(decode_requests=batch) * 1e3 - head_and_sampling_ms
    assert said == pytest.approx(measured_ms, rel=0.05)


def test_prefill_costs_20_microseconds_a_token_on_the_h200_and_more_once_its_clock_sinks() -> None:
    def rate(fewer: int, more: int) -> float:
        return (LLAMA.gpu_s(prefill_tokens=more) - LLAMA.gpu_s(prefill_tokens=fewer)) / (more - fewer)

    assert rate(1024, 2048) == pytest.approx(19.9e-6, rel=0.03)
    assert rate(4096, 8192) == pytest.approx(21.8e-6, rel=0.03)


def test_fp8_cache_is_read_at_3_terabytes_a_second() -> None:
    timing = StepTime(find_model("Llama-3.1-8B"), H200, kv_dtype="fp8")
    more = timing.gpu_s(decode_requests=32, decode_context=32 * 8192) - timing.gpu_s(decode_requests=32)
    assert 32 * 8192 * 65_536 / more == pytest.approx(3.1e12, rel=0.02)


def test_fp8_matrices_move_in_tiles_of_256_tokens() -> None:
    timing = StepTime(find_model("Llama-3.1-70B-FP8"), H200)
    times = {n: timing.gpu_s(decode_requests=n) for n in (128, 136, 256, 272, 512)}
    assert times[136] - times[128] > 2.5 * (times[256] - times[136])
    assert times[272] - times[256] > 2.5 * (times[512] - times[272])


def test_context_beyond_the_window_costs_the_full_layers_only() -> None:
    gemma = StepTime(find_model("gemma-3-27b"), H200)

    def per_token(start: int) -> float:
        return gemma.gpu_s(decode_requests=8, decode_context=8 * (start + 100)) - gemma.gpu_s(
            decode_requests=8, decode_context=8 * start
        )

    assert per_token(500) == pytest.approx(6.2 * per_token(4000), rel=0.01)


def test_small_model_waits_for_the_host() -> None:
    small = StepTime(find_model("Llama-3.2-1B"), H200)
    assert small.gpu_s(decode_requests=1, decode_context=500) < small.decode_s(1, 500)
    assert small.decode_s(1, 500) == pytest.approx(1.8e-3, rel=0.1)


def test_steps_without_graphs_cost_launches() -> None:
    small = StepTime(find_model("Llama-3.2-1B"), H200)
    assert small.launch_s(512, 0) < small.launch_s(513, 0)
    assert small.launch_s(0, 512) < small.launch_s(0, 513)
    eager = StepTime(find_model("Llama-3.1-8B"), H200, is_eager=True)
    assert eager.decode_s(1, 482) == pytest.approx(12e-3, rel=0.05)  # measured: 11.98 ms


STEPS = st.tuples(st.integers(0, 8192), st.integers(0, 512), st.integers(0, 4096))


@given(step=STEPS, more=STEPS, name=st.sampled_from(GRAPHED))
def test_more_work_never_takes_less_time(step: tuple[int, int, int], more: tuple[int, int, int], name: str) -> None:
    timing = StepTime(find_model(name), find_gpu("H100"))

    def seconds(prefill: int, decodes: int, context: int) -> float:
        return timing.step_s(
            prefill_tokens=prefill,
            decode_requests=decodes,
            decode_context=decodes * context,
            prefill_pairs=prefill * prefill / 2,
        )

    larger = (step[0] + more[0], step[1] + more[1], step[2] + more[2])
    assert seconds(*step) <= seconds(*larger) + 1e-12


@given(tokens=st.integers(1, 60_000), cached=st.floats(0, 0.95), name=st.sampled_from(GRAPHED))
def test_cached_tokens_never_make_a_prefill_slower(tokens: int, cached: float, name: str) -> None:
    timing = StepTime(find_model(name), H200)
    assert timing.prefill_s(tokens, cached_tokens=int(cached * tokens)) <= timing.prefill_s(tokens) + 1e-12


def test_an_empty_step_takes_no_time() -> None:
    assert LLAMA.step_s() == LLAMA.gpu_s() == 0.0


def test_a_faster_gpu_is_faster_and_two_are_faster_than_one() -> None:
    model = find_model("Llama-3.1-70B")
    times = [StepTime(model, find_gpu(g)).gpu_s(decode_requests=8) for g in ("A100", "H100", "H200", "B200")]
    assert times == sorted(times, reverse=True)
    pair = StepTime(model, find_gpu("H100"), tensor_parallel=2).gpu_s(decode_requests=8)
    assert times[1] / 2 < pair < times[1]


@given(factor=st.floats(1.01, 3))
def test_more_bandwidth_is_never_slower(factor: float) -> None:
    faster = replace(H200, bandwidth_tb_per_s=H200.bandwidth_tb_per_s * factor)
    for batch in (1, 64, 512):
        slow, fast = (
            StepTime(LLAMA.model, g).gpu_s(decode_requests=batch, decode_context=10_000) for g in (H200, faster)
        )
        assert fast < slow


def test_interval_holds_its_figure_and_is_wider_for_kinds_that_nobody_measured() -> None:
    widths = []
    for name, kv_dtype in (("Llama-3.1-8B", None), ("Llama-3.1-8B", "fp8"), ("gemma-3-1b", "fp8")):
        low, high = StepTime(find_model(name), H200, kv_dtype=kv_dtype).interval(5e-3, "decode")
        assert low < 5e-3 < high
        widths.append(high - low)
    assert widths == sorted(widths)
    assert widths[0] < widths[1] < widths[2]


def test_where_the_host_decides_a_step_may_take_much_longer() -> None:
    small, large = StepTime(find_model("Llama-3.2-1B"), H200), LLAMA
    assert (small.waits_for_host, large.waits_for_host) == (True, False)
    assert StepTime(LLAMA.model, H200, is_eager=True).waits_for_host
    assert small.interval(2e-3, "decode").high > 1.5 * 2e-3 > large.interval(2e-3, "decode").high
    assert small.interval(2e-3, "prefill").high == large.interval(2e-3, "prefill").high


@NEEDS_H200
@pytest.mark.parametrize("kind", ["decode", "prefill"])
def test_stated_interval_holds_85_to_97_percent_of_models_that_the_fit_never_saw(kind: str) -> None:
    inside = []
    for held_out in {p.model.name for p in points(kind)}:
        seen = [p for k in ("decode", "prefill") for p in points(k) if p.model.name != held_out]
        fitted = fit_points(seen, LLAMA.calibration, (*DECODE_OVERHEADS, *PREFILL_OVERHEADS))
        for point in points(kind):
            if point.model.name == held_out:
                low, high = fitted.interval(predict(point, fitted), point.kind)
                inside.append(low <= point.seconds <= high)
    assert 0.85 <= sum(inside) / len(inside) <= 0.97


FLOORS = ["Llama-3.2-1B", "Llama-3.1-8B", "Llama-3.1-8B-FP8", "Llama-3.1-70B-FP8", "gemma-3-27b", "Qwen3-14B"]


@given(
    name=st.sampled_from(FLOORS),
    batch=st.integers(1, 512),
    context=st.integers(1, 8192),
    prompt=st.integers(0, 8192),
    layout=st.sampled_from([(1, None), (2, None), (4, None), (1, "fp8"), (4, "fp8")]),
)
def test_no_step_is_faster_than_the_data_sheet_allows(
    name: str, batch: int, context: int, prompt: int, layout: tuple[int, str | None]
) -> None:
    model, (tensor, kv_dtype) = find_model(name), layout
    timing = StepTime(model, H200, tensor_parallel=tensor, kv_dtype=kv_dtype)
    seconds = timing.gpu_s(prefill_tokens=prompt, decode_requests=batch, decode_context=batch * context)
    cached = batch * min(context, model.window or context) * kv_bytes_per_token(model, kv_dtype, tensor)
    read = model.matrix_params * model.matrix_bytes_per_param / tensor + cached
    assert seconds > read / H200.bandwidth_bytes_per_s
    peak = H200.fp8_flops if model.dtype == "fp8" else H200.bf16_flops
    assert peak is not None
    assert seconds > 2 * model.matrix_params * (batch + prompt) / tensor / peak


@given(name=st.sampled_from(FLOORS), batch=st.integers(1, 512), prompt=st.integers(0, 8192))
def test_more_gpus_are_never_slower_on_the_gpu_for_a_large_model(name: str, batch: int, prompt: int) -> None:
    model = find_model(name)
    if model.params < 8e9:
        return
    times = [
        StepTime(model, H200, tensor_parallel=tensor).gpu_s(
            prefill_tokens=prompt, decode_requests=batch, decode_context=batch * 1024
        )
        for tensor in (1, 2, 4, 8)
    ]
    assert times == sorted(times, reverse=True)
