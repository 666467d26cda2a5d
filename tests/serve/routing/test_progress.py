"""Whether an engine makes steps, by its metrics."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.routing.endpoints import EngineSample
from penstock.serve.routing.progress import LOOK_S_MAX, LOOKS_MIN, ROOMY_BELOW, Look, Progress

LOOK_S = 0.25


class Engine:
    """One engine as it is read: `look` changes some fields and reads again."""

    def __init__(self, **fields: Any) -> None:
        self.progress = Progress()
        self.fields: dict[str, Any] = {"running": 2, "generation_tokens_total": 100, **fields}
        self.now = 50.0
        self.last = EngineSample(at=self.now, **self.fields)

    def look(self, after_s: float = LOOK_S, *, is_heard: bool = False, **changes: Any) -> Look:
        self.now += after_s
        self.fields |= changes
        old, self.last = self.last, EngineSample(at=self.now, **self.fields)
        return self.progress.look(old, self.last, is_heard=is_heard)

    def quiet(self, seconds: float) -> None:
        for _ in range(round(seconds / LOOK_S)):
            assert self.look() == "quiet"

    def is_hung(self, itl_s: float = 0.01) -> bool:
        return self.progress.is_hung(itl_s)


@pytest.mark.parametrize(
    "change",
    [
        {"generation_tokens_total": 101},
        {"steps_total": 7},
        {"prompt_tokens_total": 10},
        {"kv_usage": 0.5},
        {"running": 3},
        {"waiting": 1},
        {"prefix_queries_total": 32},
        {"preemptions_total": 1},
    ],
)
def test_whatever_moves_is_a_step(change: dict[str, Any]) -> None:
    engine = Engine()
    engine.quiet(1.5)
    assert engine.look(**change) == "moved"
    engine.quiet(2.0)
    assert not engine.is_hung()


def test_work_without_a_step_is_a_hang_after_the_deadline() -> None:
    engine = Engine()
    engine.quiet(2.0)
    assert not engine.is_hung()
    engine.quiet(0.5)
    assert engine.is_hung()
    assert engine.look(generation_tokens_total=101) == "moved"
    assert not engine.is_hung()


def test_an_engine_with_nothing_to_do_may_be_as_silent_as_it_likes() -> None:
    engine = Engine(running=0)
    for _ in range(1000):
        assert engine.look() == "idle"
    assert not engine.is_hung()


def test_requests_that_only_wait_are_work_too() -> None:
    engine = Engine(running=0, waiting=3)
    engine.quiet(3.0)
    assert engine.is_hung()


def test_a_chunked_prefill_shows_only_in_the_blocks_it_fills() -> None:
    engine = Engine(running=1)
    for chunk in range(20):
        engine.quiet(1.5 + 0.25 * chunk)
        assert not engine.is_hung(), f"chunk {chunk}"
        engine.look(kv_usage=0.01 * (chunk + 1))
    assert engine.progress.is_prefill


def test_the_slowest_step_of_late_is_allowed_again_but_no_more_than_three_deadlines() -> None:
    engine = Engine()
    engine.quiet(1.75)
    engine.look(generation_tokens_total=101)
    engine.quiet(3.25)
    assert not engine.is_hung()
    engine.quiet(0.5)
    assert engine.is_hung()
    engine.quiet(100)
    engine.look(generation_tokens_total=102)
    engine.quiet(5.25)
    assert engine.is_hung()


def test_streams_that_go_on_disprove_counters_that_stand() -> None:
    engine = Engine()
    for _ in range(100):
        assert engine.look(is_heard=True) == "moved"
    assert not engine.is_hung()


def test_counters_that_are_doubted_say_nothing_until_they_move() -> None:
    engine = Engine()
    engine.progress.is_doubted = True
    engine.quiet(30)
    assert not engine.is_hung()
    engine.look(generation_tokens_total=101)
    engine.quiet(3)
    assert engine.is_hung()


@pytest.mark.parametrize("gone", [{"generation_tokens_total": 5}, {"prompt_tokens_total": -1}, {"steps_total": -1}])
def test_a_counter_that_goes_back_is_another_engine(gone: dict[str, Any]) -> None:
    engine = Engine()
    engine.quiet(2)
    assert engine.look(**gone) == "restarted"
    assert (engine.progress.restarts, engine.progress.quiet_s, engine.progress.step_s) == (1, 0.0, 0.0)


@pytest.mark.parametrize("jump_s", [-3600.0, -1.0, 60.0, 1e9])
def test_a_jump_of_the_clock_is_no_silence(jump_s: float) -> None:
    engine = Engine()
    engine.quiet(0.25)
    engine.look(jump_s)
    assert engine.progress.quiet_s <= 0.25 + LOOK_S_MAX
    assert not engine.is_hung()


def test_a_few_looks_are_needed_however_far_apart_they_are() -> None:
    engine = Engine()
    for _ in range(LOOKS_MIN - 1):
        engine.look(5.0)
    assert not engine.is_hung()
    engine.look(5.0)
    assert engine.is_hung()


def test_the_time_of_a_step_is_learned_and_lengthens_the_deadline() -> None:
    engine = Engine(steps_total=10)
    for n in range(50):
        engine.look(1.0, generation_tokens_total=200 + n, steps_total=12 + 2 * n)
    assert engine.progress.step_s == pytest.approx(0.5)
    assert engine.progress.deadline_s(0.0) == pytest.approx(25.0)


def test_a_reading_is_missing_after_several_of_the_usual_intervals() -> None:
    engine = Engine()
    assert not engine.progress.is_missing(1e6)
    for _ in range(50):
        engine.look(0.25)
    assert not engine.progress.is_missing(0.9)
    assert engine.progress.is_missing(1.1)


READINGS = st.lists(
    st.tuples(st.floats(-5, 100), st.integers(-3, 5), st.integers(-5, 5), st.integers(-5, 10**9), st.floats(-1, 2)),
    max_size=30,
)


@given(READINGS)
def test_whatever_metrics_say_silence_is_bounded_by_what_was_looked_at(
    readings: list[tuple[float, int, int, int, float]],
) -> None:
    engine = Engine()
    looked_s = 0.0
    for after_s, running, waiting, tokens, usage in readings:
        looked_s += min(max(0.0, after_s), LOOK_S_MAX)
        engine.look(after_s, running=running, waiting=waiting, generation_tokens_total=tokens, kv_usage=usage)
        assert 0 <= engine.progress.quiet_s <= looked_s + 1e-6
        assert engine.progress.longest_s >= 0


def test_readings_without_a_queue_and_with_room_run_back_to_the_first_of_them() -> None:
    engine = Engine(kv_usage=0.4)
    engine.look(generation_tokens_total=101)
    first = engine.now
    for total in range(102, 110):
        engine.look(generation_tokens_total=total)
    assert engine.progress.roomy_from == first


@pytest.mark.parametrize("change", [{"waiting": 1}, {"kv_usage": ROOMY_BELOW}])
def test_a_queue_or_a_full_cache_ends_that_run_until_both_are_over(change: dict[str, Any]) -> None:
    engine = Engine(kv_usage=0.4)
    engine.look()
    engine.look(**change)
    assert engine.progress.roomy_from == inf
    engine.look(waiting=0, kv_usage=0.4)
    assert engine.progress.roomy_from == engine.now


@pytest.mark.parametrize("change", [{"preemptions_total": 1}, {"generation_tokens_total": 0}])
def test_a_preemption_or_a_restart_begins_that_run_anew(change: dict[str, Any]) -> None:
    engine = Engine(kv_usage=0.4)
    engine.look()
    engine.look(**change)
    assert engine.progress.roomy_from == engine.now


def test_nothing_is_known_of_the_time_for_which_readings_were_missing() -> None:
    engine = Engine()
    for _ in range(10):
        engine.look()
    engine.look(after_s=5.0)
    assert engine.progress.roomy_from == engine.now


def test_an_engine_that_does_not_tell_its_queue_is_not_taken_to_have_none() -> None:
    engine = Engine(tells_waiting=False)
    for _ in range(10):
        engine.look()
    assert engine.progress.roomy_from == inf


def test_a_step_lies_between_two_readings_of_which_the_second_differs() -> None:
    engine = Engine()
    engine.look(generation_tokens_total=101)
    before, at = engine.now - LOOK_S, engine.now
    engine.look(is_heard=True)  # streams go on, and its own counters do not show it
    assert (engine.progress.stepped_from, engine.progress.stepped_at) == (before, at)
