"""Seats that nobody told: found in a second or two of load, tried now and then, and hardly anybody waits for it."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.flow.seats import FIRST_REQUESTS, PAUSE, PAUSE_MAX, TRIED_READINGS, Seats
from penstock.serve.routing import EngineSample


class Engine:
    """An engine of so many seats, all of whose window is always used; a reading a turn."""

    def __init__(self, seats: int) -> None:
        self.seats = seats
        self.learned = Seats()
        self.waiting: list[int] = []
        self._before: EngineSample | None = None

    def read(self, times: int = 1) -> int:
        for _ in range(times):
            ours = int(self.learned.size) if self._before is not None else 0
            running = min(self.seats, ours)
            self.waiting.append(ours - running)
            self.tell(running, ours - running, is_full=True)
        return int(self.learned.size)

    def tell(self, running: int, waiting: int = 0, *, is_full: bool = False, was_full: bool = True) -> int:
        sample = EngineSample(at=0.0, running=running, waiting=waiting)
        self.learned.read(sample, self._before, was_full=was_full, is_full=is_full)
        self._before = sample
        return int(self.learned.size)

    def miss(self) -> None:
        self._before = None


def test_it_begins_with_a_few_or_with_what_runs_already() -> None:
    assert Engine(1).tell(0) == FIRST_REQUESTS
    assert Engine(1).tell(200) == 200


@given(seats=st.integers(1, 1024))
def test_seats_that_nobody_told_are_found_and_hardly_anybody_waits_in_the_engine(seats: int) -> None:
    engine = Engine(seats)
    engine.read(40)
    settled = [engine.read() for _ in range(400)]
    assert min(settled) >= seats - seats // 64
    late = engine.waiting[-400:]
    assert sum(waiting > seats // 64 for waiting in late) <= 400 * (TRIED_READINGS + 1) / PAUSE_MAX
    assert max(late) <= max(1, seats // 8)


def test_an_engine_that_runs_more_than_before_is_given_more_after_a_pause_and_soon_all() -> None:
    engine = Engine(8)
    engine.read(400)
    assert engine.learned.size <= 9
    engine.seats = 64
    assert engine.read(PAUSE_MAX + 2 * TRIED_READINGS + 20) >= 64


def test_what_others_that_share_the_engine_show_it_to_run_counts_at_once() -> None:
    engine = Engine(10)
    engine.read(20)
    while not engine.learned.are_known:
        engine.read()
    assert engine.learned.size == 10
    assert engine.tell(12) == 12


def test_requests_that_stay_waiting_shrink_it_to_about_the_most_that_ran_of_late() -> None:
    engine = Engine(1)
    engine.tell(21)
    assert engine.tell(20, waiting=30) == FIRST_REQUESTS  # it may be a burst
    assert engine.tell(18, waiting=29) == 21 + 2
    assert engine.learned.are_known


def test_what_is_all_used_while_requests_stay_waiting_shrinks_to_just_that() -> None:
    engine = Engine(1)
    for _ in range(3):
        engine.tell(21, waiting=2, is_full=True)
    assert engine.learned.size == 21


def test_prompts_that_wait_for_their_turn_in_a_step_do_not() -> None:
    engine = Engine(1)
    engine.tell(64)
    for running in (40, 30, 45, 35):
        engine.tell(running, waiting=3)
    assert not engine.learned.are_known


def test_an_engine_whose_readings_were_away_is_learned_anew() -> None:
    engine = Engine(8)
    engine.read(30)
    engine.miss()
    assert engine.tell(3) == FIRST_REQUESTS
    assert not engine.learned.are_known


def test_trials_that_fail_come_after_pauses_that_double() -> None:
    engine = Engine(8)
    limits = [engine.read() for _ in range(8 * PAUSE_MAX)]
    begun = [n for n in range(1, len(limits)) if limits[n - 1] == 8 and limits[n] == 9]
    gaps = [b - a for a, b in itertools.pairwise(begun)]
    assert gaps[0] < 3 * PAUSE
    assert gaps == sorted(gaps)
    assert PAUSE_MAX <= gaps[-1] <= PAUSE_MAX + TRIED_READINGS + 2


def test_nothing_is_tried_while_nobody_is_held_back() -> None:
    engine = Engine(8)
    engine.read(30)
    while not engine.learned.are_known:
        engine.read()
    assert {engine.tell(1, was_full=False) for _ in range(200)} == {8}


def test_a_trial_that_nobody_fills_is_over_and_its_pause_is_no_longer() -> None:
    engine = Engine(8)
    while not engine.learned.on_trial:
        engine.read()
    for _ in range(TRIED_READINGS):
        assert engine.learned.size == 9
        engine.tell(6)
    for _ in range(PAUSE):
        assert engine.learned.size == 8
        engine.tell(8, is_full=True)
    assert engine.tell(8, is_full=True) == 9
