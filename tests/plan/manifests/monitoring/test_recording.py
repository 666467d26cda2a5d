"""Recorded series: what they say of known counts, and that what is asked for exists."""

from __future__ import annotations

import pytest

from penstock.plan.manifests.monitoring.recording import (
    model_records,
    models_of,
    records,
    sleepers,
    slow_share,
    window_name,
)
from penstock.serve.io import metrics
from plan.manifests.monitoring.worlds import FLEET, World, engine, gateway, healthy, requests, rising, site, steady
from plan.manifests.promtool import Sample, assert_answers, needs_promtool, recorded_with
from plan.manifests.sites import OPEN, site_from

SITE = site()
CHAT = {"namespace": "llm", "fleet": "demo", "model": "chat"}


def one(name: str, value: float, **labels: str) -> list[Sample]:
    return [Sample(value, CHAT | labels, name)]


def histogram(counts: dict[str, float]) -> World:
    return requests({}, ttft={bound: rising(count) for bound, count in counts.items()})


@needs_promtool
def test_loads_are_sums_over_replicas_and_saturation_is_over_what_they_are_meant_to_have() -> None:
    world = (
        healthy() | engine("demo-chat-7c9-fghij", num_requests_waiting=steady(5)) | gateway(chat_in_flight=steady(30))
    )
    chat = '{model="chat"}'
    target = 50  # of one replica: the plan's 56 over 1.1
    recorded_with(
        SITE,
        world,
        {
            f"penstock:engine_running:sum{chat}": one("penstock:engine_running:sum", 16),
            f"penstock:engine_waiting:sum{chat}": one("penstock:engine_waiting:sum", 5),
            f"penstock:in_flight:max{chat}": one("penstock:in_flight:max", 30),
            f"penstock:engines_up:count{chat}": one("penstock:engines_up:count", 2),
            f"penstock:replica_target:requests{chat}": one("penstock:replica_target:requests", target),
            f"penstock:saturation:ratio{chat}": one("penstock:saturation:ratio", 30 / (2 * target)),
            f"round(penstock:output_tokens:rate5m{chat}, 0.01)": [Sample(50, CHAT)],  # 2 engines, 1500 a minute
        },
        at="30m",
    )


@needs_promtool
def test_engines_tell_of_load_that_goes_past_the_gateway_and_the_gateway_of_what_waits_in_it() -> None:
    without_gateway = {k: v for k, v in healthy().items() if "in_flight" not in k}
    without_engines = {k: v for k, v in healthy().items() if "num_requests" not in k}
    query = 'penstock:in_flight:max{model="chat"}'

    recorded_with(SITE, without_gateway, {query: one("penstock:in_flight:max", 8)}, at="30m")
    recorded_with(SITE, without_engines, {query: one("penstock:in_flight:max", 8)}, at="30m")


@needs_promtool
def test_shares_are_absent_where_nobody_asked() -> None:
    quiet = healthy() | requests(
        {"ok": steady(9), "upstream_error": steady(1)}, ttft={"0.4": steady(4), "0.5": steady(9), "count": steady(9)}
    )
    names = ("errors:ratio_rate5m", "errors:ratio_rate1h", "ttft_slow:ratio_rate5m", "objective_met:ratio_rate5m")
    absent: dict[str, list[Sample]] = {f'penstock:{name}{{model="chat"}}': [] for name in names}

    recorded_with(SITE, quiet, absent | {'penstock:ttft_seconds:p95_5m{model="chat"}': []}, at="90m")


@needs_promtool
def test_goodput_is_what_ended_well_and_in_time() -> None:
    late = {"0.4": rising(20), "0.5": rising(30), "count": rising(40)}
    world = healthy() | requests({"ok": rising(60), "upstream_error": rising(20)}, ttft=late)

    recorded_with(
        SITE,
        world,
        {
            'round(penstock:errors:ratio_rate5m{model="chat"}, 0.0001)': [Sample(0.25, CHAT)],
            'round(penstock:ttft_slow:ratio_rate5m{model="chat"}, 0.0001)': [Sample(0.25, CHAT)],
            'round(penstock:objective_met:ratio_rate5m{model="chat"}, 0.0001)': [
                Sample(0.75, CHAT | {"objective": "ttft"})
            ],
            'round(penstock:goodput:rate5m{model="chat"}, 0.0001)': [Sample(0.75, CHAT)],  # 1/s ok, 75 % in time
        },
        at="30m",
    )


