"""The text of the metrics, read back by the Prometheus client, and beside the recorded one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from penstock.simulate.engine.api.exposition import CacheLabels, Gauges, render
from penstock.simulate.engine.api.metrics import EngineMetrics, HttpMetrics
from penstock.simulate.engine.core import EngineStats

RECORDED = Path(__file__).resolve().parents[4].parent / "shared" / "reference" / "vllm-api"
STATS = EngineStats(
    running=2,
    waiting=1,
    kv_usage=0.25,
    prefix_queries=30,
    prefix_hits=10,
    preemptions=4,
    prompt_tokens=30,
    cached_tokens=10,
    generation_tokens=7,
    num_gpu_blocks=1024,
    free_blocks=1000,
)


def text_of(
    *, name: str = "tiny", is_pooling: bool = False, max_model_len: int = 1024, metrics: EngineMetrics | None = None
) -> str:
    cache = CacheLabels(
        block_size=128,
        num_gpu_blocks=1024,
        num_gpu_blocks_override=None,
        gpu_memory_utilization=0.92,
        max_model_len=max_model_len,
        size_tokens=128 * 1024,
        is_pooling=is_pooling,
    )
    http = HttpMetrics()
    http.observe(handler="/openapi.json", method="GET", status=200, sent=9, received=0, took_s=0.2, at=2e9)
    gauges = Gauges(model_name=name, stats=STATS, sleep_level=0, created=1.5e9, cache=cache)
    return render(gauges, metrics or EngineMetrics(max_model_len), http)


def values_of(text: str) -> dict[str, float]:
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def skeleton(text: str) -> list[str]:
    """Lines without values, without what the process says of itself, and without the values of free labels."""
    kept = []
    for line in text.splitlines():
        words = line.split(" ")
        name = words[2] if line.startswith("#") else line
        if name.startswith(("vllm:", "http_")):
            kept.append(line if line.startswith("#") else line.rsplit(" ", 1)[0])
    return kept


def test_the_prometheus_client_reads_it() -> None:
    families = {family.name: family for family in text_string_to_metric_families(text_of())}

    assert families["vllm:time_to_first_token_seconds"].type == "histogram"
    assert families["vllm:num_requests_running"].samples[0].labels == {"engine": "0", "model_name": "tiny"}


def test_gauges_are_those_of_the_engine() -> None:
    values = values_of(text_of())

    assert values['vllm:num_requests_running{engine="0",model_name="tiny"}'] == 2
    assert values['vllm:num_requests_waiting{engine="0",model_name="tiny"}'] == 1
    assert values['vllm:kv_cache_usage_perc{engine="0",model_name="tiny"}'] == 0.25
    assert values['vllm:prefix_cache_hits_total{engine="0",model_name="tiny"}'] == 10
    assert values['vllm:num_preemptions_total{engine="0",model_name="tiny"}'] == 4


def test_buckets_are_cumulative_and_end_with_all() -> None:
    metrics = EngineMetrics(1024)
    for value in (0.002, 0.03, 9999.0):
        metrics.first_token.observe(value)
    name = "vllm:time_to_first_token_seconds"

    values = values_of(text_of(metrics=metrics))
    buckets = [value for key, value in values.items() if key.startswith(f"{name}_bucket")]

    assert buckets == sorted(buckets)
    assert buckets[-1] == values[f'{name}_count{{engine="0",model_name="tiny"}}'] == 3
    assert buckets[-2] == 2


def test_a_model_name_with_quotes_is_escaped() -> None:
    assert r'model_name="a\"b\\c"' in text_of(name='a"b\\c')


def test_numbers_are_written_as_prometheus_clients_write_them() -> None:
    assert 'vllm:num_preemptions_created{engine="0",model_name="tiny"} 1.5e+09' in text_of()


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded metrics are not beside this project")
@pytest.mark.parametrize(
    ("file", "name", "max_model_len"),
    [("metrics-before-A.txt", "tiny", 1024), ("metrics-embedding.txt", "minilm", 256)],
)
def test_families_labels_and_order_are_the_recorded_ones(file: str, name: str, max_model_len: int) -> None:
    recorded = (RECORDED / file).read_text(encoding="utf-8")
    ours = text_of(name=name, is_pooling=name == "minilm", max_model_len=max_model_len)
    free = re.compile(r'kv_cache_memory_bytes="[^"]*"')

    def shown(text: str) -> list[str]:
        lines = [free.sub("", line) for line in skeleton(text)]
        return [line for line in lines if name == "tiny" or "handler=" not in line]

    assert shown(ours) == shown(recorded)
