"""Commands in scripts and pages."""

from __future__ import annotations

import pytest

from operate.doctor.faults import COMMANDS, Fault, assert_found_alone, codes, examined


@pytest.mark.parametrize("fault", COMMANDS, ids=lambda fault: fault.name)
def test_each_fault_is_found_alone_and_at_its_line(fault: Fault) -> None:
    assert_found_alone(fault)


def test_server_side_belongs_to_apply() -> None:
    assert codes(examined("kubectl apply --server-side -f a.yaml\n", "a.sh")) == []


def test_a_pod_s_own_flags_after_two_dashes_are_not_kubectl_s() -> None:
    assert codes(examined("kubectl run a --image=b:1 -- tool --limits=3\n", "a.sh")) == []


def test_a_command_over_several_lines_in_a_substitution_is_found() -> None:
    text = "N=$(kubectl get pods \\\n  -l app=x \\\n  --server-side=true | wc -l)\n"

    report = examined(text, "a.sh")

    assert [(f.rule.code, f.where.line, f.where.column) for f in report.findings] == [("PS001", 3, 3)]


@pytest.mark.parametrize(
    "line",
    [
        "watch -n2 kubectl get pods --server-side=true",
        "watch -n 2 'kubectl get pods --server-side=true'",
        "watch --interval=2 -d kubectl get pods --server-side",
        "timeout -k 5 30 kubectl get pods --server-side=true",
        "sudo -u ops kubectl get pods --server-side=true",
        "kubectl get ns -o name | xargs -n1 kubectl get --server-side=true pods -n",
    ],
)
def test_a_command_behind_another_program_is_read(line: str) -> None:
    assert codes(examined(f"#!/bin/sh\n{line}\n", "x.sh")) == ["PS001"]


@pytest.mark.parametrize("line", ["watch", "watch -n 2", "timeout 30", "xargs", "sudo -u", "env", "watch ''"])
def test_a_wrapper_around_nothing_is_no_command_of_ours(line: str) -> None:
    assert codes(examined(f"#!/bin/sh\n{line}\n", "x.sh")) == []
