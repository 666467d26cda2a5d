"""A demand keeps the busiest minute of a record, its lengths, and its course."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import UsageError
from penstock.plan.demand import PEAK_WINDOW_S, demand_of_rates, demand_of_requests, plain_demand

REQUESTS = st.lists(
    st.tuples(st.floats(0, 10_000), st.integers(1, 50_000), st.integers(0, 5_000)), min_size=1, max_size=200
)


def test_lengths_that_are_not_said_are_assumed_and_told_so() -> None:
    assert plain_demand(3).words == "3 requests/s of 1,024 prompt and 256 answer tokens (assumed)"
    assert plain_demand(3, 500, 50).words == "3 requests/s of 500 prompt and 50 answer tokens"
    assert plain_demand(0).words.startswith("requests of ")


def test_embeddings_have_no_answer_to_speak_of() -> None:
    assert plain_demand(3, 500, 0).words == "3 requests/s of 500 prompt tokens"


def test_the_peak_is_the_busiest_minute() -> None:
    quiet = [(float(at), 100, 10) for at in range(0, 3600, 10)]
    burst = [(1800 + n / 10, 100, 10) for n in range(300)]

    demand = demand_of_requests([*quiet, *burst], words="r")

    assert demand.requests_per_s == pytest.approx((300 + 6) / 60, rel=0.02)


def test_a_record_shorter_than_a_minute_has_its_mean_rate() -> None:
    demand = demand_of_requests([(n / 10, 10, 1) for n in range(101)], words="r")

    assert demand.requests_per_s == pytest.approx(10, rel=0.02)


def test_lengths_are_those_of_the_record() -> None:
    demand = demand_of_requests([(float(n), n + 1, 7) for n in range(100)], words="r")

    assert (demand.prompt_tokens, demand.output_tokens) == (50.5, 7)
    assert demand.prompt_p95 == 96
    assert demand.longest_tokens == 107


def test_a_long_record_keeps_its_course() -> None:
    demand = demand_of_requests([(float(at), 10, 10) for at in range(3600)], words="r")

    assert len(demand.timeline) == 6
    assert demand.timeline == pytest.approx([1.0] * 6, rel=0.02)


def test_no_requests_are_nothing_to_size_for() -> None:
    with pytest.raises(UsageError, match="no requests"):
        demand_of_requests([], words="empty.csv")
    with pytest.raises(UsageError, match="no requests"):
        demand_of_rates([(0.0, 0.0)], plain_demand(0), words="r")


def test_rates_take_the_lengths_of_another_demand() -> None:
    demand = demand_of_rates([(0.0, 1.0), (600.0, 4.0)], plain_demand(0, 300, 30), words="r")

    assert (demand.requests_per_s, demand.prompt_tokens, demand.timeline) == (4.0, 300, (1.0, 4.0))


@given(REQUESTS)
def test_the_peak_is_at_least_the_mean_and_at_most_everything_at_once(rows: list[tuple[float, int, int]]) -> None:
    demand = demand_of_requests(rows, words="r")
    span = max(at for at, *_ in rows) - min(at for at, *_ in rows)

    assert demand.requests_per_s <= len(rows)
    assert demand.requests_per_s * (span + PEAK_WINDOW_S) >= len(rows) * 0.999


@given(REQUESTS, st.integers(0, 100))
def test_the_order_of_a_record_does_not_matter(rows: list[tuple[float, int, int]], seed: int) -> None:
    shuffled = list(rows)
    random.Random(seed).shuffle(shuffled)

    assert demand_of_requests(rows, words="r") == demand_of_requests(shuffled, words="r")


@given(REQUESTS)
def test_percentiles_are_of_the_record(rows: list[tuple[float, int, int]]) -> None:
    demand = demand_of_requests(rows, words="r")

    assert demand.prompt_p95 in {float(prompt) for _, prompt, _ in rows}
    assert demand.prompt_square >= demand.prompt_tokens**2 * 0.999
