"""What an endpoint has room for: known bounds first, then what its engine says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.flow.seats import FIRST_REQUESTS, UNKNOWN_REQUESTS
from penstock.serve.flow.settings import Capacity
from penstock.serve.flow.window import SPARE, Window
from penstock.serve.routing import EngineSample
from serve.flow.flows import endpoint, table


def sample(at: float, running: int = 0, waiting: int = 0, kv_usage: float = 0.0) -> EngineSample:
    return EngineSample(at=at, running=running, waiting=waiting, kv_usage=kv_usage)


def test_an_engine_without_metrics_gets_as_many_as_the_largest_default() -> None:
    window = Window()
    window.observe(None, 900)
    assert window.limit == UNKNOWN_REQUESTS == 1024
    assert not window.knows_seats


def test_an_engine_with_metrics_that_is_not_known_begins_with_a_few_and_grows_with_first_tokens() -> None:
    window = Window()
    window.observe(sample(1), 0)
    assert (window.limit, window.knows_seats) == (FIRST_REQUESTS, False)
    for _ in range(4 * FIRST_REQUESTS):
        window.began(10, window.begin(10, 1.0, is_heard=True), 0.02, window.limit)
    assert window.limit == 2 * FIRST_REQUESTS
    window.began(10, window.begin(10, 1.0, is_heard=True), 0.02, window.limit - 1)
    assert window.limit == 2 * FIRST_REQUESTS  # it was not full


def test_what_is_on_trial_is_told_apart_and_no_seats_are_kept_meanwhile() -> None:
    window = Window()

    def read(at: int) -> None:
        window.was_full = True
        ours = window.limit
        window.observe(sample(at, min(ours, 32), ours - min(ours, 32)), ours)

    now = 0
    while not window.knows_seats:
        read(now := now + 1)
    while window.knows_seats:
        assert (window.sure, window.limit) == (32, 32)
        assert (window.reserve_min, window.kept(1), window.kept(5)) == (2, 2, 5)
        read(now := now + 1)
    assert (window.sure, window.limit) == (32, 33)
    assert (window.reserve_min, window.kept(5)) == (0, 0)


def test_each_gateway_has_its_part_of_the_seats_that_were_learned() -> None:
    window = Window(gateways=2)
    window.observe(sample(0), 0)
    assert window.limit == FIRST_REQUESTS
    for at in (1, 2, 3, 4):
        window.observe(sample(at, running=11, waiting=3), window.limit)
    assert window.limit == 6
    window.configure(Capacity(requests_max=8), 2)
    assert window.limit == 4
    window.configure(Capacity(), 2)
    window.observe(sample(5, running=30), 5)
    assert window.limit == 15


@pytest.mark.parametrize(("gateways", "share"), [(1, 10), (2, 5), (3, 4), (20, 1)])
def test_each_gateway_has_its_part_rounded_up(gateways: int, share: int) -> None:
    assert Window(Capacity(requests_max=10), gateways).limit == share


def test_requests_that_stay_waiting_shrink_it_to_what_runs() -> None:
    window = Window(Capacity(requests_max=64))
    window.observe(sample(1, running=20, waiting=30), 50)
    assert window.limit == 64  # it may have been a burst
    window.observe(sample(2, running=21, waiting=29), 50)
    assert window.limit == 21 + SPARE


def test_a_burst_that_goes_again_does_not() -> None:
    window = Window(Capacity(requests_max=64))
    for at, waiting in enumerate((30, 0, 30, 0)):
        window.observe(sample(at, running=20, waiting=waiting), 50)
    assert window.limit == 64


def test_it_grows_back_only_while_somebody_is_turned_away() -> None:
    window, one = Window(Capacity(requests_max=64)), endpoint(table())
    for at in (1, 2):
        window.observe(sample(at, running=10, waiting=30), 40)
    one.in_flight = small = window.limit
    one.sample = sample(3, running=small)
    window.seen = one.sample
    window.observe(sample(4, running=small), small)
    assert window.limit == small  # nobody asked
    assert not window.has_room(one, 4.0) or window.limit > small
    window.seen = one.sample
    assert not window.has_room(one, 4.0)
    window.observe(sample(5, running=small), small)
    assert window.limit == small + 1


def test_what_other_gateways_leave_is_lent_and_taken_back_at_once() -> None:
    window, one = Window(Capacity(requests_max=40), gateways=2), endpoint(table())
    one.in_flight = window.limit
    assert (window.limit, window.has_room(one, 0.0)) == (20, False)
    window.observe(sample(1, running=20), 20)
    assert window.limit == 30  # half of what is free
    for at in (2, 3):
        window.observe(sample(at, running=40, waiting=9), 30)
    assert window.limit == 20


def test_a_full_cache_has_no_room_and_an_idle_engine_always_has() -> None:
    window, one = Window(Capacity(requests_max=64, kv_tokens=1000)), endpoint(table())
    assert window.has_room(one, 0.0)
    window.take(5000)  # more than fits: the engine says so itself
    one.in_flight = 1
    assert not window.has_room(one, 0.0)
    window.give(5000)
    one.in_flight = 0
    assert window.has_room(one, 0.0)


def test_a_cache_that_is_measured_to_have_room_has_it() -> None:
    """Prompts that share prefixes and answers that have not grown yet take less than they may come to."""
    window, one = Window(Capacity(requests_max=64, kv_tokens=1000)), endpoint(table())
    window.take(1500)
    one.in_flight = 5
    one.sample = sample(1, running=5, kv_usage=0.3)
    assert window.has_room(one, 1.0)
    assert window.fits(500)
    assert not window.fits(700)


def test_prompts_are_not_held_until_first_tokens_were_seen() -> None:
    window, one = Window(), endpoint(table())
    for _ in range(50):
        window.begin(8000, 0.0, is_heard=True)
    one.in_flight = 50
    assert window.has_room(one, 0.0)


def test_slow_first_tokens_hold_further_prompts() -> None:
    window, one = Window(), endpoint(table())
    one.in_flight = 1
    window.began(10, window.begin(10, 0.0, is_heard=True), 0.02)
    for turn in range(100):
        now = float(turn)
        held = window.begin(1000, now, is_heard=True)
        window.begin(1000, now, is_heard=True)
        window.began(1000, held, 0.5)
        window.unbegun(1000)
    window.begin(1000, 200.0, is_heard=True)
    assert window.prefill_max < 2000
    window.begin(1000, 200.0, is_heard=True)
    assert not window.has_room(one, 200.0)


def test_a_prompt_whose_first_token_nobody_hears_is_taken_for_done_in_time() -> None:
    window, one = Window(), endpoint(table())
    one.in_flight = 1
    window.began(10, window.begin(10, 0.0, is_heard=True), 0.02)
    for _ in range(200):
        window.began(1000, window.begin(1000, 0.0, is_heard=True), 1.0)
    for _ in range(40):
        window.begin(1000, 10.0, is_heard=False)
    assert not window.has_room(one, 10.5)
    assert window.next_due() == pytest.approx(11.0, abs=0.01)
    assert window.has_room(one, 11.0)
    assert window.prefill_held == 0


@given(
    samples=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300), st.booleans()), max_size=60),
    seats=st.none() | st.integers(1, 300),
    gateways=st.integers(1, 9),
)
def test_it_is_never_below_one_nor_above_the_seats(
    samples: list[tuple[int, int, bool]], seats: int | None, gateways: int
) -> None:
    window = Window(Capacity(requests_max=seats), gateways)
    for at, (running, waiting, was_full) in enumerate(samples):
        window.was_full = was_full
        window.observe(sample(at, running, waiting), window.limit)
        assert window.limit >= 1
        assert seats is None or window.limit <= seats


def test_a_reload_keeps_what_was_learned_within_the_new_bounds() -> None:
    window = Window(Capacity(requests_max=64))
    for at in (1, 2):
        window.observe(sample(at, running=10, waiting=30), 40)
    window.configure(Capacity(requests_max=64), 2)
    assert window.limit == 6
    window.configure(Capacity(requests_max=4), 1)
    assert window.limit == 4


def test_short_prompts_that_add_nothing_to_the_steps_are_not_held() -> None:
    """Steps of 20 ms: first tokens take one to two of them, whatever few prompts come."""
    window, one = Window(), endpoint(table())
    one.in_flight = 1
    for turn in range(400):
        window.began(50, window.begin(50, turn, is_heard=True), 0.02 + 0.0002 * (turn % 100))
    assert window.prefill_max > 10_000


def test_it_grows_back_also_while_the_seats_that_are_kept_stay_free() -> None:
    window, one = Window(Capacity(requests_max=64)), endpoint(table())
    for at in (1, 2):
        window.observe(sample(at, running=20, waiting=30), 40)
    small = window.limit
    one.in_flight = small - 3
    window.keep(one)
    window.observe(sample(3, running=one.in_flight), one.in_flight)
    assert window.limit > small


def test_seats_that_are_free_and_were_kept_from_nobody_are_no_reason_to_grow() -> None:
    window, one = Window(Capacity(requests_max=64)), endpoint(table())
    for at in (1, 2):
        window.observe(sample(at, running=20, waiting=30), 40)
    small = window.limit
    one.in_flight = small - 3
    window.keep(one)
    window.observe(sample(3, running=one.in_flight), one.in_flight)
    grown = window.limit
    window.was_full = True
    window.observe(sample(4, running=one.in_flight), one.in_flight)
    assert window.limit == grown


@pytest.mark.parametrize(("seats", "kept"), [(1, 0), (7, 0), (8, 1), (16, 1), (32, 2), (256, 4)])
def test_a_few_seats_of_each_engine_are_kept_at_least(seats: int, kept: int) -> None:
    assert Window(Capacity(requests_max=seats)).reserve_min == kept
