"""Steps told apart in an engine's metrics: pure decodes and single prompts count, mixtures do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.errors import PenstockError
from penstock.simulate.probe import Measured
from penstock.simulate.watching import Reading, measured_of, read_metrics

NAMES = (
    "generation_tokens_total",
    "prompt_tokens_total",
    "inter_token_latency_seconds_sum",
    "inter_token_latency_seconds_count",
    "request_prefill_time_seconds_sum",
    "request_prefill_time_seconds_count",
    "iteration_tokens_total_sum",
    "iteration_tokens_total_count",
)
RECORDED = Path(__file__).resolve().parents[3] / "shared" / "data" / "h200" / "metrics-under-load-vllm-0.26.txt"


def text_of(running: float, kv_usage: float = 0.0, engine: int = 0, **counters: float) -> str:
    labels = f'{{engine="{engine}",model_name="m"}}'
    lines = [f"vllm:{name}{labels} {counters.get(name, 0.0)}" for name in NAMES]
    lines += [f"vllm:num_requests_running{labels} {running}", f"vllm:kv_cache_usage_perc{labels} {kv_usage}"]
    lines.append('vllm:cache_config_info{block_size="16",kv_cache_size_tokens="10000",num_gpu_blocks="625"} 1.0')
    return "# HELP x y\n" + "\n".join(lines) + "\n"


def decoding(readings: list[Reading], running: int, step_s: float, steps: int = 50, prompt_tokens: int = 0) -> None:
    """One more reading, after so many steps of so many requests."""
    last = readings[-1].values
    change = {
        "generation_tokens_total": running * steps,
        "prompt_tokens_total": prompt_tokens,
        "inter_token_latency_seconds_sum": running * steps * step_s,
        "inter_token_latency_seconds_count": running * steps,
        "iteration_tokens_total_sum": running * steps + prompt_tokens,
        "iteration_tokens_total_count": steps,
    }
    readings.append(read_metrics(text_of(running, 0.1, **{n: last[n] + change.get(n, 0.0) for n in NAMES})))


def test_decodes_between_two_readings_are_a_step() -> None:
    readings: list[Reading] = []
    for running, step_s in ((1, 0.005), (4, 0.006), (16, 0.008)):
        start = readings[-1].values if readings else {}
        readings.append(read_metrics(text_of(running, 0.1, **{n: start.get(n, 0.0) for n in NAMES})))
        decoding(readings, running, step_s)

    assert measured_of(readings) == [
        Measured(kind="decode", requests=n, tokens=round(1000 / n), seconds=pytest.approx(s))  # type: ignore[arg-type]
        for n, s in ((1, 0.005), (4, 0.006), (16, 0.008))
    ]


def test_a_step_with_a_prompt_in_it_is_left_out() -> None:
    readings = [read_metrics(text_of(4, 0.1))]
    decoding(readings, 4, 0.05, prompt_tokens=500)

    with pytest.raises(PenstockError, match="only 0 batch sizes"):
        measured_of(readings)


def test_a_restarted_engine_is_no_step() -> None:
    busy = dict.fromkeys(NAMES, 1000.0)

    with pytest.raises(PenstockError, match="only 0 batch sizes"):
        measured_of([read_metrics(text_of(4, **busy)), read_metrics(text_of(4))])


def test_a_prompt_alone_is_a_prefill_by_the_engines_clock() -> None:
    readings = [read_metrics(text_of(0))]
    alone = {
        "prompt_tokens_total": 700.0,
        "request_prefill_time_seconds_sum": 0.02,
        "request_prefill_time_seconds_count": 1.0,
    }
    readings.append(read_metrics(text_of(1, 0.1, **alone)))
    for running in (1, 2, 3):
        last = {n: readings[-1].values[n] for n in NAMES}
        readings.append(read_metrics(text_of(running, 0.1, **last)))
        decoding(readings, running, 0.005)

    assert Measured(kind="prefill", requests=1, tokens=700, seconds=0.02, is_engine=True) in measured_of(readings)


def test_several_engines_are_refused() -> None:
    with pytest.raises(PenstockError, match="several engines"):
        read_metrics(text_of(1) + text_of(1, engine=1))


def test_metrics_of_something_else_are_refused() -> None:
    with pytest.raises(PenstockError, match="this is no vLLM"):
        read_metrics("up 1\n")


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded metrics are not beside the project")
def test_metrics_of_a_real_engine_are_read() -> None:
    reading = read_metrics(RECORDED.read_text(encoding="utf-8"))

    assert reading["generation_tokens_total"] > 0
    assert reading["inter_token_latency_seconds_sum"] / reading["inter_token_latency_seconds_count"] < 0.1
    assert reading.kv_tokens > 800_000
