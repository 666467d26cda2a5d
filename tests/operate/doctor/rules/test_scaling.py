"""Autoscalers."""

from __future__ import annotations

import pytest

from operate.doctor.faults import SCALING, Fault, assert_found_alone, codes, examined, read


@pytest.mark.parametrize("fault", SCALING, ids=lambda fault: fault.name)
def test_each_fault_is_found_alone_and_at_its_line(fault: Fault) -> None:
    assert_found_alone(fault)


def test_an_hpa_that_keda_made_is_no_second_scaler() -> None:
    fault = next(f for f in SCALING if f.rule == "PS011")

    assert codes(examined(fault.text.replace("name: second", "name: keda-hpa-llama-70b"), "stack.yaml")) == []


def test_a_threshold_is_not_judged_where_its_meaning_is_said() -> None:
    assert codes(examined(read("stack.yaml"), "stack.yaml")) == []


def test_waking_by_what_the_gateway_holds_is_right() -> None:
    text = read("stack.yaml").replace("minReplicaCount: 2", "minReplicaCount: 0")
    start = text.index("          sum(avg_over_time(vllm:num_requests_running")
    end = text.index("        threshold")
    text = f"{text[:start]}          sum(penstock_requests_held)\n{text[end:]}"

    assert codes(examined(text, "stack.yaml")) == []
