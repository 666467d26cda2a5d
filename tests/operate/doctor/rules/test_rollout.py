# ruff: noqa: E501 — manifests in one text
"""Updates, drains, evictions."""

from __future__ import annotations

import pytest

from operate.doctor.faults import ROLLOUT, Fault, assert_found_alone, codes, examined, read


@pytest.mark.parametrize("fault", ROLLOUT, ids=lambda fault: fault.name)
def test_each_fault_is_found_alone_and_at_its_line(fault: Fault) -> None:
    assert_found_alone(fault)


def test_a_budget_for_two_replicas_may_keep_one() -> None:
    budget = "---\napiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: b, namespace: small}\nspec:\n"
    budget += (
        "  minAvailable: 1\n  unhealthyPodEvictionPolicy: AlwaysAllow\n  selector: {matchLabels: {app: llama-8b}}\n"
    )
    text = read("small.yaml") + budget

    assert codes(examined(text, "small.yaml")) == []
    assert codes(examined(text.replace("replicas: 2\n", "replicas: 1\n", 1), "small.yaml")) == ["PS025"]


def test_a_hook_that_waits_for_the_requests_drains_too() -> None:
    wait = "              exec: {command: [sh, -c, \"until curl -s :8000/metrics | grep -q 'vllm:num_requests_running{.*} 0.0'; do sleep 1; done\"]}"
    text = (
        read("small.yaml")
        .replace(', "--shutdown-timeout", "10"', "")
        .replace('              exec: {command: ["sleep", "10"]}', wait)
    )

    assert codes(examined(text, "small.yaml")) == []


def test_a_config_map_with_a_hashed_name_is_seen() -> None:
    text = read("stack.yaml").replace("        checksum/config: 5b1f4b3a\n", "        a: b\n")

    assert codes(examined(text.replace("llama-70b-settings", "settings-7k9f2hd84m"), "stack.yaml")) == []
