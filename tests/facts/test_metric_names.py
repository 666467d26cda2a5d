"""Metric names, kinds and buckets, held to what engines were seen to expose."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from penstock.facts.metric_names import ALL_ENGINE_METRICS, buckets_of, metric_kind

RECORDED = Path(__file__).resolve().parents[3] / "shared" / "reference" / "vllm-api"


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded answers are not here")
def test_every_recorded_metric_is_known_with_its_kind_and_buckets() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(RECORDED.glob("metrics-*.txt")))
    kinds = dict(re.findall(r"^# TYPE (vllm:\S+) (\w+)$", text, re.MULTILINE))
    bounds: dict[str, set[float]] = {}
    for name, le in re.findall(r'^(vllm:\w+)_bucket\{[^}]*le="([\d.e+]+)"', text, re.MULTILINE):
        bounds.setdefault(name, set()).add(float(le))

    assert {n: metric_kind(n) for n in kinds} == kinds
    assert {n: set(buckets_of(n)) for n in bounds if buckets_of(n)} == {
        n: b for n, b in bounds.items() if buckets_of(n)
    }


def test_series_of_a_histogram_are_counters() -> None:
    assert metric_kind("vllm:time_to_first_token_seconds_bucket") == "counter"
    assert metric_kind("vllm:num_requests_waiting") == "gauge"
    assert metric_kind("DCGM_FI_DEV_GPU_UTIL") == "gauge"
    assert metric_kind("up") is None


def test_half_a_second_is_a_bucket_of_the_first_token_and_04_is_not() -> None:
    assert 0.5 in buckets_of("vllm:time_to_first_token_seconds_bucket")
    assert 0.4 not in buckets_of("vllm:time_to_first_token_seconds_bucket")
    assert buckets_of("vllm:request_prompt_tokens_bucket") == ()


def test_no_name_is_listed_without_its_prefix() -> None:
    assert all(name.startswith("vllm:") for name in ALL_ENGINE_METRICS)
