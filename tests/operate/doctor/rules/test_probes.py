"""Probes against the time that loading takes."""

from __future__ import annotations

import pytest

from operate.doctor.faults import PROBES, Fault, assert_found_alone, codes, examined, read


@pytest.mark.parametrize("fault", PROBES, ids=lambda fault: fault.name)
def test_each_fault_is_found_alone_and_at_its_line(fault: Fault) -> None:
    assert_found_alone(fault)


def test_a_small_model_may_start_in_150_seconds() -> None:
    text = read("small.yaml").replace("failureThreshold: 30", "failureThreshold: 15")

    assert codes(examined(text, "small.yaml")) == []


def test_a_late_liveness_probe_is_a_warning_an_early_one_an_error() -> None:
    fault = next(f for f in PROBES if f.rule == "PS024")
    early = fault.text
    late = early.replace("livenessProbe:\n", "livenessProbe:\n            initialDelaySeconds: 900\n")

    severities = [examined(text, "stack.yaml").findings[0].severity.value for text in (early, late)]

    assert severities == ["error", "warning"]
