"""Clients are told whose limit it was, how much, and when to come back, in the forms that OpenAI's clients read."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.flow.limit_words import duration_words, limit_failure, ratelimit_headers
from penstock.serve.flow.quota import Headroom, Reservation, Verdict
from serve.flow.asks import ask, scope


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0s"),
        (0.0004, "1ms"),
        (0.12, "120ms"),
        (0.9999, "1s"),
        (1.0, "1s"),
        (1.5, "1.5s"),
        (59.9999, "1m0s"),
        (360.0, "6m0s"),
        (360.2, "6m1s"),
        (7200.0, "2h0m0s"),
        (100_000.0, "27h46m40s"),
    ],
)
def test_durations_are_written_as_openai_does(seconds: float, words: str) -> None:
    assert duration_words(seconds) == words


@given(st.floats(0, 1e6))
def test_no_duration_is_rounded_down(seconds: float) -> None:
    words = duration_words(seconds)
    units = {"h": 3600.0, "m": 60.0, "s": 1.0}
    total, number = 0.0, ""

    for letter in words.replace("ms", "M"):
        if letter.isdigit() or letter == ".":
            number += letter
        else:
            total += float(number) * (0.001 if letter == "M" else units[letter])
            number = ""

    assert total >= seconds - 1e-6


def test_headers_are_those_of_the_limits_that_there_are() -> None:
    requests, tokens = Headroom(60, 59, 60.0), Headroom(150_000, 149_984, 0.006)

    assert ratelimit_headers(Verdict()) == b""
    assert ratelimit_headers(Verdict(requests=requests, tokens=tokens)) == (
        b"x-ratelimit-limit-requests: 60\r\nx-ratelimit-remaining-requests: 59\r\nx-ratelimit-reset-requests: 1m0s\r\n"
        b"x-ratelimit-limit-tokens: 150000\r\nx-ratelimit-remaining-tokens: 149984\r\n"
        b"x-ratelimit-reset-tokens: 6ms\r\n"
    )


def test_a_limit_a_minute_is_429_with_the_time_until_a_retry_passes() -> None:
    whose = scope("search", tokens_per_minute=6000)

    failure = limit_failure(
        Verdict(limit="tokens_per_minute", scope=whose, retry_after_s=2.3), ask(whose, given=800, made=100)
    )

    assert (failure.status, failure.code, failure.outcome, failure.retry_after_s) == (
        429,
        "rate_limit_exceeded",
        "limited",
        3,
    )
    assert failure.message == (
        "Rate limit reached for tenant 'search': 6000 tokens a minute, this request wants 900. Try again in 2.3s."
    )


def test_a_share_says_that_it_is_one() -> None:
    whose = scope("search", concurrent_requests=5)

    failure = limit_failure(
        Verdict(limit="concurrent_requests", scope=whose, retry_after_s=1.0, is_degraded=True), ask(whose)
    )

    assert "this gateway's share of it, as the shared store is away" in failure.message


def test_a_request_larger_than_the_limit_is_the_requests_fault() -> None:
    whose = scope("search", tokens_per_minute=500)

    failure = limit_failure(Verdict(limit="tokens_per_minute", scope=whose, retry_after_s=inf), ask(whose, given=501))

    assert (failure.status, failure.code, failure.retry_after_s) == (400, "request_too_large", None)
    assert "wants up to 501 tokens, and the limit is 500 tokens a minute" in failure.message


def test_a_limit_of_zero_is_no_question_of_time() -> None:
    whose = scope("search", requests_per_minute=0)

    failure = limit_failure(Verdict(limit="requests_per_minute", scope=whose, retry_after_s=inf), ask(whose))

    assert (failure.status, failure.code, failure.retry_after_s) == (429, "insufficient_quota", None)


def test_a_months_budget_is_quota_and_ends_with_the_month() -> None:
    whose = scope("search", cost_per_month_micros=25_000_000)

    failure = limit_failure(
        Verdict(limit="cost_per_month", scope=whose, retry_after_s=7199.5), ask(whose, given=9, cost=1500)
    )

    assert (failure.status, failure.code, failure.retry_after_s) == (429, "insufficient_quota", 7200)
    assert failure.message == (
        "The month's budget of tenant 'search' is used up: $25.00 a month, and this request wants up to $0.001500. "
        "It begins anew at the month's end (UTC), in 2h0m0s."
    )


def test_clients_are_told_not_to_try_again_where_no_pause_of_theirs_helps() -> None:
    """OpenAI's and Anthropic's clients read this header before the status; a 429 they would send twice more."""
    no_retry = b"x-should-retry: false\r\n"

    assert ratelimit_headers(Verdict(limit="cost_per_month", scope=scope("search"), retry_after_s=7199.5)) == no_retry
    assert ratelimit_headers(Verdict(limit="tokens_per_month", scope=scope("search"), retry_after_s=9.0)) == no_retry
    assert ratelimit_headers(Verdict(limit="requests_per_minute", scope=scope("search"), retry_after_s=inf)) == no_retry
    assert ratelimit_headers(Verdict(limit="requests_per_minute", scope=scope("search"), retry_after_s=9.0)) == b""


def test_what_was_admitted_has_no_failure() -> None:
    with pytest.raises(ValueError, match="admitted"):
        limit_failure(Verdict(reservation=Reservation(ask(), 0.0)), ask())
