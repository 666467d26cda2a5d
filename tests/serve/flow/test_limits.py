"""A limiter in memory: all scopes or none, what was used is what is charged, and nothing is remembered for nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.serve.flow import Quota, Reservation, Scope, Usage, Verdict
from penstock.serve.flow.limits import CONCURRENT_RETRY_S, LocalLimiter
from serve.flow.asks import decide, scope

NOVEMBER = datetime(2026, 11, 30, 23, 0, tzinfo=UTC).timestamp()
UNUSED = Usage(has_run=False)


def local(**words: Any) -> LocalLimiter:
    return LocalLimiter(unix_offset_s=NOVEMBER, **words)


def kept(verdict: Verdict) -> Reservation:
    assert verdict.reservation is not None
    return verdict.reservation


def test_without_scopes_everything_passes_and_nothing_is_kept() -> None:
    limiter = local()

    verdict = decide(limiter, 0.0, given=10**9)

    limiter.settle(kept(verdict), Usage(input_tokens=5), 1.0)
    assert (verdict.requests, verdict.tokens, len(limiter)) == (None, None, 0)


def test_a_refusal_names_the_limit_that_takes_longest_and_whose_it_is() -> None:
    limiter, tenant, key = local(), scope("a", requests_per_minute=60), scope("k", tokens_per_minute=600)
    for _ in range(10):
        kept(decide(limiter, 0.0, tenant, key, given=5))

    verdict = decide(limiter, 0.0, tenant, key, given=60)

    assert verdict.reservation is None
    assert (verdict.limit, verdict.scope) == ("tokens_per_minute", key)
    assert verdict.retry_after_s == pytest.approx(5.0)  # 50 of 60 used, 60 wanted, 10 a second
    assert verdict.requests is not None
    assert verdict.requests.remaining == 0


def test_what_one_scope_refuses_is_charged_to_none() -> None:
    limiter, wide, shut = local(), scope("a", requests_per_minute=60), scope("k", requests_per_minute=0)

    refused = [decide(limiter, 0.0, wide, shut) for _ in range(30)]

    assert all(v.reservation is None and v.retry_after_s == inf and v.scope is shut for v in refused)
    assert [decide(limiter, 0.0, wide).reservation is not None for _ in range(11)] == [True] * 10 + [False]


def test_what_never_ran_is_given_back_whole() -> None:
    limiter, a = local(), scope(requests_per_minute=1, tokens_per_minute=100, tokens_per_month=100)

    for _ in range(5):
        limiter.settle(kept(decide(limiter, 0.0, a, given=60, made=40)), UNUSED, 0.0)

    assert decide(limiter, 0.0, a, given=60, made=40).reservation is not None


def test_settling_twice_changes_nothing_more() -> None:
    limiter, a = local(), scope(requests_per_minute=1, concurrent_requests=1)
    first = kept(decide(limiter, 0.0, a))
    limiter.settle(first, UNUSED, 0.0)
    second = decide(limiter, 0.0, a)

    limiter.settle(first, UNUSED, 0.0)

    assert second.reservation is not None
    assert decide(limiter, 0.0, a).reservation is None


def test_what_was_used_beyond_the_reservation_is_charged() -> None:
    limiter, a = local(), scope(tokens_per_minute=600)
    limiter.settle(kept(decide(limiter, 0.0, a, given=10)), Usage(input_tokens=10, output_tokens=110), 0.0)

    verdict = decide(limiter, 0.0, a, given=1)

    assert verdict.retry_after_s == pytest.approx(6.1)  # 120 used of a burst of 60, ten a second, and one more


def test_requests_at_once_are_counted_until_they_are_settled() -> None:
    limiter, a = local(), scope(concurrent_requests=2)
    first = kept(decide(limiter, 0.0, a))
    kept(decide(limiter, 0.0, a))

    refused = decide(limiter, 0.0, a)
    limiter.settle(first, Usage(), 500.0)

    assert (refused.limit, refused.retry_after_s) == ("concurrent_requests", CONCURRENT_RETRY_S)
    assert decide(limiter, 500.0, a).reservation is not None
    assert decide(limiter, 500.0, a).reservation is None
    assert decide(limiter, 0.0, scope("b", concurrent_requests=0)).retry_after_s == inf


def test_a_month_is_used_up_until_it_ends() -> None:
    limiter, a = local(), scope(tokens_per_month=1000, cost_per_month_micros=500)
    limiter.settle(kept(decide(limiter, 0.0, a, given=900, cost=10)), Usage(input_tokens=950, cost_micros=20), 1.0)

    refused = decide(limiter, 600.0, a, given=51, cost=1)

    assert (refused.limit, refused.retry_after_s) == ("tokens_per_month", 3000.0)  # an hour after the start
    assert decide(limiter, 600.0, a, given=50, cost=481).limit == "cost_per_month"
    assert decide(limiter, 600.0, a, given=50, cost=480).reservation is not None
    assert decide(limiter, 3600.0, a, given=1000, cost=500).reservation is not None
    assert decide(limiter, 3600.0, a, given=1001).retry_after_s == inf


def test_a_free_model_passes_once_the_money_is_gone() -> None:
    limiter, a = local(), scope(cost_per_month_micros=10)
    limiter.settle(kept(decide(limiter, 0.0, a, cost=10)), Usage(cost_micros=15), 0.0)

    assert decide(limiter, 0.0, a, cost=0).reservation is not None
    assert decide(limiter, 0.0, scope("b", cost_per_month_micros=0), cost=0).reservation is None


def test_what_the_ledger_knows_of_the_month_counts() -> None:
    limiter, a = local(), scope(tokens_per_month=1000)

    limiter.seed_month(a.id, 990, 0, 0.0)
    limiter.seed_month(a.id, 5, 0, 0.0)

    assert decide(limiter, 0.0, a, given=11).limit == "tokens_per_month"
    assert decide(limiter, 0.0, a, given=10).reservation is not None
    assert limiter.months == {a.id: [1000, 0]}


def test_a_reservation_of_the_month_before_is_not_settled_in_this_one() -> None:
    limiter, a = local(), scope(tokens_per_month=1000)
    old = kept(decide(limiter, 3599.0, a, given=800))
    kept(decide(limiter, 3600.0, a, given=100))

    limiter.settle(old, Usage(input_tokens=1), 3601.0)

    assert (limiter.month, limiter.months) == ("202612", {a.id: [100, 0]})


def test_a_share_of_a_monthly_limit_is_a_share() -> None:
    limiter, a = local(share=(0, 3)), scope(tokens_per_month=10)

    assert decide(limiter, 0.0, a, given=5).limit == "tokens_per_month"
    assert decide(limiter, 0.0, a, given=4).reservation is not None


def test_changed_limits_hold_at_once_and_what_was_used_stays_used() -> None:
    limiter = local()
    for _ in range(10):
        kept(decide(limiter, 0.0, scope("a", requests_per_minute=60)))

    assert decide(limiter, 0.0, scope("a", requests_per_minute=10)).reservation is None
    assert decide(limiter, 0.0, scope("a", requests_per_minute=600)).reservation is not None


def test_a_hundred_thousand_tenants_leave_nothing_behind() -> None:
    limiter, quota, most = local(), Quota(requests_per_minute=60, concurrent_requests=5), 0

    for n in range(100_000):
        now = n / 50  # 50 new tenants each second: 3000 a minute
        verdict = decide(limiter, now, Scope(id=f"t:{n}", words="", quota=quota))
        limiter.settle(kept(verdict), Usage(), now)
        most = max(most, len(limiter))

    assert most <= 2 * 3000 + 100  # those of the last minute, and those that the sweep has not come to


LIMITS = st.one_of(st.none(), st.integers(0, 60))
QUOTAS = st.builds(
    Quota,
    requests_per_minute=LIMITS,
    tokens_per_minute=LIMITS,
    input_tokens_per_minute=LIMITS,
    output_tokens_per_minute=LIMITS,
    concurrent_requests=st.one_of(st.none(), st.integers(0, 4)),
    tokens_per_month=LIMITS,
    cost_per_month_micros=LIMITS,
)
EVENTS = st.lists(
    st.tuples(
        st.floats(0, 30),
        st.sampled_from([(0,), (1,), (0, 1), (0, 2), (0, 1, 2)]),
        st.integers(0, 12),
        st.integers(0, 12),
        st.integers(0, 9),
        st.integers(0, 3),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(st.tuples(QUOTAS, QUOTAS, QUOTAS), EVENTS)
def test_every_scope_is_charged_with_what_ran_and_nothing_else(quotas: tuple[Quota, ...], events: list[Any]) -> None:
    """Model: sums kept by hand. Months never drain, so they must be the sums; running requests too."""
    scopes = [Scope(id=f"t:{n}", words="", quota=quota) for n, quota in enumerate(quotas)]
    limiter, now = LocalLimiter(unix_offset_s=0.0), 0.0
    used = {s.id: [0, 0] for s in scopes}
    running = dict.fromkeys(used, 0)
    open_: list[Reservation] = []

    for pause, places, given_tokens, made, cost, ends in events:
        now += pause
        asked = [scopes[place] for place in places]
        verdict = decide(limiter, now, *asked, given=given_tokens, made=made, cost=cost)
        for s in asked if verdict.reservation is not None else []:
            used[s.id][0] += given_tokens + made
            used[s.id][1] += cost
            running[s.id] += 1
            assert s.quota.concurrent_requests is None or running[s.id] <= s.quota.concurrent_requests
        if verdict.reservation is not None:
            open_.append(verdict.reservation)
        else:
            assert verdict.retry_after_s > 0
        for _ in range(min(ends, len(open_))):
            reservation = open_.pop(0)
            usage = Usage(input_tokens=made, output_tokens=cost, cost_micros=made) if ends < 3 else UNUSED
            limiter.settle(reservation, usage, now)
            for s in reservation.ask.scopes:
                before = reservation.ask
                used[s.id][0] += usage.input_tokens + usage.output_tokens - before.input_tokens - before.output_tokens
                used[s.id][1] += usage.cost_micros - before.cost_micros
                running[s.id] -= 1

    for s in scopes:
        if s.quota.tokens_per_month is not None or s.quota.cost_per_month_micros is not None:
            assert limiter.months.get(s.id, [0, 0]) == used[s.id]
        if running[s.id]:
            assert limiter.meters()[s.id].running == running[s.id]
