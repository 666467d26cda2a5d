"""Ingress, mirrors, monitors and Services."""

from __future__ import annotations

import pytest

from operate.doctor.faults import NETWORK, Fault, assert_found_alone, codes, examined, read


@pytest.mark.parametrize("fault", NETWORK, ids=lambda fault: fault.name)
def test_each_fault_is_found_alone_and_at_its_line(fault: Fault) -> None:
    assert_found_alone(fault)


def test_a_monitor_is_not_judged_without_the_services() -> None:
    text = read("stack.yaml")
    start = text.index("apiVersion: monitoring.coreos.com/v1\nkind: ServiceMonitor")
    monitor = text[start : text.index("---", start)]

    assert codes(examined(monitor, "a.yaml")) == []


def test_another_ingress_class_is_nobody_s_business() -> None:
    text = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: a}\nspec: {ingressClassName: traefik}\n"

    assert codes(examined(text, "a.yaml")) == []
    assert codes(examined(text.replace("traefik", "nginx"), "a.yaml")) == ["PS042"]
