"""The series of each model stay aligned on one time axis, whatever comes and goes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.timeseries import Point, TimeSeries


def point(requests_per_s: float = 1.0) -> Point:
    return Point(
        requests_per_s=requests_per_s,
        tokens_per_s=2.0,
        errors_per_s=0.0,
        in_flight=3,
        waiting=0,
        ttft_p50_ms=None,
        ttft_p95_ms=12.5,
    )


@given(st.lists(st.sets(st.sampled_from(["a", "b", "c"])), max_size=12), st.integers(1, 20))
def test_every_array_is_as_long_as_the_time_axis(ticks: list[set[str]], window_s: int) -> None:
    series = TimeSeries(ticks=5)
    for at, models in enumerate(ticks):
        series.append({name: point() for name in sorted(models)}, float(at))
    answer = series.window(float(window_s), float(len(ticks)), 1e9)
    lengths = {len(column) for model in answer["models"].values() for column in model.values()}
    assert lengths <= {len(answer["t"])}
    assert len(answer["t"]) <= min(5, window_s)
    assert set(answer["models"]) == (ticks[-1] if ticks else set())


def test_a_model_that_came_later_is_null_before_it_came() -> None:
    series = TimeSeries()
    series.append({"old": point()}, 1.0)
    series.append({"old": point(), "new": point(7.0)}, 2.0)
    answer = series.window(60.0, 2.5, 1000.5)
    assert answer["models"]["new"]["requests_per_s"] == [None, 7.0]
    assert answer["models"]["old"]["ttft_p50_ms"] == [None, None]
    assert answer["t"] == [999.0, 1000.0]


def test_the_window_leaves_out_what_is_older() -> None:
    series = TimeSeries()
    for at in range(10):
        series.append({"m": point(float(at))}, float(at))
    answer = series.window(3.0, 9.0, 9.0)
    assert answer["t"] == [7.0, 8.0, 9.0]
    assert answer["models"]["m"]["requests_per_s"] == [7.0, 8.0, 9.0]


def test_the_last_points_are_the_newest_first_as_far_as_there_are_any() -> None:
    series = TimeSeries()
    for at in range(3):
        series.append({"m": point(float(at))}, float(at))
    assert [p.requests_per_s for p in series.last("m", 2)] == [2.0, 1.0]
    assert len(series.last("m", 10)) == 3
    assert series.last("unheard-of", 10) == []
