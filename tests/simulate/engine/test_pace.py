"""How quick a process is from moment to moment."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.simulate.engine.pace import Pace


@given(now=st.floats(0, 1e6), slowest=st.floats(0, 3), phase=st.floats(0, 1))
def test_a_factor_is_never_quicker_than_quick_and_depends_on_the_time_alone(
    now: float, slowest: float, phase: float
) -> None:
    pace = Pace(slowest, phase=phase)
    pace.at(now / 2)
    assert 1.0 <= pace.at(now) <= 1.0 + slowest
    assert pace.at(now) == Pace(slowest, phase=phase).at(now)


@given(tenths=st.integers(0, 100_000))
def test_it_stays_so_until_it_says(tenths: int) -> None:
    pace, now = Pace(1.2), tenths / 10 + 0.03
    factor, until = pace.at(now), pace.until
    assert now < until <= now + 0.1
    assert Pace(1.2).at(now + 0.9 * (until - now)) == factor


def test_over_a_minute_all_paces_come_up_and_neighbours_are_alike() -> None:
    pace = Pace(1.2)
    seen = [pace.at(n / 10 + 0.05) for n in range(600)]
    assert statistics.mean(seen) == pytest.approx(1.4, rel=0.03)
    assert statistics.median(seen) == pytest.approx(1.3, rel=0.03)
    assert max(seen) > 2.1
    assert 0.4 < statistics.correlation(seen[:-1], seen[1:]) < 0.8


def test_another_phase_is_slow_at_other_times() -> None:
    one, other = Pace(1.2), Pace(1.2, phase=0.5)
    assert statistics.correlation([one.at(n / 7) for n in range(500)], [other.at(n / 7) for n in range(500)]) < 0.3


def test_speed_makes_spells_as_much_shorter() -> None:
    slow, fast = Pace(1.2), Pace(1.2, speed=10.0)
    assert [slow.at(n / 3) for n in range(50)] == [fast.at(n / 30) for n in range(50)]