@needs_promtool
def test_refusals_that_wake_a_model_are_not_charged_to_it() -> None:
    """Of 40 failures a minute 30 are `no_endpoint`: 10 of 100 requests are charged to one that sleeps, 40 to `chat`."""
    outcomes = {"ok": rising(60), "upstream_error": rising(40)}
    both = {
        name: text
        for model in ("nap", "chat")
        for name, text in requests(outcomes, model, reasons={"no_endpoint": rising(30)}).items()
    }

    answers = [Sample(0.4, CHAT), Sample(0.1, CHAT | {"model": "nap"})]
    recorded_with(SITE, both, {"round(penstock:errors:ratio_rate5m, 0.0001)": answers}, at="30m")


@needs_promtool
@pytest.mark.parametrize(
    ("objective_s", "counts", "late"),
    [
        pytest.param(0.5, {"0.5": 90, "count": 100}, 0.1, id="on a bound"),
        pytest.param(0.3, {"0.25": 35, "0.315": 100, "count": 100}, 0.15, id="50 of 65 ms between two"),
        pytest.param(1.0, {"1": 80, "count": 100}, 0.2, id="a whole second as one Prometheus keeps it"),
        pytest.param(1.0, {"1.0": 80, "count": 100}, 0.2, id="and as another does"),
        pytest.param(0.0005, {"0.001": 40, "count": 100}, 0.6, id="under all bounds"),
        pytest.param(900, {"+Inf": 100, "count": 100}, 0.0, id="over all bounds"),
    ],
)
def test_the_share_that_was_late_is_read_between_two_bounds(
    objective_s: float, counts: dict[str, float], late: float
) -> None:
    query = slow_share(SITE, "chat", "penstock_ttft_seconds", objective_s, "5m")

    assert_answers(f"round({query}, 0.01)", histogram(counts), [Sample(late, CHAT)], at="30m", step="1m")


def test_the_bounds_are_the_gateways() -> None:
    from penstock.plan.manifests.monitoring import recording

    assert [round(b * 1000, 3) for b in recording._LATENCY_BOUNDS_S] == list(metrics._LATENCY_BOUNDS_MS)
    assert [round(b * 1000, 3) for b in recording._TPOT_BOUNDS_S] == list(metrics._TPOT_BOUNDS_MS)


def test_models_that_run_elsewhere_are_watched_and_not_scaled() -> None:
    elsewhere = "    - {name: far, endpoints: ['http://10.0.0.1:8000'], objectives: {ttftMs: 500}}\n"
    found = site_from(FLEET + elsewhere + OPEN)

    assert [model.name for model in models_of(found)] == ["chat", "nap", "far"]
    named = {record.labels.get("model") for record in records(found)["load"]}
    assert "far" not in named
    (far,) = (model for model in models_of(found) if model.name == "far")
    assert {record.labels.get("model") for record in model_records(found, far)} == {"far"}


def test_only_models_without_any_replica_sleep() -> None:
    floor = FLEET.replace(
        "minReplicas: 0, maxReplicas: 2}",
        "minReplicas: 0, maxReplicas: 2}\n      scheduling: {spot: allowed, onDemandReplicas: 1}",
    )

    assert sleepers(SITE) == ["nap"]
    assert sleepers(site(floor)) == []


def test_windows_grow_with_the_scrape_interval() -> None:
    rare = site(FLEET.replace("monitoring: {}", "monitoring: {intervalS: 120}"))

    assert window_name(SITE, 300) == "5m"
    assert window_name(rare, 300) == "8m"
    assert "penstock:errors:ratio_rate8m" in {record.name for record in records(rare)["objectives"]}
