"""The demand on a model, and the GPUs that a fleet may use."""

from __future__ import annotations

from penstock.spec import DemandSpec, FleetHardwareSpec
from penstock.spec.loader import load_fleet
from spec.fleets import fleet_text, the_problem


def test_nothing_is_asked_of_a_demand() -> None:
    demand = DemandSpec()

    assert (demand.requests_per_s, demand.trace, demand.cached_share) == (None, None, 0.0)


def test_a_trace_has_its_own_rate_and_lengths() -> None:
    problem = the_problem(fleet_text(model="demand: {trace: day.csv, inputTokens: 100}"))

    assert problem.field == "spec.models[0].demand.inputTokens"
    assert "contradicts `trace`" in problem.message


def test_a_trace_stands_beside_a_cached_share() -> None:
    fleet = load_fleet(fleet_text(model="demand: {trace: day.csv, cachedShare: 0.4}"), "f")

    assert fleet.spec.models[0].demand == DemandSpec(trace="day.csv", cached_share=0.4)


def test_a_price_is_above_zero() -> None:
    text = fleet_text().replace("spec:\n", "spec:\n  hardware: {gpus: [H100], usdPerGpuHour: {H100: 0}}\n")

    assert the_problem(text).field == "spec.hardware.usdPerGpuHour.H100"


def test_a_fleet_may_use_any_gpu_at_its_list_price() -> None:
    assert FleetHardwareSpec().gpus is None
    assert FleetHardwareSpec().usd_per_gpu_hour == {}
