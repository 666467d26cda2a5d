"""What is late, who is told of it, and how much may be sent twice."""

from __future__ import annotations

from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.routing.hedging import (
    BALANCE_MAX,
    FLOOR_S,
    KINDS_MAX,
    SAMPLES_MAX,
    SAMPLES_MIN,
    SHARE,
    TICK_S,
    Hedge,
    Hedging,
    Usual,
    kind_of,
)

CHAT = kind_of("/v1/chat/completions", is_stream=True, prompt_tokens=100)


def learned(count: int = 100, share: float = SHARE) -> Usual:
    """Answers that took 0.01 to 1.00 s to begin, evenly."""
    usual = Usual(share)
    for n in range(count):
        usual.began((n % 100 + 1) / 100)
    return usual


class Woken:
    """A gateway's `Hedging` with one model whose requests are late from 1 s, and a budget."""

    def __init__(self, requests: int = 100) -> None:
        self.hedging = Hedging()
        self.wakes: list[float] = []
        self.hedging.wake = self.wakes.append
        self.hedge = self.hedging.hedge("chat")
        for _ in range(requests):
            self.hedge.request()
        usual = self.hedge.usual(CHAT)
        assert usual is not None
        self.usual = usual
        for _ in range(SAMPLES_MIN):
            self.usual.began(1.0)


# ---------------------------------------------------------------------- what is late


def test_late_is_later_than_nineteen_of_twenty() -> None:
    assert 0.9 <= learned(128).late_s <= 1.0


def test_with_a_larger_share_more_is_late() -> None:
    assert learned(128, share=0.25).late_s == 0.69  # the 97th of 128: 2 x 28, and 41 more


def test_nothing_is_late_before_enough_was_seen() -> None:
    assert learned(SAMPLES_MIN - 1).late_s == inf
    assert learned(SAMPLES_MIN).late_s < inf


def test_nothing_under_the_floor_is_late() -> None:
    usual = Usual()
    for _ in range(SAMPLES_MIN):
        usual.began(0.001)
    assert usual.late_s == FLOOR_S


def test_what_was_long_ago_is_forgotten() -> None:
    usual = learned()
    for _ in range(SAMPLES_MAX + 32):
        usual.began(5.0)
    assert usual.late_s == 5.0


def test_streams_plain_answers_paths_and_lengths_are_told_apart() -> None:
    kinds = {
        kind_of("/v1/chat/completions", is_stream=True, prompt_tokens=100),
        kind_of("/v1/chat/completions", is_stream=False, prompt_tokens=100),
        kind_of("/v1/completions", is_stream=True, prompt_tokens=100),
        kind_of("/v1/chat/completions", is_stream=True, prompt_tokens=8_000),
    }
    assert len(kinds) == 4
    assert kind_of("/x", is_stream=True, prompt_tokens=4096) == kind_of("/x", is_stream=True, prompt_tokens=5000)


def test_there_are_never_more_kinds_than_the_bound() -> None:
    hedge = Hedge()
    usuals = [hedge.usual(("/x", True, n)) for n in range(KINDS_MAX + 5)]
    assert None not in usuals[:KINDS_MAX]
    assert usuals[KINDS_MAX:] == [None] * 5


# ---------------------------------------------------------------------- who is told of it, and when


def test_a_request_is_told_of_once_it_is_late_and_not_before() -> None:
    w = Woken()
    w.hedging.watch(w.usual, "request", 10.0)
    assert w.wakes == [11.0]
    assert w.hedging.due(10.9) == []
    assert w.hedging.due(11.0) == ["request"]


def test_a_request_that_began_is_not_told_of_and_wakes_nobody() -> None:
    w = Woken()
    w.hedging.watch(w.usual, "request", 10.0)
    del w.usual.waiting["request"]
    assert w.hedging.due(11.0) == []
    assert w.wakes == [11.0]
    assert w.hedging.wakes_at == inf


