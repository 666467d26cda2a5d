"""A model's timing: additions."""

from __future__ import annotations

import pytest

from penstock.serve.routing.timing import ModelTiming

TIMING = ModelTiming(name="t", fixed_s=0.5, token_s=0.01, pair_s=0.001, steps_s=(0.0, 0.1, 0.2), context_s=0.001)


def test_prefill_counts_what_is_computed_and_what_it_attends_to() -> None:
    # 0.5 + 10 x 0.01 + 10 x (20 + 5) x 0.001
    assert TIMING.prefill_s(10, 20) == pytest.approx(0.85)


def test_steps_beyond_the_table_are_as_the_last() -> None:
    assert TIMING.step_s(1, 100) == pytest.approx(0.2)
    assert TIMING.step_s(9) == TIMING.step_s(2) == 0.2
