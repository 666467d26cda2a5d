"""Histogram and percentile: what is counted is found again, and a percentile is close to the true one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.histogram import BOUNDS_MS, WINDOW_TICKS, Histogram, percentile

latencies = st.lists(st.floats(min_value=0.101, max_value=1e6), min_size=1, max_size=200)


def test_bounds_rise_and_hold_the_round_numbers_that_objectives_use() -> None:
    assert list(BOUNDS_MS) == sorted(set(BOUNDS_MS))
    assert {1.0, 5.0, 20.0, 50.0, 100.0, 200.0, 250.0, 500.0, 1000.0, 2000.0, 10_000.0, 1_000_000.0} <= set(BOUNDS_MS)


@given(latencies, st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_a_percentile_is_within_one_bucket_of_the_exact_one(values: list[float], share: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    rank = max(1, -(-len(values) * share // 1))
    exact = sorted(values)[int(rank) - 1]
    found = percentile(histogram.counts, share)
    assert found is not None
    assert exact / 1.15 <= found <= exact * 1.15 + 1e-9


@given(latencies)
def test_percentiles_never_fall_as_the_share_rises(values: list[float]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    found = [percentile(histogram.counts, share / 20) or 0.0 for share in range(21)]
    assert found == sorted(found)


def test_nothing_recorded_has_no_percentile() -> None:
    assert percentile(Histogram().counts, 0.95) is None


def test_what_is_above_the_last_bound_reads_as_the_last_bound() -> None:
    histogram = Histogram()
    histogram.record(5e6)
    assert percentile(histogram.counts, 0.5) == BOUNDS_MS[-1]


def test_the_window_forgets_what_is_older_than_its_ticks() -> None:
    histogram = Histogram()
    histogram.record(10.0)
    for _ in range(WINDOW_TICKS):
        histogram.tick()
    assert sum(histogram.window()) == 1
    histogram.record(20.0)
    histogram.tick()
    assert sum(histogram.window()) == 1
    assert percentile(histogram.window(), 1.0) == pytest.approx(20.0)
    assert sum(histogram.counts) == 2


def test_a_shorter_window_sees_only_its_own_ticks() -> None:
    histogram = Histogram()
    for value in (10.0, 20.0, 30.0):
        histogram.record(value)
        histogram.tick()
    assert sum(histogram.window(1)) == 1
    assert sum(histogram.window(2)) == 2
    assert sum(histogram.window(10)) == 3


def test_a_value_on_a_bound_counts_at_or_below_it_as_prometheus_has_it() -> None:
    histogram = Histogram()
    for value in (100.0, 100.1, 500.0, 9e9):
        histogram.record(value)
    assert histogram.cumulative([100.0, 500.0]) == [1, 3, 4]
    assert histogram.sum_ms == pytest.approx(9e9 + 700.1)
