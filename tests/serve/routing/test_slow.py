"""Which endpoints are slow beside their pool."""

from __future__ import annotations

import pytest

from penstock.serve.routing.endpoints import EndpointTable
from penstock.serve.routing.slow import SLOW_AFTER_S, TTFT_COUNT_MIN, judge
from serve.routing.guarded import pool_of, ready_table


def paced(*itls_s: float) -> EndpointTable:
    table = ready_table(len(itls_s))
    for endpoint, itl_s in zip(table.all(), itls_s, strict=True):
        endpoint.itl_s = itl_s
    return table


def slow_after(table: EndpointTable, seconds: float) -> list[bool]:
    for n in range(round(seconds) + 1):
        judge(pool_of(table), 100.0 + n)
    return [e.guard.is_slow for e in table.all()]


@pytest.mark.parametrize(
    ("itls_s", "expected"),
    [
        ((0.01, 0.01, 0.01, 0.031), [False, False, False, True]),
        ((0.01, 0.01, 0.01, 0.029), [False] * 4),
        ((0.01, 0.04), [False, True]),
        ((0.04,), [False]),
        ((0.0, 0.04, 0.0), [False] * 3),
        ((0.04, 0.04, 0.04), [False] * 3),
    ],
)
def test_slow_is_slower_than_three_times_the_usual_of_the_pool(itls_s: tuple[float, ...], expected: list[bool]) -> None:
    assert slow_after(paced(*itls_s), SLOW_AFTER_S) == expected


def test_it_must_last() -> None:
    table = paced(0.01, 0.01, 0.04)
    assert slow_after(table, SLOW_AFTER_S - 2) == [False] * 3
    table.all()[2].itl_s = 0.01
    judge(pool_of(table), 109.0)
    table.all()[2].itl_s = 0.04
    assert slow_after(table, SLOW_AFTER_S - 2) == [False] * 3


def test_it_is_over_well_below_where_it_began() -> None:
    table = paced(0.01, 0.01, 0.04)
    assert slow_after(table, SLOW_AFTER_S)[2]
    table.all()[2].itl_s = 0.025
    assert slow_after(table, 1)[2]
    table.all()[2].itl_s = 0.019
    assert not slow_after(table, 1)[2]


@pytest.mark.parametrize(("ttft_s", "count", "is_slow"), [(1.0, 20, True), (0.4, 20, False), (1.0, 19, False)])
def test_first_tokens_are_compared_too_if_they_are_late_at_all(ttft_s: float, count: int, *, is_slow: bool) -> None:
    table = ready_table(3)
    for endpoint, usual_s in zip(table.all(), (0.1, 0.1, ttft_s), strict=True):
        for _ in range(count if usual_s == ttft_s else TTFT_COUNT_MIN):
            table.measured(endpoint, usual_s)
    assert slow_after(table, SLOW_AFTER_S) == [False, False, is_slow]


def test_a_slow_one_stays_in_with_a_smaller_share() -> None:
    table = paced(0.01, 0.01, 0.04)
    slow_after(table, SLOW_AFTER_S)
    assert pool_of(table).candidates(200.0) == table.all()
    assert [round(e.share(200.0), 1) for e in table.all()] == [1.0, 1.0, 0.3]
