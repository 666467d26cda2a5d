"""Step times against an H200, and the laws that any step time obeys."""

from __future__ import annotations

import csv
import statistics
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.facts import find_gpu, find_model
from penstock.perf.timing import FrontEndTime, Overheads, StepTime

H200 = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "h200"
NEEDS_H200 = pytest.mark.skipif(
    not H200.exists(), reason="the measurements of an H200 are not beside this checkout"
)
NAMES = {"llama-3.1-8b": "Llama-3.1-8B", "qwen2.5-7b": "Qwen2.5-7B", "qwen3-30b-a3b": "Qwen3-30B-A3B"}
LLAMA = StepTime(find_model("Llama-3.1-8B"), find_gpu("H200"))


def _rows(name: str) -> list[dict[str, str]]:
    with (H200 / name).open(newline="") as file:
        return [r for r in csv.DictReader(file) if "eager" not in r["run"] and r["model"] in NAMES]


@NEEDS_H200
@pytest.mark.parametrize(
    ("model", "median_max", "worst_max"),
    # seen: medians 1.0, 3.1 and 2.5 %; worst 4.8, 7.7 and 13.3 %. Only the 8B was fitted.
    [("llama-3.1-8b", 0.02, 0.06), ("qwen2.5-7b", 0.05, 0.09), ("qwen3-30b-a3b", 0.05, 0.15)],
)
def test_decode_steps_are_as_measured(model: str, median_max: float, worst_max: float) -> None:
    timing = StepTime(find_model(NAMES[model]), find_gpu("H200"))
    errors = []
    for row in _rows("decode.csv"):
        if row["model"] == model:
            batch = int(row["B"])
            said = timing.step_s(decode_requests=batch, decode_context=batch * int(row["mean_ctx"]))
            errors.append(abs(said * 1e3 / float(row["step_ms"]) - 1))
    assert len(errors) >= 9
    assert statistics.median(errors) < median_max
    assert max(errors) < worst_max


@NEEDS_H200
def test_prefill_of_the_8b_is_as_measured() -> None:
    """Seen: median 1 %, worst 19 % (one first prompt of 128 tokens); a slow host's launches are the floor.

    Not covered: prefill of the 30B mixture of experts, which is up to 59 % slower than said at 2,048 tokens.
    """
    timing = StepTime(find_model("Llama-3.1-8B"), find_gpu("H200"), overheads=Overheads(launch_s=9e-6))
    errors = []
    for row in _rows("prefill.csv"):
        if row["model"] == "llama-3.1-8b":
            start = int(row["nin"]) - int(row["computed"])
            said = 0.0
            while start < int(row["nin"]):
                count = min(8192, int(row["nin"]) - start)
                said += timing.step_s(prefill_tokens=count, prefill_pairs=count * (start + count / 2))
                start += count
            errors.append(abs(said * 1e3 / float(row["engine_ms"]) - 1))
    assert len(errors) >= 30
    assert statistics.median(errors) < 0.03
    assert max(errors) < 0.20


@pytest.mark.parametrize(
    ("batch", "measured_ms"),
    [(1, 4.57), (8, 4.6), (16, 4.66), (32, 4.88), (64, 5.12), (128, 5.87), (256, 8.56), (512, 14.5)],
)
def test_decode_without_context_is_within_5_percent_of_the_h200(batch: int, measured_ms: float) -> None:
    head_and_sampling_ms = 0.30
    said = LLAMA.step_s(decode_requests=batch) * 1e3 - head_and_sampling_ms
    assert said == pytest.approx(measured_ms, rel=0.05)


def test_prefill_costs_21_microseconds_a_token_on_the_h200() -> None:
    rate = (LLAMA.step_s(prefill_tokens=8192) - LLAMA.step_s(prefill_tokens=2048)) / 6144
    assert rate == pytest.approx(21.2e-6, rel=0.03)


STEPS = st.tuples(st.integers(0, 8192), st.integers(0, 512), st.integers(0, 4096))


@given(step=STEPS, more=STEPS, name=st.sampled_from(["Llama-3.1-8B", "Qwen3-30B-A3B", "all-MiniLM-L6-v2"]))
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


def test_an_empty_step_takes_no_time() -> None:
    assert LLAMA.step_s() == 0.0


def test_a_faster_gpu_is_faster_and_two_are_faster_than_one() -> None:
    model = find_model("Llama-3.1-70B")
    times = [StepTime(model, find_gpu(g)).step_s(decode_requests=8) for g in ("A100", "H100", "H200", "B200")]
    assert times == sorted(times, reverse=True)
    pair = StepTime(model, find_gpu("H100"), tensor_parallel=2).step_s(decode_requests=8)
    assert times[1] / 2 < pair < times[1]


def test_front_end_adds_a_little_more_for_a_longer_prompt() -> None:
    front = FrontEndTime()
    assert front.before(0) == pytest.approx(2.3e-3)
    assert front.before(4096) + front.after(4096) == pytest.approx(13.1e-3, rel=0.02)
