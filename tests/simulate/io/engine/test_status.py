"""Health, version, models, metrics."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from simulate.io.engine.running import RunningEngine, running_engine

LABELS = '{engine="0",model_name="tiny"}'


@pytest.fixture(scope="module")
def engine() -> Iterator[RunningEngine]:
    with running_engine(served_names=("tiny", "small")) as running:
        yield running


def test_health_is_empty_and_has_no_type(engine: RunningEngine) -> None:
    answer = engine.ask("GET", "/health")

    assert (answer.status, answer.body) == (200, b"")
    assert answer.header("content-type") is None


def test_the_version_is_the_simulated_one(engine: RunningEngine) -> None:
    assert engine.ask("GET", "/version").json == {"version": "0.32.0"}
    assert engine.ask("GET", "/load").json == {"server_load": 0}
    assert engine.ask("GET", "/kv_event_sources").json == {}


def test_every_served_name_is_listed(engine: RunningEngine) -> None:
    models = engine.ask("GET", "/v1/models").json["data"]

    assert [model["id"] for model in models] == ["tiny", "small"]
    assert {model["max_model_len"] for model in models} == {1024}


def test_metrics_follow_what_ran(engine: RunningEngine) -> None:
    before = engine.metrics()
    answer = engine.post("/v1/completions", {"prompt": "one two three", "max_tokens": 9, "ignore_eos": True})
    after = engine.metrics()

    def grown(name: str) -> float:
        return after[f"vllm:{name}{LABELS}"] - before[f"vllm:{name}{LABELS}"]

    assert grown("generation_tokens_total") == 9
    assert grown("prompt_tokens_total") == answer.json["usage"]["prompt_tokens"]
    assert grown("time_to_first_token_seconds_count") == 1
    assert grown("inter_token_latency_seconds_count") == 8
    assert grown("e2e_request_latency_seconds_count") == 1
    assert grown("request_params_max_tokens_sum") == 9
    assert after[f"vllm:num_requests_running{LABELS}"] == 0


def test_the_process_tells_of_itself_first(engine: RunningEngine) -> None:
    answer = engine.ask("GET", "/metrics")

    assert answer.body.startswith(b"# HELP python_gc_objects_collected_total")
    assert b"process_resident_memory_bytes" in answer.body
    assert (answer.header("content-type") or "").startswith("text/plain; version=")
