"""Deadlines from an engine's own pace."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.routing.pace import (
    CEILING_S,
    FACTOR,
    FLOOR_S,
    LOOKS_FACTOR,
    PREFILL_CEILING_S,
    deadline_s,
    learned_itl_s,
    looks_deadline_s,
)


@pytest.mark.parametrize(
    ("itl_s", "others_go_on", "expected"),
    [
        (0.0, False, CEILING_S),
        (0.001, False, FLOOR_S),
        (0.1, False, FACTOR * 0.1),
        (9.0, False, CEILING_S),
        (0.001, True, CEILING_S),
    ],
)
def test_the_deadline_follows_the_pace_between_a_floor_and_a_ceiling(
    itl_s: float, others_go_on: bool, expected: float
) -> None:
    assert deadline_s(itl_s, others_go_on=others_go_on) == expected


def test_a_pace_is_learned_from_what_finished_lately() -> None:
    pace = learned_itl_s(0.0, 0.02)
    assert pace == 0.02
    for _ in range(60):
        pace = learned_itl_s(pace, 0.1)
    assert pace == pytest.approx(0.1, rel=0.01)


@given(st.floats(0, 10), st.floats(0, 1000))
def test_a_hang_shows_in_the_counters_within_three_deadlines_of_a_stream(itl_s: float, longest_s: float) -> None:
    stream_s = deadline_s(itl_s, others_go_on=False)
    assert (
        stream_s
        <= looks_deadline_s(itl_s, longest_s=longest_s, is_prefill=False)
        <= LOOKS_FACTOR * stream_s
        < 3 * stream_s
    )


@pytest.mark.parametrize(("longest_s", "expected"), [(0.0, 5.0), (1.0, 5.0), (8.0, 32.0), (40.0, PREFILL_CEILING_S)])
def test_a_prefill_whose_steps_grow_is_waited_for(longest_s: float, expected: float) -> None:
    assert looks_deadline_s(0.01, longest_s=longest_s, is_prefill=True) == expected


def test_silences_that_ended_by_themselves_are_no_hang_the_next_time() -> None:
    assert looks_deadline_s(0.01, longest_s=1.9, is_prefill=False) == 3.8
