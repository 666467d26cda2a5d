"""What is remembered of one endpoint: windows, back-offs, the trial's place, the share while it comes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.routing.health import RAMP_S, SLOW_SHARE, TRIAL_S, WINDOW_S, Guard, back_off_s
from penstock.serve.routing.signals import Fault


@pytest.mark.parametrize(("fault", "first_s", "cap_s"), [("gone", 0.25, 5.0), ("bad", 1.0, 30.0), ("hung", 30.0, 60.0)])
def test_the_back_off_grows_to_a_cap(fault: Fault, first_s: float, cap_s: float) -> None:
    waits = [back_off_s(fault, streak) for streak in range(1, 30)]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (first_s, cap_s)


def test_answers_and_errors_count_for_one_to_two_windows() -> None:
    guard = Guard(window_at=100.0)
    guard.count(101.0, good=3, bad=1)
    assert guard.error_share(102.0) == 0.25
    guard.count(100 + WINDOW_S, good=4)
    assert guard.counts(100 + WINDOW_S) == (7, 1)
    assert guard.counts(100 + 2 * WINDOW_S) == (4, 0)
    assert guard.counts(100 + 5 * WINDOW_S) == (0, 0)
    assert guard.error_share(100 + 5 * WINDOW_S) == 0.0


@given(st.lists(st.tuples(st.floats(-30, 30), st.booleans()), max_size=50))
def test_counts_are_never_more_than_were_counted_whatever_the_clock_does(steps: list[tuple[float, bool]]) -> None:
    guard, now = Guard(window_at=100.0), 100.0
    for number, (after_s, is_good) in enumerate(steps, 1):
        now += after_s
        guard.count(now, good=is_good, bad=not is_good)
        good, bad = guard.counts(now)
        assert 1 <= good + bad <= number


def test_one_trial_holds_the_place_until_its_time_is_over() -> None:
    guard = Guard()
    assert guard.has_place(5.0)
    number = guard.take_place(5.0)
    assert number == 1
    assert not guard.has_place(5.0 + TRIAL_S - 0.1)
    assert guard.has_place(5.0 + TRIAL_S)
    assert guard.take_place(5.0 + TRIAL_S) == 2


def test_what_was_out_gets_its_share_back_over_the_ramp() -> None:
    guard = Guard(ramp_from=50.0, is_ramping=True)
    shares = [guard.share(50.0 + RAMP_S * n / 10) for n in range(11)]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.1, 1.0)
    assert shares[5] == pytest.approx(0.55)
    assert guard.share(0.0) == 1.0, "over is over"


def test_a_slow_one_gets_less() -> None:
    assert Guard(is_slow=True).share(1.0) == SLOW_SHARE
