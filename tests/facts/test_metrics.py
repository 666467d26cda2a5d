"""Metric names, against the ones that real vLLM showed."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.facts.metrics import ENGINE_METRICS, GONE_METRICS, metric_advice

SHOWN = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "h200" / "metrics-under-load-vllm-0.26.txt"
SINCE_0_26 = {"vllm:admission_rejections_total"}


@pytest.mark.skipif(not SHOWN.exists(), reason="the recorded metrics are not beside this checkout")
def test_names_are_those_of_a_real_engine_and_gone_ones_are_not() -> None:
    kinds = dict(line.split()[2:4] for line in SHOWN.read_text().splitlines() if line.startswith("# TYPE vllm:"))
    known = {name: kind for name, kind in ENGINE_METRICS.items() if name not in SINCE_0_26}
    missing = {n for n, kind in known.items() if kinds.get(n, kinds.get(n.removesuffix("_total"))) != kind}
    assert missing <= {"vllm:lora_requests_info", "vllm:corrupted_requests_total"}  # only where they are asked for
    assert not set(GONE_METRICS) & set(kinds)


def test_gone_names_point_to_living_ones() -> None:
    assert {new for new in GONE_METRICS.values() if new} <= set(ENGINE_METRICS)
    assert not set(GONE_METRICS) & set(ENGINE_METRICS)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vllm:gpu_cache_usage_perc", "ask for vllm:kv_cache_usage_perc"),
        ("vllm:time_per_output_token_seconds_bucket", "ask for vllm:inter_token_latency_seconds"),
        ("vllm:num_requests_swapped", "nothing in its place"),
    ],
)
def test_old_name_is_answered_with_the_new_one(name: str, words: str) -> None:
    said = metric_advice(name)
    assert said is not None
    assert words in said


def test_living_name_needs_no_advice() -> None:
    assert metric_advice("vllm:num_requests_waiting") is None
