"""A meter lets a burst pass, then the limit's pace, and never more than the limit in the minute that began."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.serve.flow.gcra import Amounts, Meter, burst_of, headrooms, part_of, rates_of
from penstock.serve.flow.quota import Quota

ONE: Amounts = (1, 0, 0, 0)


def meter(now: float = 0.0, **limits: int) -> Meter:
    quota = Quota(**limits)
    return Meter(quota, rates_of(quota), now)


def take(m: Meter, amounts: Amounts, now: float) -> bool:
    wait, _ = m.wait(amounts, now)
    if not wait:
        m.charge(amounts, now)
    return not wait


@pytest.mark.parametrize(
    ("place", "limit", "burst"), [(0, 600, 60), (0, 60, 10), (0, 5, 5), (0, 0, 0), (1, 600, 60), (1, 5, 1), (1, 0, 0)]
)
def test_the_burst_is_a_tenth_or_ten_requests(place: int, limit: int, burst: float) -> None:
    assert burst_of(place, limit) == burst


@given(st.integers(0, 10**12), st.integers(1, 40))
def test_shares_add_up_to_the_limit(limit: int, count: int) -> None:
    parts = [part_of(limit, (index, count)) for index in range(count)]

    assert sum(part for part in parts if part is not None) == limit
    assert part_of(None, (0, count)) is None


def test_a_burst_passes_at_once_and_then_the_pace() -> None:
    m = meter(requests_per_minute=60)

    assert [take(m, ONE, 0.0) for _ in range(11)] == [True] * 10 + [False]
    assert m.wait(ONE, 0.0) == (pytest.approx(1.0), 0)  # 60 a minute: one a second
    assert not take(m, ONE, 0.99)
    assert take(m, ONE, 1.0)


def test_the_minute_ends_where_its_limit_is_used_up() -> None:
    m = meter(requests_per_minute=60)

    passed = [tenth / 10 for tenth in range(1200) if take(m, ONE, tenth / 10)]

    assert sum(at < 60 for at in passed) == 60
    assert sum(at >= 60 for at in passed) == 60
    assert max(at for at in passed if at < 60) == pytest.approx(50.0)  # ten at once, fifty at one a second
    assert min(at for at in passed if at >= 60) == 60.0


def test_a_request_larger_than_the_burst_waits_for_all_of_it_and_leaves_a_debt() -> None:
    m = meter(tokens_per_minute=6000)  # burst 600, 100 a second
    large: Amounts = (1, 3000, 3000, 0)

    assert take(m, (1, 100, 100, 0), 0.0)
    assert m.wait(large, 0.0) == (pytest.approx(1.0), 1)
    assert take(m, large, 1.0)
    assert m.wait((1, 100, 100, 0), 1.0) == (pytest.approx(25.0), 1)  # 3000 - 600 + 100 at 100 a second


def test_a_request_larger_than_the_limit_never_passes_and_a_limit_of_zero_lets_nothing_pass() -> None:
    assert meter(tokens_per_minute=100).wait((1, 101, 101, 0), 0.0) == (inf, 1)
    assert meter(output_tokens_per_minute=0).wait((1, 5, 5, 0), 0.0) == (inf, 3)
    assert meter(requests_per_minute=0).wait(ONE, 0.0) == (inf, 0)


def test_whoever_waits_as_long_as_it_was_told_passes() -> None:
    m = meter(requests_per_minute=7, tokens_per_minute=901)
    now, amounts = 0.0, (1, 77, 70, 7)

    for _ in range(50):
        wait, _ = m.wait(amounts, now)
        now += wait
        assert take(m, amounts, now)


def test_a_clock_that_goes_back_gives_nothing() -> None:
    m = meter(now=100.0, requests_per_minute=5)
    assert [take(m, ONE, 100.0) for _ in range(6)].count(True) == 5

    assert not take(m, ONE, 50.0)
    assert not take(m, ONE, 101.0)


def test_headroom_is_of_the_tightest_limit_and_zero_where_the_next_one_would_wait() -> None:
    wide, tight = meter(requests_per_minute=1000), meter(requests_per_minute=60, tokens_per_minute=6000)
    for _ in range(10):
        wide.charge((1, 100, 50, 50), 0.0)
        tight.charge((1, 30, 20, 10), 0.0)

    requests, tokens = headrooms([wide, tight], 0.0)

    assert requests is not None
    assert tokens is not None
    assert (requests.limit, requests.remaining, requests.reset_s) == (60, 0, 60.0)
    assert (tokens.limit, tokens.remaining, tokens.reset_s) == (6000, 5700, 60.0)
    assert headrooms([meter(concurrent_requests=3)], 0.0) == (None, None)


def test_an_untouched_limit_has_all_its_room() -> None:
    requests, _ = headrooms([meter(requests_per_minute=60)], 5.0)

    assert requests is not None
    assert (requests.limit, requests.remaining, requests.reset_s) == (60, 60, 0.0)


def test_a_meter_is_idle_once_it_would_decide_like_a_new_one() -> None:
    m = meter(tokens_per_minute=6000)
    assert m.is_idle(0.0)

    m.charge((1, 300, 300, 0), 0.0)
    assert not m.is_idle(100.0)  # still running
    m.running -= 1

    assert not m.is_idle(59.0)
    assert m.is_idle(60.0)


Steps = st.lists(st.tuples(st.floats(0, 20), st.integers(1, 400)), max_size=120)


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(0, 2000), Steps)
def test_no_minute_is_charged_more_than_the_limit_and_one_burst(requests: int, tokens: int, steps: Steps) -> None:
    m = meter(requests_per_minute=requests, tokens_per_minute=tokens)
    now, charged = 0.0, []

    for pause, amount in steps:
        now += pause
        if take(m, (1, amount, amount, 0), now):
            charged.append((now, amount))

    for begin, _ in charged:
        inside = [amount for at, amount in charged if begin <= at < begin + 60.0]
        largest = max(inside, default=0)
        assert len(inside) <= requests + burst_of(0, requests) + 1e-6
        assert sum(inside) <= tokens + max(burst_of(1, tokens), largest) + 1e-3


@settings(deadline=None)  # up to 48,000 requests
@given(st.integers(10, 600), st.floats(1.2, 20), st.integers(1, 4))
def test_whoever_asks_without_a_pause_gets_the_limit_in_each_minute(limit: int, over: float, minutes: int) -> None:
    m = meter(requests_per_minute=limit)
    step = 60.0 / limit / over

    passed = [now for n in range(int(60 * minutes / step)) if take(m, ONE, now := n * step)]

    assert limit * minutes * 0.99 - minutes - 1 <= len(passed) <= limit * minutes


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))
def test_reserving_and_settling_is_charging_what_was_used(before: int, reserved: int, used: int) -> None:
    settled, direct = meter(tokens_per_minute=10_000), meter(tokens_per_minute=10_000)
    for m in (settled, direct):
        m.charge((1, before, before, 0), 3.0)

    settled.drain(4.0)
    settled.charge((1, reserved, reserved, 0), 4.0)
    settled.correct((0, used - reserved, used - reserved, 0), 4.0)
    direct.drain(4.0)
    direct.charge((1, used, used, 0), 4.0)

    assert settled.fill == pytest.approx(direct.fill)
    assert settled.used == pytest.approx(direct.used)
