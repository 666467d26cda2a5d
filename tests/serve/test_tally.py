"""A model's counts: bounded in callers and reasons, and nothing that exceeds a bound is lost."""

from __future__ import annotations

from penstock.serve.tally import CALLERS_MAX, OTHER, REASONS_MAX, ModelTally


def test_callers_beyond_the_bound_are_counted_as_other() -> None:
    tally = ModelTally()
    for number in range(CALLERS_MAX + 50):
        tally.add_caller(f"tenant-{number}", "interactive").outcomes["ok"] += 1
    assert len(tally.callers) == CALLERS_MAX + 1
    assert tally.callers[OTHER, OTHER].outcomes["ok"] == 50
    assert tally.outcomes()["ok"] == CALLERS_MAX + 50


def test_reasons_beyond_the_bound_are_counted_as_other() -> None:
    tally = ModelTally()
    for number in range(REASONS_MAX + 5):
        tally.count_failure("upstream_error", f"reason-{number}")
    tally.count_failure("upstream_error", "reason-0")
    assert tally.failures["upstream_error", OTHER] == 5
    assert tally.failures["upstream_error", "reason-0"] == 2
    assert sum(tally.failures.values()) == REASONS_MAX + 6


def test_the_last_ticks_tell_requests_errors_and_tokens_apart() -> None:
    tally = ModelTally()
    caller = tally.add_caller("acme", "interactive")
    caller.outcomes["ok"] += 3
    caller.output_tokens += 30
    tally.tick()
    caller.outcomes["timeout"] += 1
    caller.outcomes["client_error"] += 1
    tally.tick()
    assert tally.since(1) == (2, 1, 0)
    assert tally.since(60) == (5, 1, 30)
