"""The law: never below what is there, at most twice it, more for more, a steady load gives itself."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.operate.scaling.policy import Policy
from penstock.operate.scaling.recommend import Observation, Recommended, Unknown, recommend

POLICY = Policy(model="chat", target=8.0, lead_s=120.0)
STEP_S = 5.0
LOADS = st.lists(st.integers(0, 2000) | st.none(), min_size=1, max_size=30).filter(lambda seen: seen[-1] is not None)
KNOWN = st.lists(st.integers(0, 2000), min_size=1, max_size=30)


def seen(loads: Sequence[float | None]) -> list[Observation]:
    return [Observation(at=place * STEP_S, in_flight=load) for place, load in enumerate(loads)]


def decided(loads: Sequence[float | None], policy: Policy = POLICY) -> Recommended:
    found = recommend(seen(loads), policy, (len(loads) - 1) * STEP_S)
    assert isinstance(found, Recommended)
    return found


@given(loads=LOADS)
def test_it_is_never_below_the_present_and_never_above_twice_it(loads: list[int | None]) -> None:
    present = loads[-1]
    assert present is not None
    assert present <= decided(loads).value <= 2 * present


@given(load=st.integers(0, 100_000), count=st.integers(1, 40))
def test_a_steady_load_gives_itself(load: int, count: int) -> None:
    assert decided([load] * count).value == load


@given(loads=KNOWN, factor=st.integers(1, 10))
def test_more_load_at_all_times_never_gives_less(loads: list[int], factor: int) -> None:
    assert decided([load * factor for load in loads]).value >= decided(loads).value


@given(loads=KNOWN, more=st.integers(0, 1000))
def test_more_load_now_never_gives_less(loads: list[int], more: int) -> None:
    assert decided([*loads[:-1], loads[-1] + more]).value >= decided(loads).value


@given(loads=st.lists(st.integers(0, 1000), min_size=24, max_size=24))
def test_a_load_that_falls_is_taken_as_it_is(loads: list[int]) -> None:
    falling = sorted(loads, reverse=True)
    assert decided(falling).value == falling[-1]


def test_a_steady_climb_is_carried_on_over_the_lead() -> None:
    climb = [100.0 + STEP_S * place for place in range(24)]  # one request each second, for two minutes

    found = decided(climb)

    assert found.value == pytest.approx(215 + 1 * 120)
    assert found.has_trend
    assert "growing by 60 a minute" in found.reason


def test_a_steep_climb_is_bounded_to_twice_the_present() -> None:
    found = decided([100.0 * place for place in range(1, 25)])

    assert found.value == 2 * 2400
    assert "bounded" in found.reason


@pytest.mark.parametrize("at", range(24))
def test_a_burst_is_no_trend_whenever_it_came(at: int) -> None:
    found = decided([20] * at + [200] * (24 - at))

    assert found.value == 200
    assert not found.has_trend


def test_a_climb_within_chance_is_no_trend() -> None:
    # from 4 to 10 is less than three deviations: 3 × √14 = 11.2
    assert decided([4] * 6 + [6] * 6 + [8] * 6 + [10] * 6).value == 10


def test_a_climb_with_a_minute_that_nobody_saw_is_no_trend() -> None:
    climb: list[float | None] = [100.0 + 10 * place for place in range(24)]
    climb[7:19] = [None] * 12

    assert decided(climb).value == climb[-1]


def test_what_is_not_known_is_said_to_be_unknown() -> None:
    assert isinstance(recommend([], POLICY, 0.0), Unknown)
    assert isinstance(recommend(seen([5, None]), POLICY, STEP_S), Unknown)


def test_an_observation_is_believed_for_a_quarter_of_a_minute() -> None:
    assert isinstance(recommend(seen([5]), POLICY, 15.0), Recommended)
    assert isinstance(recommend(seen([5]), POLICY, 15.1), Unknown)


def test_a_model_that_may_sleep_is_awake_for_two_minutes_after_somebody_asked_in_vain() -> None:
    policy = Policy(model="chat", target=8.0, may_sleep=True)
    history = [Observation(at=0.0, in_flight=0, is_asked=True), Observation(at=120.5, in_flight=0)]

    early = recommend([*history[:1], Observation(at=120.0, in_flight=0)], policy, 120.0)
    late = recommend(history, policy, 120.5)

    assert isinstance(early, Recommended)
    assert isinstance(late, Recommended)
    assert (early.value, early.is_active) == (0, True)
    assert (late.value, late.is_active) == (0, False)


def test_one_that_does_not_sleep_is_active_by_its_load_alone() -> None:
    found = recommend([Observation(at=0.0, in_flight=0, is_asked=True)], POLICY, 0.0)

    assert isinstance(found, Recommended)
    assert not found.is_active


def test_what_always_runs_beside_it_makes_it_active_only_beyond_its_share() -> None:
    policy = Policy(model="chat", target=8.0, floor=2)

    assert not decided([16], policy).is_active
    assert decided([17], policy).is_active
