from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice, pairwise, takewhile
from random import Random
from statistics import mean, pstdev

import pytest

from penstock.simulate.workload import arrivals


def gaps(times: Iterator[float], n: int = 40_000) -> list[float]:
    return [b - a for a, b in pairwise(islice(times, n))]


def coefficient_of_variation(times: Iterator[float]) -> float:
    found = gaps(times)
    return pstdev(found) / mean(found)


def in_seconds(times: Iterator[float], until_s: float) -> list[float]:
    return list(takewhile(lambda t: t < until_s, times))


@pytest.mark.parametrize(
    ("process", "until_s"),
    [
        (arrivals.constant, 1_000),
        (arrivals.poisson, 20_000),
        (arrivals.trend, 36_000),
        (arrivals.bursts, 200_000),
        (arrivals.diurnal, 10 * 86_400),
        (arrivals.diurnal_stress, 20 * 86_400),
    ],
)
def test_each_process_rises_and_has_the_mean_rate_asked_for(
    process: Callable[[Random, float], Iterator[float]], until_s: float
) -> None:
    times = in_seconds(process(Random(3), 0.2), until_s)

    assert all(a <= b for a, b in pairwise(times))
    assert len(times) / until_s == pytest.approx(0.2, rel=0.1)


def test_constant_is_evenly_spaced_from_zero() -> None:
    assert list(islice(arrivals.constant(Random(0), 4.0), 4)) == [0.0, 0.25, 0.5, 0.75]


def test_gaps_have_the_variation_that_their_process_promises() -> None:
    assert coefficient_of_variation(arrivals.poisson(Random(1), 5.0)) == pytest.approx(1.0, abs=0.03)
    assert coefficient_of_variation(arrivals.renewal(Random(1), 5.0, cv=2.3)) == pytest.approx(2.3, abs=0.15)
    assert coefficient_of_variation(arrivals.trend(Random(1), 5.5)) == pytest.approx(1.1, abs=0.05)


def test_bursts_begin_at_once_and_leave_most_seconds_empty() -> None:
    times = in_seconds(arrivals.bursts(Random(5), arrivals.BURST_MEAN_RATE), 36_000)

    assert times[0] < 2.0
    assert 0.65 < 1 - len({int(t) for t in times}) / 36_000 < 0.8
    by_second = [sum(1 for _ in group) for group in _by_second(times)]
    assert max(by_second) > 45
    assert 20 <= max(b - a for a, b in pairwise(times)) <= 221


def _by_second(times: list[float]) -> Iterator[list[float]]:
    seconds: dict[int, list[float]] = {}
    for t in times:
        seconds.setdefault(int(t), []).append(t)
    yield from seconds.values()


def test_a_faster_burst_workload_is_silent_as_long() -> None:
    slow = in_seconds(arrivals.bursts(Random(5), 1.0), 7_200)
    fast = in_seconds(arrivals.bursts(Random(5), 10.0), 7_200)

    assert len(fast) > 5 * len(slow)
    assert max(b - a for a, b in pairwise(fast)) >= 20


def test_the_evening_has_twice_the_traffic_of_the_night() -> None:
    times = in_seconds(arrivals.diurnal(Random(7), 1.0), 5 * 86_400)
    by_hour = [0] * 24
    for t in times:
        by_hour[int(t // 3600) % 24] += 1

    assert 1.6 < by_hour[20] / by_hour[3] < 2.8


def test_the_hour_curve_has_a_mean_of_one() -> None:
    assert len(arrivals.HOUR_CURVE) == 24
    assert mean(arrivals.HOUR_CURVE) == pytest.approx(1.0, abs=0.01)


def test_stepped_follows_its_steps_from_zero_and_ends_with_the_last() -> None:
    steps = ((600.0, 0.0), (1200.0, 1.0), (1800.0, 0.1))

    times = list(arrivals.stepped(Random(1), steps))

    assert all(600 <= t < 1800 for t in times)
    assert sum(t < 1200 for t in times) == pytest.approx(600, rel=0.15)
    assert sum(t >= 1200 for t in times) == pytest.approx(60, rel=0.5)
    assert list(arrivals.stepped(Random(1), ())) == []
