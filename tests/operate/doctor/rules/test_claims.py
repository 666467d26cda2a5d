"""What pages and comments say: each wrong claim is found, its denial is not."""

from __future__ import annotations

import pytest

from operate.doctor.faults import CLAIMS, Fault, assert_found_alone, codes, examined


@pytest.mark.parametrize("fault", CLAIMS, ids=lambda fault: fault.name)
def test_each_fault_is_found_alone_and_at_its_line(fault: Fault) -> None:
    assert_found_alone(fault)


@pytest.mark.parametrize(
    "sentence",
    [
        "It is a myth that lower gpu-memory-utilization helps against every out-of-memory error.",
        "A PodDisruptionBudget does not govern rolling updates.",
        "The KV cache is never in /dev/shm.",
        "policy/v1beta1 was deprecated in 1.21 and is gone.",
        "Install driver 580.65 or newer.",
        "Llama 3.1 8B on an H100 serves 40 requests.",
        "The autoscaler looks every 15 s; a new replica is ready after 4 minutes.",
    ],
)
def test_a_sentence_that_is_right_is_left_alone(sentence: str) -> None:
    assert codes(examined(f"# Page\n\n{sentence}\n", "page.md")) == []


def test_a_claim_over_two_lines_is_found_where_it_begins() -> None:
    report = examined("# Page\n\nFirst. Mount shared memory because the engine\nkeeps its KV cache there.\n", "page.md")

    assert [(f.rule.code, f.where.line) for f in report.findings] == [("PS334", 3)]
