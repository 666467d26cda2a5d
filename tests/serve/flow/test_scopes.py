"""The fleet file's limits become the scopes that limiters count."""

from __future__ import annotations

from penstock.serve.flow.quota import Quota
from penstock.serve.flow.scopes import affordable, micros, scopes_of
from penstock.spec.quota import QuotaSpec


def test_tenant_and_key_are_counted_each_by_its_own_limits() -> None:
    found = scopes_of(
        "search",
        QuotaSpec(requests_per_minute=60, cost_per_month=12.5),
        "key_1",
        QuotaSpec(concurrent_requests=0),
        "ci",
    )

    assert [(s.id, s.words) for s in found] == [("t:search", "tenant 'search'"), ("k:key_1", "key 'ci'")]
    assert found[0].quota == Quota(requests_per_minute=60, cost_per_month_micros=12_500_000)
    assert found[1].quota == Quota(concurrent_requests=0)


def test_whoever_has_no_limit_is_no_scope() -> None:
    sizes_only = QuotaSpec(prompt_tokens_max=5, output_tokens_max=7)

    assert scopes_of("a", QuotaSpec(), "k", sizes_only) == ()
    assert [s.id for s in scopes_of("a", QuotaSpec(), "k", QuotaSpec(tokens_per_month=1))] == ["k:k"]
    assert scopes_of("a", QuotaSpec(), "", QuotaSpec(tokens_per_month=1)) == ()


def test_money_is_rounded_to_whole_micro_dollars() -> None:
    assert [micros(dollars) for dollars in (0.1, 29.99, 0.0000004, 1e12)] == [100_000, 29_990_000, 0, 10**18]


def test_a_request_without_a_limit_of_its_own_reserves_no_more_than_the_limits_could_grant() -> None:
    limits = QuotaSpec(tokens_per_minute=1000, output_tokens_per_minute=900)
    scopes = scopes_of("acme", limits)
    assert affordable(scopes, 50, 4096) == 900
    assert affordable(scopes, 400, 4096) == 600
    assert affordable(scopes, 400, 100) == 100
    assert affordable(scopes, 5000, 4096) == 1  # and then it is the prompt that is too long
    assert affordable((), 50, 4096) == 4096
