"""Our own fleet files."""

from __future__ import annotations

import pytest

from operate.doctor.faults import FLEET, Fault, assert_found_alone, codes, examined, read


@pytest.mark.parametrize("fault", FLEET, ids=lambda fault: fault.name)
def test_each_fault_is_found_alone_and_at_its_line(fault: Fault) -> None:
    assert_found_alone(fault)


def test_flags_of_a_fleet_file_are_judged_too() -> None:
    text = read("fleet.yaml") + "      engine:\n        args: {swap-space: 4}\n"

    assert codes(examined(text, "fleet.yaml")) == ["PS101"]
