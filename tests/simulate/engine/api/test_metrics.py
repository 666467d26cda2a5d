"""Counts and histograms."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.simulate.engine.api.metrics import (
    EngineMetrics,
    FinishedRequest,
    Histogram,
    HttpMetrics,
    token_bounds,
)
from penstock.simulate.engine.core import RequestTimes, StepResult


def step(prefill: int, decode: int) -> StepResult:
    return StepResult(
        starts_at=0.0,
        ends_at=1.0,
        outputs=(),
        prefill_tokens=prefill,
        decode_tokens=decode,
        preempted=0,
        running=0,
        waiting=0,
    )


@given(st.lists(st.floats(0, 100), max_size=30))
def test_every_value_falls_into_the_first_bucket_that_holds_it(values: list[float]) -> None:
    histogram = Histogram((1.0, 5.0, 50.0))
    for value in values:
        histogram.observe(value)

    bounds = (*histogram.bounds, float("inf"))
    for place, bound in enumerate(bounds):
        assert sum(histogram.counts[: place + 1]) == sum(value <= bound for value in values)
    assert histogram.count == len(values)


def test_a_negative_time_counts_as_zero() -> None:
    histogram = Histogram((1.0,))
    histogram.observe(-1.0)

    assert (histogram.counts, histogram.total) == ([1, 0], 0.0)


def test_token_buckets_go_as_far_as_the_context() -> None:
    assert token_bounds(256) == (1, 2, 5, 10, 20, 50, 100, 200)
    assert token_bounds(1000)[-1] == 1000


def test_empty_steps_are_not_counted() -> None:
    metrics = EngineMetrics(1024)
    metrics.on_step(step(0, 0))
    metrics.on_step(step(30, 2))

    assert (metrics.iteration_tokens.count, metrics.iteration_tokens.total) == (1, 32)


def test_a_finished_request_is_split_into_its_phases() -> None:
    metrics = EngineMetrics(1024)
    times = RequestTimes(arrival=1.0, scheduled_at=2.0, first_token_at=4.0, finished_at=10.0, preemptions=1)
    metrics.on_finish(
        FinishedRequest(reason="stop", prompt_tokens=8, cached_tokens=4, output_tokens=4, max_tokens=16, times=times)
    )

    assert metrics.finished["stop"] == 1
    assert metrics.queued.total == 1.0
    assert metrics.prefill.total == 2.0
    assert metrics.decode.total == 6.0
    assert metrics.inference.total == 8.0
    assert metrics.end_to_end.total == 9.0
    assert metrics.per_output_token.total == 2.0
    assert metrics.prefill_computed.total == 4
    assert metrics.request_preemptions.total == 1


def test_an_embedding_has_no_output_limit() -> None:
    metrics = EngineMetrics(1024)
    times = RequestTimes(arrival=0.0, scheduled_at=0.0, first_token_at=1.0, finished_at=1.0, preemptions=0)
    metrics.on_finish(
        FinishedRequest(reason="stop", prompt_tokens=8, cached_tokens=0, output_tokens=0, max_tokens=None, times=times)
    )

    assert metrics.params_max_tokens.count == 0
    assert metrics.request_prompt_tokens.count == 1


def test_first_tokens_groups_and_tool_calls_are_counted() -> None:
    metrics = EngineMetrics(1024)
    metrics.on_first(10, 4, 0.5)
    metrics.on_group(2, 30)
    metrics.on_tool_parse(is_stream=True, is_call=True, times=2)

    assert (metrics.prompt_tokens, metrics.cached_tokens, metrics.first_token.total) == (10, 4, 0.5)
    assert (metrics.params_n.total, metrics.max_generation_tokens.total) == (2, 30)
    assert metrics.tool_calls == {("streaming", "tool_call"): 2}


def test_http_requests_are_counted_by_route_method_and_class_of_status() -> None:
    http = HttpMetrics()
    for status in (200, 201, 404):
        http.observe(handler="/a", method="GET", status=status, sent=5, received=2, took_s=0.2, at=1.0)

    assert http.requests == {("/a", "GET", "2xx"): 2, ("/a", "GET", "4xx"): 1}
    assert (http.response_bytes["/a"].total, http.request_bytes["/a"].total) == (15, 6)
    assert (http.fine.count, http.coarse["/a", "GET"].count) == (3, 3)
    assert http.created["/a", "GET", "2xx"] == 1.0
