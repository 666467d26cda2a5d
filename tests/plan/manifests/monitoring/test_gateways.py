"""Alerts on the gateway: what fires, and what does not."""

from __future__ import annotations

import pytest

from penstock.plan.manifests.monitoring.gateways import PAGES, gateway_alerts
from penstock.serve.io.metrics import MetricsPage
from penstock.serve.platform import StoreState
from penstock.serve.routing.endpoints import EndpointTable
from penstock.serve.telemetry import Telemetry
from plan.manifests.monitoring.worlds import FLEET, World, gateway, healthy, requests, site, steady
from plan.manifests.promtool import assert_firing, needs_promtool
from plan.manifests.sites import DATABASE, site_from

SITE = site()
STORED = site_from(FLEET + DATABASE, namespace="llm")
HERE = 'namespace="llm",fleet="demo",component="gateway"'
SECOND = "demo-gateway-2"


def endpoint(failures: str) -> World:
    labels = (
        'namespace="llm",fleet="demo",component="gateway",pod="demo-gateway-1",model="chat",endpoint="10.0.0.7:8000"'
    )
    return {f"penstock_endpoint_failures_total{{{labels}}}": failures}


def failures(reason: str, values: str) -> World:
    return requests({}, reasons={reason: values})


@needs_promtool
@pytest.mark.parametrize(
    ("world", "fires"),
    [
        pytest.param({}, "", id="all is well"),
        pytest.param(gateway(up="1x30 0x90"), "PenstockGatewayDown", id="the only one is down"),
        pytest.param(gateway(up="1x30 stale"), "PenstockGatewayDown", id="the only one is gone"),
        pytest.param(gateway(SECOND, up=steady(0)), "", id="one of two is down"),
        pytest.param(
            gateway(SECOND, process_start_time_seconds="1x20 2x20 3x80"),
            "PenstockGatewayRestarts",
            id="restarted twice",
        ),
        pytest.param(gateway(SECOND, process_start_time_seconds="1x20 2x100"), "", id="restarted once"),
        pytest.param(failures("internal_error", "0x50 4x70"), "PenstockGatewayFaults", id="four faults of its own"),
        pytest.param(failures("internal_error", "0x50 1x70"), "", id="one"),
        pytest.param(failures("internal_error", "0x20 9x100"), "", id="nine half an hour ago"),
        pytest.param(failures("overloaded", "0x57 40x70"), "PenstockGatewayFull", id="it turns requests away"),
        pytest.param(failures("overloaded", "0x57 3x70"), "", id="three of them"),
        pytest.param(gateway(penstock_event_loop_lag_seconds=steady(0.3)), "PenstockGatewaySlow", id="late by 0.3 s"),
        pytest.param(gateway(penstock_event_loop_lag_seconds="0.001x58 2x60"), "", id="late once"),
        pytest.param(gateway(penstock_log_lines_dropped_total="0x55 5x60"), "PenstockLogLinesLost", id="lines lost"),
        pytest.param(endpoint("0x40 0+2x80"), "PenstockEndpointFailing", id="an endpoint fails again and again"),
        pytest.param(endpoint("0x55 3x80"), "", id="an endpoint failed three times"),
    ],
)
def test_a_gateways_trouble_is_told(world: World, fires: str) -> None:
    assert_firing(SITE, healthy() | world, {fires} - {""}, at="60m", only="gateway")


@needs_promtool
@pytest.mark.parametrize(
    ("connected", "fires"),
    [
        pytest.param(steady(1), "", id="it is read"),
        pytest.param("1x50 0x70", "PenstockStoreAway", id="away for ten minutes"),
        pytest.param("1x56 0x70", "", id="away for three"),
        pytest.param("0x50 1x70", "", id="back again"),
    ],
)
def test_a_store_that_is_away_is_told_once_it_has_lasted(connected: str, fires: str) -> None:
    world = gateway(SECOND) | {f'penstock_store_connected{{{HERE},pod="{SECOND}"}}': connected}
    world |= {f'penstock_store_connected{{{HERE},pod="demo-gateway-1"}}': steady(1)}
    assert_firing(STORED, healthy() | world, {fires} - {""}, at="60m", only="gateway")


def test_what_the_store_s_alert_asks_is_what_the_gateway_says() -> None:
    state = StoreState(kind="postgresql", where="db.example")
    page = MetricsPage(
        Telemetry({}, "demo", "1", 0.0), EndpointTable(), now=lambda: 0.0, connections=lambda: 0, store=lambda: state
    ).render()

    assert b"\npenstock_store_connected 0.0\n" in page


def test_every_page_has_an_alert_and_the_store_s_is_there_with_a_store_alone() -> None:
    names = {page.name for page in PAGES}

    assert {alert.page.name for alert in gateway_alerts(STORED)} == names
    assert {alert.page.name for alert in gateway_alerts(SITE)} == names - {"PenstockStoreAway"}