def test_one_that_found_no_room_is_told_of_again_when_as_much_time_has_passed() -> None:
    w = Woken()
    w.hedging.watch(w.usual, "request", 10.0)
    assert w.hedging.due(11.5) == ["request"]
    assert w.hedging.due(12.4) == []
    assert w.hedging.due(12.5) == ["request"]


def test_nobody_is_told_of_while_there_is_no_budget() -> None:
    w = Woken(requests=3)
    w.hedging.watch(w.usual, "request", 10.0)
    assert w.hedging.due(11.0) == []
    for _ in range(20):
        w.hedge.request()
    assert w.hedging.due(12.0) == ["request"]


def test_nothing_is_watched_before_it_is_known_what_is_late() -> None:
    w = Woken()
    other = w.hedge.usual(("/v1/embeddings", False, 3))
    assert other is not None
    w.hedging.watch(other, "request", 10.0)
    assert not other.waiting
    assert w.wakes == []


def test_a_request_that_will_be_late_sooner_brings_the_time_forward() -> None:
    w = Woken()
    quick = w.hedge.usual(("/v1/embeddings", False, 3))
    assert quick is not None
    for _ in range(SAMPLES_MIN):
        quick.began(0.1)
    w.hedging.watch(w.usual, "slow", 10.0)
    w.hedging.watch(quick, "quick", 10.2)
    assert w.wakes == pytest.approx([11.0, 10.3])
    assert w.hedging.due(10.4) == ["quick"]
    assert w.hedging.wakes_at == pytest.approx(10.5)  # the quick one once more


def test_many_that_are_late_in_a_row_do_not_wake_more_often_than_the_tick() -> None:
    w = Woken()
    for n in range(100):
        w.hedging.watch(w.usual, n, 10.0 + n / 1e5)
    w.hedging.due(11.0)
    assert w.hedging.wakes_at == pytest.approx(11.0 + TICK_S)


def test_another_share_is_learned_for_anew_and_the_same_is_not() -> None:
    w = Woken()
    w.hedging.configure(SHARE)
    assert w.hedging.hedge("chat") is w.hedge
    w.hedging.configure(0.1)
    assert w.hedging.hedge("chat") is not w.hedge
    assert w.hedging.hedge("chat").share == 0.1


# ---------------------------------------------------------------------- the budget


@given(st.integers(0, 2**32), st.integers(1, 600), st.sampled_from([0.01, 0.05, 0.5]))
def test_hedges_are_at_most_the_share_and_a_few(seed: int, requests: int, share: float) -> None:
    random, hedge, hedged = Random(seed), Hedge(share), 0
    for _ in range(requests):
        hedge.request()
        for _ in range(random.randrange(3)):
            hedged += hedge.take()
    assert hedged == hedge.hedged_total <= share * requests + 1e-6
    for _ in range(20):
        hedged += hedge.take()
    assert hedged <= share * requests + BALANCE_MAX


def test_what_is_saved_up_is_bounded() -> None:
    hedge = Hedge(0.5)
    for _ in range(1000):
        hedge.request()
    assert sum(hedge.take() for _ in range(100)) == BALANCE_MAX


@given(st.lists(st.tuples(st.sampled_from(["watch", "leave", "due"]), st.floats(0, 3)), max_size=60))
def test_whoever_is_late_is_told_of_as_soon_as_the_gateway_is_woken(steps: list[tuple[str, float]]) -> None:
    w = Woken()
    now, number, sent, told = 100.0, 0, {}, set()
    for what, seconds in steps:
        if what == "watch":
            now, number = now + seconds / 10, number + 1
            w.hedging.watch(w.usual, number, now)
            sent[number] = now
        elif what == "leave" and w.usual.waiting:
            gone = next(iter(w.usual.waiting))
            del w.usual.waiting[gone]
            sent.pop(gone)
        elif what == "due" and w.hedging.wakes_at < inf:
            now = max(now, w.hedging.wakes_at)
            told |= set(w.hedging.due(now))
            assert all(now - at < 1.0 for number, at in sent.items() if number not in told)
    assert w.usual.waiting.keys() == sent.keys()
    if sent:
        assert w.hedging.wakes_at < inf
