from __future__ import annotations

import json
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.simulate.workload.answers import Answer, Failure
from penstock.simulate.workload.report import (
    ClientHealth,
    Errors,
    Objectives,
    Report,
    Sample,
    Spread,
    percentile,
    summarize,
)

CALM = ClientHealth(cpu_share=0.1, lag_ms=Spread.of([0.1]), late_ms=Spread.of([0.2]))


def sample(due_s: float = 0.0, *, ttft_s: float = 0.1, gaps_s: tuple[float, ...] = (0.02, 0.02)) -> Sample:
    last_s = due_s + ttft_s + sum(gaps_s)
    tokens = len(gaps_s) + 1
    return Sample(
        due_s=due_s,
        sent_s=due_s + 0.001,
        first_s=due_s + ttft_s,
        last_s=last_s,
        done_s=last_s + 0.01,
        events=tokens,
        gaps_s=array("d", gaps_s),
        prompt_tokens_wanted=10,
        output_tokens_wanted=tokens,
        answer=Answer(prompt_tokens=12, output_tokens=tokens, finish_reason="length", has_text=True),
    )


def failed(kind: str = "reset", detail: str = "gone", due_s: float = 0.0) -> Sample:
    return Sample(due_s=due_s, sent_s=due_s, done_s=due_s + 1, failure=Failure(kind=kind, detail=detail))


def report(*samples: Sample, objectives: Objectives | None = None) -> Report:
    return summarize(samples, objectives=objectives or Objectives(), client=CALM)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.1, 100))
def test_a_percentile_is_a_value_that_at_least_that_share_does_not_exceed(values: list[float], p: float) -> None:
    ordered = sorted(values)

    found = percentile(ordered, p)

    assert found in values
    assert sum(v <= found for v in values) >= len(values) * p / 100 - 1e-9
    assert sum(v < found for v in values) < max(1.0, len(values) * p / 100)


def test_percentiles_of_one_to_a_hundred_are_themselves() -> None:
    spread = Spread.of(float(n) for n in range(100, 0, -1))

    assert (spread.p50, spread.p90, spread.p95, spread.p99, spread.max) == (50, 90, 95, 99, 100)
    assert (spread.count, spread.mean) == (100, 50.5)


def test_nothing_measured_is_none_and_not_zero() -> None:
    assert Spread.of([]) == Spread(count=0, mean=None, p50=None, p90=None, p95=None, p99=None, max=None)


def test_times_count_from_when_a_request_was_due_not_from_when_it_was_sent() -> None:
    late = Sample(due_s=1.0, sent_s=4.0, first_s=4.5, last_s=4.5, done_s=5.0, events=1, answer=None)

    assert late.ttft_ms == 3_500
    assert late.e2e_ms == 4_000


def test_time_per_output_token_leaves_the_first_token_out() -> None:
    assert sample(gaps_s=(0.02, 0.04)).tpot_ms == pytest.approx(30.0)
    assert sample(gaps_s=()).tpot_ms is None


def test_tokens_are_counted_by_events_where_the_engine_does_not_say() -> None:
    silent = Answer(prompt_tokens=None, output_tokens=None, finish_reason="", has_text=True)

    assert Sample(due_s=0, sent_s=0, done_s=1, events=5, answer=silent).output_tokens == 5


def test_a_report_counts_latency_of_good_answers_and_errors_of_bad_ones() -> None:
    found = report(sample(0.0), sample(1.0, ttft_s=0.3), failed(), failed("http_500", "broke"), failed())

    assert (found.requests, found.ok, found.failed) == (5, 2, 3)
    assert (found.ttft_ms.count, found.ttft_ms.p50, found.ttft_ms.max) == (2, 100.0, 300.0)
    assert found.itl_ms.count == 4
    assert found.errors == (
        Errors(kind="reset", count=2, example="gone"),
        Errors(kind="http_500", count=1, example="broke"),
    )
    assert found.finish_reasons == {"length": 2}


def test_rates_are_over_the_time_from_the_first_due_to_the_last_answer() -> None:
    found = report(sample(1.0), sample(2.85))

    assert found.seconds == pytest.approx(2.0)
    assert found.requests_per_s == pytest.approx(1.0)
    assert found.output_tokens_per_s == pytest.approx(3.0)
    assert found.prompt_tokens_per_s == pytest.approx(12.0)


@pytest.mark.parametrize(
    ("objectives", "met"),
    [
        (Objectives(), 2),
        (Objectives(ttft_ms=100), 1),
        (Objectives(ttft_ms=400), 2),
        (Objectives(ttft_ms=400, itl_ms=25), 1),
        (Objectives(e2e_ms=1), 0),
    ],
)
def test_goodput_is_what_met_every_objective_and_failures_never_do(objectives: Objectives, met: int) -> None:
    found = report(sample(0.0), sample(0.0, ttft_s=0.3, gaps_s=(0.05,)), failed(), objectives=objectives)

    assert found.met_share == pytest.approx(met / 3, abs=1e-4)
    assert found.goodput_per_s == pytest.approx(met / found.seconds, abs=1e-3)


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0.001, 5), st.booleans()), max_size=40))
def test_every_request_is_ok_or_failed_and_the_timeline_adds_up(drawn: list[tuple[float, float, bool]]) -> None:
    samples = [sample(due, ttft_s=ttft) if ok else failed(due_s=due) for due, ttft, ok in drawn]

    found = report(*samples)

    assert found.ok + found.failed == found.requests == len(samples)
    assert sum(found.timeline.ok) == found.ok
    assert sum(found.timeline.failed) == found.failed == sum(e.count for e in found.errors)


def test_the_report_of_nothing_is_empty_and_still_a_report() -> None:
    found = report()

    assert (found.requests, found.seconds, found.requests_per_s, found.met_share) == (0, 0.0, 0.0, 0.0)
    assert found.itl_quantiles_ms == ()


def test_quantiles_of_gaps_rise_from_the_least_to_the_most() -> None:
    found = report(sample(gaps_s=(0.03, 0.01, 0.02)))

    assert len(found.itl_quantiles_ms) == 101
    assert found.itl_quantiles_ms[0] == 10.0
    assert found.itl_quantiles_ms[-1] == 30.0
    assert list(found.itl_quantiles_ms) == sorted(found.itl_quantiles_ms)


def test_a_report_is_plain_json() -> None:
    text = json.dumps(report(sample(), failed()).to_json())

    assert json.loads(text)["errors"] == [{"kind": "reset", "count": 1, "example": "gone"}]


@pytest.mark.parametrize(
    ("cpu_share", "lag_ms", "said"),
    [(0.1, 0.5, ""), (0.97, 0.5, "used 97% of its core"), (0.1, 40.0, "event loop late by 40 ms")],
)
def test_a_client_that_is_in_the_way_says_so(cpu_share: float, lag_ms: float, said: str) -> None:
    health = ClientHealth(cpu_share=cpu_share, lag_ms=Spread.of([lag_ms]), late_ms=Spread())

    assert said in health.warning
    assert bool(said) == bool(health.warning)
