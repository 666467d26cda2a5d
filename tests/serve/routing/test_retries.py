"""The retry budget: an outage does not double the load."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.routing.retries import BALANCE_MAX, DEBT_MAX, PER_S, SHARE, RetryBudget


def test_a_quiet_pool_can_retry() -> None:
    assert RetryBudget(0.0).take(0.0)


def test_in_an_outage_retries_are_a_fifth_of_the_requests_and_three_a_second() -> None:
    budget = RetryBudget(0.0)
    granted = 0
    for n in range(6000):  # 100 a second for a minute, each of which would like two retries
        budget.request()
        granted += budget.take(n / 100) + budget.take(n / 100)
    assert abs(granted - (0.2 * 6000 + 3 * 60 + BALANCE_MAX)) <= 2
    assert budget.taken_total == granted
    assert budget.refused_total == 12_000 - granted


def test_a_resume_is_never_refused_and_is_charged() -> None:
    budget = RetryBudget(0.0)
    assert all(budget.take(0.0, is_resume=True) for _ in range(500))
    assert budget.balance == -DEBT_MAX
    assert not budget.take(1.0)
    assert budget.take(1.0 + (DEBT_MAX + 1) / PER_S)


STEPS = st.lists(st.tuples(st.sampled_from(["request", "take", "resume"]), st.floats(-5, 5)), max_size=200)


@given(STEPS)
def test_what_is_granted_is_never_more_than_was_earned(steps: list[tuple[str, float]]) -> None:
    budget = RetryBudget(0.0)
    now = earned = granted = 0.0
    for kind, after_s in steps:
        now += after_s
        earned += max(0.0, after_s) * PER_S + SHARE * (kind == "request")
        if kind == "request":
            budget.request()
        else:
            granted += budget.take(now, is_resume=kind == "resume") and kind == "take"
        assert -DEBT_MAX <= budget.balance <= BALANCE_MAX
    assert granted <= earned + BALANCE_MAX
