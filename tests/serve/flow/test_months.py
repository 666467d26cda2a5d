"""Months begin and end at midnight of their first day in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.flow.months import month_of


@pytest.mark.parametrize(
    ("at", "label", "ends"),
    [
        (datetime(2026, 11, 21, 15, tzinfo=UTC), "202611", datetime(2026, 12, 1, tzinfo=UTC)),
        (datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), "202612", datetime(2027, 1, 1, tzinfo=UTC)),
        (datetime(2028, 2, 29, tzinfo=UTC), "202802", datetime(2028, 3, 1, tzinfo=UTC)),
    ],
)
def test_a_moment_lies_in_its_month(at: datetime, label: str, ends: datetime) -> None:
    month = month_of(at.timestamp())

    assert (month.label, month.ends) == (label, ends.timestamp())


@given(st.integers(0, 4_000_000_000))
def test_months_follow_each_other_without_a_gap(unix_s: int) -> None:
    month = month_of(unix_s)

    assert month.begins <= unix_s < month.ends
    assert month_of(month.ends).begins == month.ends
