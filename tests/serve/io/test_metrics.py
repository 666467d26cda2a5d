"""The gateway's own metrics: valid Prometheus text, names with units, counts that are telemetry's."""

from __future__ import annotations

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from penstock.serve.histogram import BOUNDS_MS
from penstock.serve.io import metrics
from penstock.serve.io.metrics import MetricsPage
from penstock.serve.platform import DiscoveryState, ModelProfile, PlatformModel, StoreState
from penstock.serve.record import RequestRecord
from penstock.serve.routing.endpoints import EndpointAddress, EndpointTable, EngineSample
from penstock.serve.telemetry import Telemetry


@pytest.fixture
def page() -> MetricsPage:
    telemetry = Telemetry({"chat": ModelProfile()}, 'fleet "one"', "1.2.3", 0.0)
    table = EndpointTable()
    table.set_pool("chat", [EndpointAddress(id=f"chat-{i}", host="127.0.0.1", port=9000 + i) for i in range(2)])
    table.observe("chat-0", EngineSample(at=99.0, running=2, waiting=1, kv_usage=0.25))
    telemetry.platform = {"chat": PlatformModel(replicas_desired=3)}
    telemetry.log_lines_dropped = 4
    good = RequestRecord(
        model="chat",
        tenant="acme",
        is_stream=True,
        ttft_ms=100.0,
        total_ms=600.0,
        prompt_tokens=10,
        cached_tokens=4,
        output_tokens=11,
        retries=2,
        hedged="second",
    )
    bad = RequestRecord(model="chat", tenant="acme", outcome="timeout", reason="first_byte", total_ms=30_000.0)
    for record in (good, bad, RequestRecord(outcome="client_error", reason="bad_key")):
        telemetry.begin(record.model, 0.0)
        telemetry.end(record, 0.0)
    telemetry.begin("chat", 0.0)
    return MetricsPage(telemetry, table, now=lambda: 100.0, connections=lambda: 7)


