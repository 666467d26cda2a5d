"""Which request an armed fault happens to, and when."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from penstock.simulate.engine.api.faults import FAULT, Fault, FaultBoard


def board(**fields: Any) -> FaultBoard:
    made = FaultBoard()
    made.arm(Fault(**fields), now=0.0)
    return made


def test_a_healthy_engine_does_nothing() -> None:
    healthy = FaultBoard()

    assert healthy.on_request() == "go"
    assert healthy.on_tokens(100) == "go"
    assert not healthy.watches_tokens
    assert not healthy.is_hanging
    assert healthy.step_factor == 1.0


def test_errors_happen_to_as_many_requests_as_asked_for() -> None:
    armed = board(mode="error500", count=2)

    assert [armed.on_request() for _ in range(3)] == ["error500", "error500", "go"]
    assert armed.happened == 2


def test_a_drop_waits_for_its_token_and_counts_streams() -> None:
    armed = board(mode="drop", at_token=3, count=1)

    assert [armed.on_tokens(n) for n in (1, 2, 3)] == ["go", "go", "drop"]
    assert armed.on_tokens(5) == "go"


def test_a_drop_without_a_token_comes_after_the_first() -> None:
    assert board(mode="drop").on_tokens(1) == "drop"


@pytest.mark.parametrize("mode", ["crash", "hang", "error500"])
def test_other_faults_wait_for_a_token_only_when_told_to(mode: Any) -> None:
    armed = board(mode=mode, at_token=2)

    assert armed.on_request() == "go"
    assert armed.on_tokens(1) == "go"
    assert armed.on_tokens(2) == mode


def test_a_hang_holds_from_its_start_or_from_its_token() -> None:
    later = board(mode="hang", at_token=2)

    assert board(mode="hang").is_hanging
    assert not later.is_hanging
    later.on_tokens(2)
    assert later.is_hanging


def test_slowness_is_a_factor() -> None:
    assert board(mode="slow", factor=3.0).step_factor == 3.0


def test_a_fault_heals_when_its_time_is_over() -> None:
    armed = board(mode="hang", for_s=5.0)

    assert not armed.heal(4.9)
    assert armed.state(4.0)["heals_in_s"] == 1.0
    assert armed.heal(5.0)
    assert armed.fault.mode == "none"
    assert not armed.heal(6.0)


@pytest.mark.parametrize("body", [{}, {"mode": "explode"}, {"mode": "drop", "at": 3}, {"mode": "slow", "factor": 0}])
def test_a_fault_that_makes_no_sense_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FAULT.validate_python(body)
