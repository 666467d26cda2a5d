"""What kind of limits a scope has is told once, so that nobody looks for those that it has not."""

from __future__ import annotations

import pytest

from penstock.serve.flow.quota import LIMITLESS, Quota


@pytest.mark.parametrize(
    ("quota", "is_slow", "is_monthly"),
    [
        (LIMITLESS, False, False),
        (Quota(requests_per_minute=1, tokens_per_minute=2), False, False),
        (Quota(input_tokens_per_minute=1, output_tokens_per_minute=0), False, False),
        (Quota(concurrent_requests=0), True, False),
        (Quota(tokens_per_month=0), True, True),
        (Quota(requests_per_minute=1, cost_per_month_micros=5), True, True),
    ],
)
def test_a_limit_of_zero_is_one_and_none_is_none(quota: Quota, is_slow: bool, is_monthly: bool) -> None:
    assert (quota.is_slow, quota.is_monthly) == (is_slow, is_monthly)


def test_quotas_are_compared_by_their_limits() -> None:
    assert Quota(tokens_per_month=3) == Quota(tokens_per_month=3)
    assert Quota(tokens_per_month=3) != Quota(tokens_per_month=4)
    assert "is_slow" not in repr(LIMITLESS)