def samples(page: MetricsPage) -> dict[str, float]:
    """Value by `name{labels}`, labels in the order of their names."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(page.render().decode()):
        for sample in family.samples:
            labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def test_requests_tokens_and_failures_are_counted_by_their_labels(page: MetricsPage) -> None:
    found = samples(page)
    by = "class=interactive,model=chat,outcome={},tenant=acme"
    assert found[f"penstock_requests_total{{{by.format('ok')}}}"] == 1
    assert found[f"penstock_requests_total{{{by.format('timeout')}}}"] == 1
    assert found[f"penstock_requests_total{{{by.format('shed')}}}"] == 0
    assert found["penstock_requests_total{class=interactive,model=,outcome=client_error,tenant=}"] == 1
    assert found["penstock_request_failures_total{model=chat,outcome=timeout,reason=first_byte}"] == 1
    assert found["penstock_prompt_tokens_total{model=chat,tenant=acme}"] == 10
    assert found["penstock_cached_tokens_total{model=chat,tenant=acme}"] == 4
    assert found["penstock_output_tokens_total{model=chat,tenant=acme}"] == 11
    assert found["penstock_retries_total{model=chat}"] == 2
    assert found["penstock_in_flight_requests{model=chat}"] == 1


def test_requests_that_were_sent_twice_are_counted_by_who_answered(page: MetricsPage) -> None:
    found = samples(page)
    assert found["penstock_hedges_total{model=chat,won=second}"] == 1
    assert found["penstock_hedges_total{model=chat,won=first}"] == 0


def test_latencies_are_histograms_in_seconds(page: MetricsPage) -> None:
    found = samples(page)
    assert found["penstock_ttft_seconds_count{model=chat}"] == 1
    assert found["penstock_ttft_seconds_sum{model=chat}"] == pytest.approx(0.1)
    assert found["penstock_ttft_seconds_bucket{le=0.1,model=chat}"] == 1
    assert found["penstock_ttft_seconds_bucket{le=0.08,model=chat}"] == 0
    assert found["penstock_request_duration_seconds_count{model=chat}"] == 2
    assert found["penstock_request_duration_seconds_bucket{le=+Inf,model=chat}"] == 2
    assert found["penstock_time_per_output_token_seconds_sum{model=chat}"] == pytest.approx(0.05)


def test_time_in_the_queue_is_a_histogram_for_each_class() -> None:
    telemetry = Telemetry({"chat": ModelProfile()}, "demo", "1", 0.0)
    for traffic_class, queue_ms in (("interactive", 0.0), ("interactive", 300.0), ("batch", 30_000.0)):
        telemetry.begin("chat", 0.0)
        telemetry.end(RequestRecord(model="chat", traffic_class=traffic_class, queue_ms=queue_ms), 0.0)
    found = samples(MetricsPage(telemetry, EndpointTable(), now=lambda: 0.0, connections=lambda: 0))
    name, labels = "penstock_queue_wait_seconds", "class={},model=chat"
    assert found[f"{name}_count{{{labels.format('interactive')}}}"] == 1
    assert found[f"{name}_sum{{{labels.format('interactive')}}}"] == pytest.approx(0.3)
    assert found[f"{name}_bucket{{class=interactive,le=0.25,model=chat}}"] == 0
    assert found[f"{name}_bucket{{class=interactive,le=0.4,model=chat}}"] == 1
    assert found[f"{name}_bucket{{class=batch,le=40,model=chat}}"] == 1
    assert found[f"{name}_count{{{labels.format('experimental')}}}"] == 0


def test_endpoints_and_replicas_are_shown_as_they_are(page: MetricsPage) -> None:
    found = samples(page)
    assert found["penstock_endpoint_running_requests{endpoint=chat-0,model=chat}"] == 2
    assert found["penstock_endpoint_kv_usage_ratio{endpoint=chat-0,model=chat}"] == 0.25
    assert found["penstock_endpoint_health{endpoint=chat-0,health=ready,model=chat}"] == 1
    assert found["penstock_endpoint_health{endpoint=chat-1,health=ready,model=chat}"] == 0
    assert "penstock_endpoint_running_requests{endpoint=chat-1,model=chat}" not in found
    assert found["penstock_replicas_desired{model=chat}"] == 3
    assert found["penstock_replicas_ready{model=chat}"] == 1


def test_the_gateway_says_how_it_is_itself(page: MetricsPage) -> None:
    found = samples(page)
    assert found["penstock_connections{}"] == 7
    assert found["penstock_log_lines_dropped_total{}"] == 4
    assert found['penstock_build_info{fleet=fleet "one",version=1.2.3}'] == 1
    assert found["process_resident_memory_bytes{}"] > 0


def test_every_family_has_help_and_a_name_of_ours(page: MetricsPage) -> None:
    for family in text_string_to_metric_families(page.render().decode()):
        assert re.match(r"(penstock|process)_[a-z_]+$", family.name)
        assert family.documentation


def test_exported_buckets_are_bounds_that_are_counted() -> None:
    for bounds in (metrics._LATENCY_BOUNDS_MS, metrics._TPOT_BOUNDS_MS, metrics._WAIT_BOUNDS_MS):
        assert list(bounds) == sorted(bounds)
        assert set(bounds) <= set(BOUNDS_MS)


def test_without_a_cluster_nothing_is_said_of_discovery(page: MetricsPage) -> None:
    assert "discovery" not in page.render().decode()


def test_how_well_endpoints_are_known_is_shown() -> None:
    state = DiscoveryState(
        source="kubernetes", is_synced=True, heard_at=60.0, events_total=5, lists_total=2, failures_total=3
    )
    telemetry = Telemetry({}, "demo", "1", 0.0)
    page = MetricsPage(telemetry, EndpointTable(), now=lambda: 100.0, connections=lambda: 0, discovery=lambda: state)
    shown = samples(page)

    assert shown["penstock_discovery_connected{}"] == 0
    assert shown["penstock_discovery_silence_seconds{}"] == 40
    counts = [shown[f"penstock_discovery_{name}_total{{}}"] for name in ("events", "lists", "failures")]
    assert counts == [5, 2, 3]


def test_without_a_store_nothing_is_said_of_one(page: MetricsPage) -> None:
    assert "penstock_store" not in page.render().decode()


def test_how_well_keys_are_known_is_shown() -> None:
    state = StoreState(kind="sqlite", where="keys.db", read_at=60.0, keys=7, changes_total=5, failures_total=3)
    telemetry = Telemetry({}, "demo", "1", 0.0)
    page = MetricsPage(telemetry, EndpointTable(), now=lambda: 100.0, connections=lambda: 0, store=lambda: state)
    shown = samples(page)

    gauges = [shown[f"penstock_store_{name}{{}}"] for name in ("connected", "silence_seconds", "keys")]
    assert gauges == [0, 40, 7]
    assert [shown[f"penstock_store_{name}_total{{}}"] for name in ("changes", "failures")] == [5, 3]
    assert shown["penstock_store_snapshot_failed{}"] == 0
