"""What endpoints show is learned by its seconds, shared with their fellows, and fades."""

from __future__ import annotations

import pytest

from penstock.serve.routing.learned import ADAPTERS_MAX, LOOKS_MAX, LOOKS_S, EndpointLearned, PoolLearned
from penstock.serve.routing.prefix import HeldBlocks
from serve.routing.fleets import TIMING


def met(pool: PoolLearned | None = None) -> EndpointLearned:
    return EndpointLearned("chat-0", pool or PoolLearned(TIMING), HeldBlocks(100), 0.0)


def test_a_new_endpoint_is_taken_for_one_like_its_fellows() -> None:
    pool = PoolLearned(TIMING)
    for n in range(100):
        pool.took(2.0, 1.0, float(n))
    assert pool.ratio == pytest.approx(2.0, rel=0.05)
    assert met(pool).ratio == pool.ratio


def test_long_prompts_say_more_than_short_ones() -> None:
    one = met()
    one.took(0.5, 0.01, 1.0)  # a hiccup of half a second
    one.took(10.0, 10.0, 1.0)
    assert one.ratio < 1.1


def test_adapters_are_bounded_and_the_one_unused_for_longest_goes() -> None:
    one = met()
    for n in range(ADAPTERS_MAX + 5):
        one.loaded(f"a{n}")
    assert len(one.adapters) == ADAPTERS_MAX
    assert "a4" not in one.adapters
    assert "a5" in one.adapters


def test_a_gateway_that_is_alone_learns_that_homes_hold_nothing_more() -> None:
    pool = PoolLearned(TIMING)
    before = pool.home_share
    for _ in range(1000):
        pool.surprised(0.0, 10_000.0)
    assert pool.home_share < before / 10
    for _ in range(1000):
        pool.surprised(5000.0, 10_000.0)
    assert pool.home_share == 1.0


def test_a_quiet_endpoint_s_answers_are_all_learned_from_and_a_busy_one_s_in_part() -> None:
    quiet, busy = met(), met()
    assert all(quiet.is_news(n * 0.02) for n in range(500))
    looked = sum(busy.is_news(n * 0.0005) for n in range(10_000))  # 2,000 a second for five seconds
    assert looked == pytest.approx(5 / LOOKS_S * LOOKS_MAX, rel=0.05)


def test_a_clock_that_went_back_stops_nobody_from_learning() -> None:
    one = met()
    for _ in range(LOOKS_MAX + 1):
        one.is_news(100.0)
    assert not one.is_news(100.0)
    assert one.is_news(1.0)
