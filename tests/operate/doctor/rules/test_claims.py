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


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("PS326", "Set minAvailable: 1 so that Kubernetes keeps one replica during updates."),
        ("PS326", "The PDB makes sure that voluntary evictions and rolling updates never take the last replica."),
        ("PS326", "Without a PDB a rolling upgrade can take all pods down."),
        ("PS333", "If tensor-parallel-size does not match the number of GPUs, the pod hangs forever."),
        ("PS333", "The TP size has to be the same as nvidia.com/gpu, or the engine gets stuck at start."),
        ("PS333", "TP must equal the GPU count; if it doesn't, vLLM hangs during NCCL initialisation."),
        ("PS333", "The pod never becomes ready and hangs when TP and GPUs differ."),
    ],
)
def test_a_claim_is_found_in_other_words_though_something_in_it_is_denied(code: str, sentence: str) -> None:
    assert codes(examined(f"# Page\n\n{sentence}\n", "page.md")) == [code]


@pytest.mark.parametrize(
    "sentence",
    [
        "A PDB governs evictions only; the strategy decides what a rolling update takes down.",
        "A PDB is for evictions, not for rolling updates.",
        "Rolling updates ignore PodDisruptionBudgets.",
        "More tensor parallelism than GPUs is an error, it does not hang.",
        "The pod does not hang when TP differs from the GPUs.",
    ],
)
def test_a_sentence_that_denies_what_the_claim_says_is_left_alone(sentence: str) -> None:
    assert codes(examined(f"# Page\n\n{sentence}\n", "page.md")) == []
