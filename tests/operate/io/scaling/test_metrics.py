"""The scaler's own metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from penstock.operate.io.scaling.metrics import ScalerCounts
from penstock.operate.scaling import Desk, GatewayAddress, Policy, Reading


def lines(registry: CollectorRegistry) -> list[str]:
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]


def test_decisions_are_shown_as_they_are_now_and_a_load_that_is_unknown_has_no_number() -> None:
    now = 0.0
    registry, desk = CollectorRegistry(), Desk("ai")
    ScalerCounts(registry, desk, lambda: now)
    desk.put("f", {"chat": Policy(model="chat", target=8.0)})
    both = [GatewayAddress(id=name, host="10.0.0.1", port=1, is_serving=True) for name in "ab"]
    desk.gateways("f").keep(both)
    desk.gateways("f").take("a", Reading(in_flight={"chat": 5.0}, asked={}), 0.0)
    desk.observe("f", 0.0)

    shown = lines(registry)
    now = 60.0
    later = lines(registry)

    assert 'penstock_scaler_present_requests{fleet="f",model="chat"} 10.0' in shown  # b counts as much as a
    assert 'penstock_scaler_known{fleet="f",model="chat"} 1.0' in shown
    assert 'penstock_scaler_gateways{fleet="f",state="silent"} 1.0' in shown
    assert 'penstock_scaler_known{fleet="f",model="chat"} 0.0' in later
    assert not any("present_requests" in line for line in later)


def test_a_fleet_that_is_gone_leaves_no_series() -> None:
    registry, desk = CollectorRegistry(), Desk("ai")
    counts = ScalerCounts(registry, desk, lambda: 0.0)
    desk.put("f", {"chat": Policy(model="chat", target=8.0)})
    counts.read("f", is_heard=True)
    counts.call("IsActive", "answered")

    desk.forget("f")
    counts.forget("f")

    assert not any('fleet="f"' in line for line in lines(registry))
    assert 'penstock_scaler_calls_total{method="IsActive",result="answered"} 1.0' in lines(registry)
