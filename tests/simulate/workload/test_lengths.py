from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import UsageError
from penstock.simulate.workload.lengths import Hump, Lengths, parse_lengths


def test_a_hump_has_the_median_and_tail_that_it_names() -> None:
    rng, lengths = Random(1), Lengths.of(1000, 7000)

    drawn = sorted(lengths.draw(rng) for _ in range(20_000))

    assert drawn[10_000] == pytest.approx(1000, rel=0.05)
    assert drawn[19_800] == pytest.approx(7000, rel=0.1)


def test_without_a_tail_the_length_is_fixed() -> None:
    assert {Lengths.of(512).draw(Random(seed)) for seed in range(50)} == {512}


@given(st.integers(0, 1000), st.integers(1, 5000), st.integers(1, 20), st.integers(1, 3000))
def test_draws_stay_between_one_and_the_cap(seed: int, p50: int, ratio: int, cap: int) -> None:
    assert 1 <= Lengths.of(p50, p50 * ratio, cap=cap).draw(Random(seed)) <= cap


def test_humps_are_chosen_by_weight() -> None:
    two = Lengths(humps=(Hump(weight=3, p50=1, p99=1), Hump(weight=1, p50=100, p99=100)))
    rng = Random(2)

    drawn = [two.draw(rng) for _ in range(4000)]

    assert set(drawn) == {1, 100}
    assert drawn.count(1) / 4000 == pytest.approx(0.75, abs=0.03)


def test_options_name_a_fixed_length_or_a_distribution() -> None:
    assert parse_lengths("512", option="--x") == Lengths.of(512)
    assert parse_lengths("1000:7400", option="--x") == Lengths.of(1000, 7400)
    assert parse_lengths("200000", option="--x").draw(Random(0)) == 200_000


@pytest.mark.parametrize("text", ["", "0", "-1", "a", "1:2:3", "1:", "1.5"])
def test_what_is_no_length_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"--input-tokens.*\n.*--input-tokens 1000:7400"):
        parse_lengths(text, option="--input-tokens")


def test_a_tail_under_the_median_is_refused() -> None:
    with pytest.raises(UsageError, match="99th percentile"):
        parse_lengths("100:50", option="--x")
