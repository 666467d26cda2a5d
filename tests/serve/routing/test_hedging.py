"""Whether a late request is sent to a second endpoint too."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.routing.hedging import BALANCE_MAX, FLOOR_S, SAMPLES_MAX, SAMPLES_MIN, SHARE, Hedge

USUAL: dict[str, Any] = {"has_begun": False, "is_second": False, "has_room": True}


def learned(count: int = 100, requests: int = 100) -> Hedge:
    """Answers that took 0.01 to 1.00 s, evenly."""
    hedge = Hedge()
    for _ in range(requests):
        hedge.request()
    for n in range(count):
        hedge.began((n % 100 + 1) / 100)
    return hedge


def test_late_is_later_than_nineteen_of_twenty() -> None:
    hedge = learned(128)
    assert 0.9 <= hedge.late_s <= 1.0
    assert not hedge.should(0.5, **USUAL)
    assert hedge.should(1.01, **USUAL)


@pytest.mark.parametrize("but", [{"has_begun": True}, {"is_second": True}, {"has_room": False}])
def test_never_for_an_answer_that_began_nor_twice_nor_without_room(but: dict[str, bool]) -> None:
    hedge = learned()
    assert not hedge.should(99.0, **USUAL | but)
    assert hedge.should(99.0, **USUAL)


def test_nothing_is_late_before_enough_was_seen() -> None:
    assert not learned(SAMPLES_MIN - 1).should(1e9, **USUAL)
    assert learned(SAMPLES_MIN).should(1e9, **USUAL)


def test_nothing_under_the_floor_is_late() -> None:
    hedge = Hedge()
    for _ in range(SAMPLES_MIN):
        hedge.began(0.001)
    assert hedge.late_s == FLOOR_S


def test_what_was_long_ago_is_forgotten() -> None:
    hedge = learned()
    for _ in range(SAMPLES_MAX + 32):
        hedge.began(5.0)
    assert hedge.late_s == 5.0


@given(st.integers(0, 2**32), st.integers(1, 600))
def test_hedges_are_at_most_one_in_twenty_and_a_few(seed: int, requests: int) -> None:
    random, hedge, hedged = Random(seed), learned(requests=0), 0
    for _ in range(requests):
        hedge.request()
        for _ in range(random.randrange(3)):
            hedged += hedge.should(random.random() * 100, **USUAL)
    assert hedged == hedge.hedged_total <= SHARE * requests + BALANCE_MAX
