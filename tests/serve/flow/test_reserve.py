"""How much is kept free for tenants under their share."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.flow.reserve import MISSED_PART, Reserve


@given(found=st.lists(st.booleans(), max_size=200), of=st.integers(0, 500), part=st.integers(2, 8))
def test_never_more_than_its_part_of_all_is_kept(found: list[bool], of: int, part: int) -> None:
    reserve = Reserve(part)
    for has_found in found:
        reserve.asked(of, has_found=has_found)
        assert 0 <= reserve.kept(of) <= of // part


def test_one_that_finds_none_makes_it_one_more() -> None:
    reserve = Reserve(4)
    before = reserve.kept(100)
    reserve.asked(100, has_found=False)
    assert reserve.kept(100) == before + 1


def test_where_everybody_finds_one_nothing_is_kept_in_the_end() -> None:
    reserve = Reserve(4)
    for _ in range(200):
        reserve.asked(100, has_found=True)
    assert reserve.kept(100) == 0


def test_in_the_long_run_one_in_a_hundred_finds_none() -> None:
    """Each that comes needs one more than a random number of others: more than `k` with probability 1/2^k."""
    reserve, random, missed = Reserve(4), Random(1), 0
    for _ in range(40_000):
        others = 0
        while random.random() < 0.5:
            others += 1
        has_found = others < reserve.kept(400)
        missed += not has_found
        reserve.asked(400, has_found=has_found)
    assert MISSED_PART / 2 < missed / 40_000 < MISSED_PART * 2


def test_a_smaller_fleet_keeps_less_of_what_was_learned_on_a_larger_one() -> None:
    reserve = Reserve(4)
    for _ in range(20):
        reserve.asked(100, has_found=False)
    assert reserve.kept(8) == 2
    assert reserve.kept(3) == 0
