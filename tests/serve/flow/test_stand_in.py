"""From the shared store to shares and back, nobody gets a burst anew, and what was used meanwhile is told once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.serve.flow import Scope, Usage
from penstock.serve.flow.gcra import burst_of
from penstock.serve.flow.limits import LocalLimiter
from penstock.serve.flow.stand_in import StandIn
from serve.flow.asks import decide, scope

MONTH = "197001"


def nobody(_: str) -> int:
    return 0


def heard(stand_in: StandIn, store: LocalLimiter, whose: Scope, now: float) -> None:
    """What a gateway learns from the store's answer."""
    meter = store.meters()[whose.id]
    age = now - meter.since
    months = store.months.get(whose.id, [0, 0])
    stand_in.saw(whose, [*meter.fill, *meter.used, age if age < 60 else -1, *months], MONTH, now)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(20, 400),
    st.integers(1, 8),
    st.floats(1.1, 8),
    st.floats(0, 70),
    st.integers(0, 7),
)
def test_shares_together_never_pass_the_limit(limit: int, count: int, over: float, cut: float, deaf: int) -> None:
    """`deaf` gateways of the `count` heard nothing of the tenant before the store went away."""
    tenant, store = scope(requests_per_minute=limit), LocalLimiter(unix_offset_s=0.0)
    shares = [StandIn(unix_offset_s=0.0) for _ in range(count)]
    passed, step, now = [], 60 / limit / over, 0.0
    while now < cut:
        if decide(store, now, tenant).reservation is not None:
            passed.append(now)
        for stand_in in shares[deaf:]:
            heard(stand_in, store, tenant, now)
        now += step
    for index, stand_in in enumerate(shares):
        stand_in.begin((index, count), nobody, now)

    turn = 0
    while now < cut + 130:
        turn += 1
        limiter = shares[turn % count].limiter
        assert limiter is not None
        if decide(limiter, now, tenant).reservation is not None:
            passed.append(now)
        now += step

    most = max(sum(begin <= at < begin + 60 for at in passed) for begin in passed)
    assert most <= limit + burst_of(0, limit) + 1
    if cut < 55 and deaf == 0:  # all know the minute that began with the first request
        assert sum(at < 60 for at in passed) <= limit + 1


def test_a_share_begins_without_a_burst() -> None:
    tenant, stand_in = scope(requests_per_minute=60), StandIn(unix_offset_s=0.0)

    stand_in.begin((0, 2), nobody, 100.0)

    assert stand_in.limiter is not None
    refused = decide(stand_in.limiter, 100.0, tenant)
    assert refused.reservation is None
    assert refused.retry_after_s == pytest.approx(2.0)  # 30 a minute
    assert decide(stand_in.limiter, 102.0, tenant).reservation is not None


def test_requests_that_run_already_count_in_the_share() -> None:
    tenant, stand_in = scope(concurrent_requests=6), StandIn(unix_offset_s=0.0)

    stand_in.begin((0, 3), lambda scope_id: 1 if scope_id == tenant.id else 0, 0.0)

    assert stand_in.limiter is not None
    assert decide(stand_in.limiter, 0.0, tenant).reservation is not None
    assert decide(stand_in.limiter, 0.0, tenant).limit == "concurrent_requests"


def test_what_is_told_on_the_way_back_is_what_was_used_meanwhile() -> None:
    tenant, store = scope(tokens_per_minute=6000, tokens_per_month=100_000), LocalLimiter(unix_offset_s=0.0)
    stand_in = StandIn(unix_offset_s=0.0)
    assert decide(store, 0.0, tenant, given=500).reservation is not None
    heard(stand_in, store, tenant, 0.0)

    stand_in.begin((0, 2), nobody, 10.0)
    share = stand_in.limiter
    assert share is not None
    admitted = decide(share, 20.0, tenant, given=300)  # 50 a second grew for ten seconds
    assert admitted.reservation is not None
    share.settle(admitted.reservation, Usage(input_tokens=250), 20.0)
    [merge] = stand_in.end(MONTH, 20.0)

    assert merge.scope_id == tenant.id
    assert merge.known_used[1] == 500
    assert merge.known_age_s == 20.0
    assert merge.added_used[1] == 250
    assert merge.added_fill[1] == pytest.approx(250)
    assert (merge.known_month, merge.added_month) == ((500, 0), (250, 0))
    assert stand_in.limiter is None
    assert [m.added_month for m in stand_in.end(MONTH, 21.0)] == [(0, 0)]


def test_a_month_is_shared_by_what_is_left_of_it() -> None:
    tenant, store = scope(tokens_per_month=1000), LocalLimiter(unix_offset_s=0.0)
    stand_in = StandIn(unix_offset_s=0.0)
    decide(store, 0.0, tenant, given=900)
    heard(stand_in, store, tenant, 0.0)

    stand_in.begin((1, 2), nobody, 1.0)

    assert stand_in.limiter is not None
    assert decide(stand_in.limiter, 1.0, tenant, given=51).limit == "tokens_per_month"
    assert decide(stand_in.limiter, 1.0, tenant, given=50).reservation is not None


def test_corrections_of_this_month_that_came_too_late_are_kept_and_older_ones_are_not() -> None:
    tenant, stand_in = scope(tokens_per_month=1000), StandIn(unix_offset_s=0.0)
    stand_in.begin((0, 1), nobody, 0.0)
    stand_in.late(tenant, -40, 7, MONTH)
    stand_in.late(tenant, -2, 0, MONTH)
    stand_in.late(tenant, 500, 0, "196912")
    stand_in.late(scope("b", requests_per_minute=1), 5, 0, MONTH)

    [merge] = stand_in.end(MONTH, 1.0)

    assert (merge.scope_id, merge.added_month) == (tenant.id, (-42, 7))


def test_scopes_that_nobody_asks_about_are_forgotten() -> None:
    stand_in, most = StandIn(unix_offset_s=0.0), 0
    state: list[Any] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0, 0]

    for n in range(50_000):
        stand_in.saw(scope(str(n), requests_per_minute=60), list(state), MONTH, n / 50)
        most = max(most, len(stand_in))

    assert most <= 3001 + 1


def test_what_the_ledger_says_of_a_month_counts_and_the_store_is_told_but_nothing_of_another_month() -> None:
    monthly, stand_in = scope("m", tokens_per_month=100), StandIn(unix_offset_s=0.0)
    stand_in.remember(monthly, 90, 7, MONTH)
    stand_in.remember(monthly, 40, 9, MONTH)
    stand_in.remember(monthly, 5_000, 5_000, "196912")
    stand_in.begin((0, 1), nobody, 0.0)
    assert stand_in.limiter is not None

    assert decide(stand_in.limiter, 1.0, monthly, given=11).reservation is None
    assert decide(stand_in.limiter, 1.0, monthly, given=10).reservation is not None
    (merge,) = stand_in.end(MONTH, 2.0)
    assert (merge.known_month, merge.added_month) == ((90, 9), (10, 0))
