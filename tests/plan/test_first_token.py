"""The first token at a random moment: what a request waits for, one thing at a time."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.plan.estimate import StepParts
from penstock.plan.first_token import Rounds

STEADY = ((1.0, 1.0),)
SPELLS = ((0.4, 0.9), (0.4, 1.1), (0.2, 1.5))


def step(gpu: float, host: float = 0.0) -> StepParts:
    return StepParts(gpu_s=gpu, host_s=host)


DECODE, PREFILL = step(0.005), step(0.050)
LAUNCHED = step(0.010, 0.020)
"""A prefill that the host takes longer to launch than the GPU to run."""


def rounds(
    prefill: StepParts = PREFILL,
    *,
    share: float = 0.0,
    rate: float = 0.0,
    idle: float = 0.0,
    lead: float = 0.0,
    spells: object = STEADY,
) -> Rounds:
    steps = [(1.0 - share, DECODE), (share, prefill)] if share else [(1.0, DECODE)]
    return Rounds(
        steps=steps,
        after=DECODE,
        following=prefill,
        rate=rate,
        idle=idle,
        lead=lead,
        spells=spells,  # type: ignore[arg-type]
    )


def mean(points: list[tuple[float, float]]) -> float:
    return sum(p * seconds for p, seconds in points)


def largest(points: list[tuple[float, float]]) -> float:
    return max(seconds for p, seconds in points if p > 0)


def test_an_idle_engine_takes_the_step_itself() -> None:
    assert mean(rounds(idle=1.0).found(PREFILL, lambda others: PREFILL)) == pytest.approx(0.050)
    assert mean(rounds(idle=1.0).found(LAUNCHED, lambda others: LAUNCHED)) == pytest.approx(0.020)


def test_an_idle_gpu_begins_a_lead_after_the_decision_and_a_busy_one_at_once() -> None:
    assert mean(rounds(idle=1.0, lead=0.002).found(PREFILL, lambda others: PREFILL)) == pytest.approx(0.052)
    assert mean(rounds(lead=0.002).found(PREFILL, lambda others: PREFILL)) == pytest.approx(0.0575)


def test_beside_decodes_it_waits_for_what_is_left_of_one_and_for_the_next() -> None:
    assert mean(rounds().found(PREFILL, lambda others: PREFILL)) == pytest.approx(0.005 / 2 + 0.005 + 0.050)


def test_a_launch_hides_the_step_that_the_gpu_still_runs() -> None:
    assert mean(rounds(LAUNCHED).found(LAUNCHED, lambda others: LAUNCHED)) == pytest.approx(0.005 / 2 + 0.020)


def test_prompts_of_others_are_waited_for() -> None:
    """One arrival in ten steps of 9.5 ms on average: what is left of the one on arrival, and a whole one."""
    step_s, square = 0.9 * 0.005 + 0.1 * 0.050, 0.9 * 0.005**2 + 0.1 * 0.050**2
    found = rounds(share=0.1, rate=0.1 / step_s).found(PREFILL, lambda others: PREFILL)

    assert mean(found) == pytest.approx(square / step_s / 2 + step_s + 0.050, rel=0.02)


def test_a_request_that_comes_meanwhile_holds_the_token_back_by_its_launch() -> None:
    points = rounds(LAUNCHED, rate=5.0, idle=1.0).found(LAUNCHED, lambda others: LAUNCHED)

    assert largest(points) == pytest.approx(0.040)
    assert sum(p for p, seconds in points if seconds > 0.030) == pytest.approx(1 - math.exp(-5.0 * 0.020))


def test_a_slow_spell_of_the_host_is_seen_in_the_tail_where_the_gpu_is_quicker() -> None:
    assert largest(rounds(LAUNCHED, spells=SPELLS, idle=1.0).found(LAUNCHED, lambda others: LAUNCHED)) == pytest.approx(
        0.030
    )
    assert largest(rounds(spells=SPELLS, idle=1.0).found(PREFILL, lambda others: PREFILL)) == pytest.approx(0.050)


def test_an_engine_without_decodes_may_still_be_busy_with_the_prompt_of_another() -> None:
    found = rounds(share=0.1, rate=10.0, idle=1.0).found(PREFILL, lambda others: PREFILL)

    assert 0.3 < sum(p for p, seconds in found if seconds > 0.050) < 0.7


@given(st.floats(0.0, 0.5), st.floats(0.0, 30.0), st.floats(0.0, 1.0), st.booleans())
def test_chances_add_up_to_one(share: float, rate: float, idle: float, is_launched: bool) -> None:
    prefill = LAUNCHED if is_launched else PREFILL
    found = rounds(prefill, share=share, rate=rate, idle=idle, spells=SPELLS)

    assert sum(p for p, _ in found.found(prefill, lambda others: prefill)) == pytest.approx(1.0)
