"""What the engine said before it died, told apart."""

from __future__ import annotations

import pytest

from operate.doctor.faults import LOGS, Fault, assert_found_alone, codes, examined, read


@pytest.mark.parametrize("fault", LOGS, ids=lambda fault: fault.name)
def test_each_fault_is_found_alone_and_at_its_line(fault: Fault) -> None:
    assert_found_alone(fault)


def test_a_log_without_errors_says_nothing() -> None:
    assert codes(examined(read("engine.log"), "engine.log")) == []


def test_colours_and_tokens_are_left_out_of_the_evidence() -> None:
    text = "\x1b[31mValueError: 401 Client Error for token hf_abcdefghijklmnop\x1b[0m\n"

    (finding,) = examined(text, "engine.log").findings

    assert finding.rule.code == "PS209"
    assert "hf_abc" not in finding.evidence


def test_an_error_is_told_once_for_each_log() -> None:
    assert codes(examined("RuntimeError: No CUDA GPUs are available\n" * 50, "engine.log")) == ["PS234"]
