"""Spans, days and moments as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import UsageError
from penstock.serve.key_times import parse_expiry, parse_span

NOW = int(datetime(2026, 11, 21, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("5s", 5), ("30m", 1800), ("24h", 86_400), ("7d", 604_800), ("2w", 1_209_600)]
)
def test_a_span_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert parse_span(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "-5s", "1.5h", "h", "5y", "٣d", "1234567d", "1d "])
def test_any_other_span_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no span of time"):
        parse_span(text)


def test_an_expiry_is_a_span_from_now_a_day_or_a_moment() -> None:
    assert parse_expiry("90d", NOW) == NOW + 90 * 86_400
    assert parse_expiry("2026-11-22", NOW) == NOW + 86_400
    assert parse_expiry("2026-11-22T00:00:00Z", NOW) == NOW + 86_400
    assert parse_expiry("2026-11-22T02:00:00+02:00", NOW) == NOW + 86_400


@given(st.integers(0, 10**9))
def test_a_moment_that_was_printed_is_read_again(seconds: int) -> None:
    moment = datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=seconds)
    assert parse_expiry(moment.isoformat(), NOW) == NOW + seconds


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tomorrow", "no time"),
        ("2026-13-01", "no time"),
        ("2026-11-22T00:00:00", "no zone"),
        ("9999-01-01", "100 years"),
        ("999999w", "100 years"),
    ],
)
def test_any_other_expiry_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_expiry(text, NOW)
