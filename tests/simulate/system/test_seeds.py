"""Five hundred drawn worlds, and those that once failed: every rule holds in each."""

from __future__ import annotations

import pytest

from penstock.simulate.io.system import simulate_seed
from simulate.system.kept import KEPT

SEEDS = 500
AT_ONCE = 25


def failures(seeds: range | list[int]) -> list[str]:
    verdicts = [simulate_seed(seed) for seed in seeds]
    return ["\n".join([f"seed {v.seed}: {v.failure}", *v.story]) for v in verdicts if v.failure]


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_no_rule_is_broken(first: int) -> None:
    assert failures(range(first, first + AT_ONCE)) == []


def test_what_once_failed_holds() -> None:
    assert failures(list(KEPT)) == []


def test_a_seed_tells_the_same_story_each_time() -> None:
    assert simulate_seed(7) == simulate_seed(7)


def test_the_worlds_are_not_all_quiet() -> None:
    """Else the tests above would show nothing."""
    verdicts = [simulate_seed(seed) for seed in range(60)]
    outcomes = sum((v.outcomes for v in verdicts[1:]), verdicts[0].outcomes)
    assert outcomes["ok"] > 500
    assert sum(v.resumes for v in verdicts) > 5
    assert sum(v.continued for v in verdicts) > 5
    assert sum(v.retries for v in verdicts) > 5
    hedges = sum((v.hedges for v in verdicts[1:]), verdicts[0].hedges)
    assert hedges["first"] > 5
    assert hedges["second"] > 0
    assert len(outcomes) > 12
