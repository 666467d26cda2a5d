"""The way of a metric through a cluster: taken by Prometheus, served by an API."""

from __future__ import annotations

import pytest

from operate.doctor.faults import LIVE, Fault, assert_found_alone, codes, examined

METRICS_API = [fault for fault in LIVE if "PS247" <= fault.rule <= "PS249"]


@pytest.mark.parametrize("fault", METRICS_API, ids=lambda fault: fault.name)
def test_each_fault_is_found_alone_and_at_its_line(fault: Fault) -> None:
    assert_found_alone(fault)


def test_a_list_of_apis_that_is_not_whole_proves_nothing() -> None:
    text = METRICS_API[0].text.replace("name: v1.apps", "name: v1.batch")

    assert codes(examined(text, "cluster.yaml")) == []


def test_an_api_that_is_served_is_no_finding() -> None:
    text = METRICS_API[0].text
    served = (
        text[text.index("  - {apiVersion: apiregistration") :]
        .replace("v1.apps", "v1.c")
        .replace("group: apps", "group: custom.metrics.k8s.io")
    )

    assert codes(examined(text + served, "cluster.yaml")) == []


def test_a_monitor_is_taken_by_its_labels_and_its_namespaces() -> None:
    text = METRICS_API[2].text.replace("release: other", "release: prom")

    assert codes(examined(text, "cluster.yaml")) == ["PS117"]


@pytest.mark.parametrize(("team", "found"), [("ml", ["PS117"]), ("web", ["PS117", "PS249"])])
def test_namespaces_are_chosen_by_their_labels(team: str, found: list[str]) -> None:
    text = (
        METRICS_API[2]
        .text.replace("release: other", "release: prom")
        .replace("podMonitorNamespaceSelector: {}", "podMonitorNamespaceSelector: {matchLabels: {team: ml}}")
    )
    space = f"  - {{apiVersion: v1, kind: Namespace, metadata: {{name: llm, labels: {{team: {team}}}}}}}\n"

    assert sorted(codes(examined(text + space, "cluster.yaml"))) == found
