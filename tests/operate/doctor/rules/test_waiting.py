"""Pods that do not start: each reason is told as what it is."""

from __future__ import annotations

import pytest

from operate.doctor.faults import LIVE, Fault, assert_found_alone, codes, examined
from penstock.operate.doctor import Evidence, check, resource_of

WAITING = [fault for fault in LIVE if "PS241" <= fault.rule <= "PS246"]


@pytest.mark.parametrize("fault", WAITING, ids=lambda fault: fault.name)
def test_each_fault_is_found_alone_and_at_its_line(fault: Fault) -> None:
    assert_found_alone(fault)


def test_where_gpus_lack_too_only_they_are_told() -> None:
    text = WAITING[0].text.replace("3 Insufficient memory", "1 Insufficient memory, 2 Insufficient nvidia.com/gpu")

    assert codes(examined(text, "cluster.yaml")) == ["PS203"]


def test_a_driver_that_is_too_old_is_named_with_its_fix() -> None:
    fault = next(fault for fault in WAITING if "unsatisfied condition" in fault.new)

    (finding,) = examined(fault.text, fault.fixture).findings

    assert "driver is too old" in finding.message
    assert "580" in finding.fix


def test_a_secret_that_was_asked_for_and_is_not_there_is_told_once_at_the_workload() -> None:
    env = {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}}
    container = {"name": "c", "image": "a/b:1.0", "env": [env]}
    spec = {"template": {"spec": {"containers": [container, {**container, "name": "d"}]}}}
    found = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x", "namespace": "llm"}, "spec": spec}
    absent = frozenset({("Secret", "llm", "hf")})

    report = check(Evidence(resources=(resource_of(found),), absent=absent))
    there = check(Evidence(resources=(resource_of(found),), absent=frozenset({("Secret", "other", "hf")})))

    assert [f.message for f in report.findings] == ["Deployment x needs Secret hf, which is not there"]
    assert str(report.findings[0].where).startswith("llm/Deployment/x ")
    assert there.findings == ()
