"""The table of a replica's life."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.operate.engines import EnginePlan
from penstock.operate.replicas import STABLE_S, TRANSITIONS, Phase, Replica, Signal, restart_delay_s
from penstock.serve.routing import EndpointAddress

PLAN = EnginePlan(kind="simulated", reason="", notes=(), argv=("engine",), env=())


def replica(phase: Phase = Phase.STARTING, *, since: float = 0.0) -> Replica:
    return Replica(
        id="chat-0",
        model="chat",
        slot=0,
        plan=PLAN,
        start_timeout_s=100.0,
        stop_timeout_s=30.0,
        phase=phase,
        since=since,
        address=EndpointAddress(id="chat-0", host="127.0.0.1", port=1),
    )


def test_every_phase_with_a_process_leaves_when_the_process_exits() -> None:
    for phase in set(Phase) - {Phase.BACKOFF, Phase.GONE}:
        assert (phase, Signal.EXITED) in TRANSITIONS, phase


def test_every_phase_reaches_gone_when_hurried() -> None:
    for start in set(Phase) - {Phase.GONE}:
        phase = TRANSITIONS.get((start, Signal.HURRIED), start)
        assert phase is Phase.GONE or TRANSITIONS[phase, Signal.EXITED] is Phase.GONE


def test_a_retired_replica_never_comes_back() -> None:
    gone = {Phase.DRAINING, Phase.STOPPING, Phase.KILLING, Phase.GONE}
    assert all(after in gone for (before, _), after in TRANSITIONS.items() if before in gone)


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("signal", list(Signal))
def test_a_signal_without_a_row_changes_nothing(phase: Phase, signal: Signal) -> None:
    it = replica(phase)
    entered = it.apply(signal, 5.0)
    if (phase, signal) in TRANSITIONS:
        assert entered is it.phase is TRANSITIONS[phase, signal]
        assert it.since == 5.0
    else:
        assert entered is None
        assert (it.phase, it.since) == (phase, 0.0)


def test_only_phases_that_must_not_last_have_a_deadline() -> None:
    deadlines = {}
    for (before, signal), after in TRANSITIONS.items():
        it = replica(before)
        it.apply(signal, 1000.0)
        deadlines[after] = it.deadline
    assert deadlines[Phase.STARTING] == 1100.0
    assert deadlines[Phase.DRAINING] == 1030.0
    assert deadlines[Phase.STOPPING] == 1010.0
    assert deadlines[Phase.BACKOFF] == 1001.0
    assert deadlines[Phase.READY] is deadlines[Phase.KILLING] is deadlines[Phase.GONE] is None


@given(st.integers(1, 10_000))
def test_back_off_grows_to_a_minute_and_no_further(failures: int) -> None:
    assert 1.0 <= restart_delay_s(failures) <= restart_delay_s(failures + 1) <= 60.0


def test_back_off_doubles_from_one_second() -> None:
    assert [restart_delay_s(n) for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_exits_in_a_row_are_counted_until_a_stable_run() -> None:
    it = replica()
    now = 0.0
    for expected in (1, 2, 3):
        it.apply(Signal.PROVEN, now)
        now += STABLE_S - 0.1
        it.apply(Signal.EXITED, now)
        assert it.failures == expected
        it.apply(Signal.TIMED_OUT, now)
    assert it.is_crash_looping
    it.apply(Signal.PROVEN, now)
    it.apply(Signal.EXITED, now + STABLE_S)
    assert it.failures == 1
    assert not it.is_crash_looping


def test_a_long_start_is_not_a_stable_run() -> None:
    it = replica()
    it.failures = 2
    it.apply(Signal.EXITED, 99.0)
    assert it.failures == 3


def test_the_address_lives_as_long_as_the_replica_can_be_reached() -> None:
    it = replica(Phase.READY)
    it.apply(Signal.RETIRED, 1.0)
    assert it.address is not None
    it.apply(Signal.DRAINED, 2.0)
    assert it.address is None
