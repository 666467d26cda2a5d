"""Alerts on endpoints as gateways judge them: what fires, and what does not."""

from __future__ import annotations

import pytest

from penstock.plan.manifests.monitoring.endpoints import PAGES, endpoint_alerts
from plan.manifests.monitoring.worlds import World, gateway, healthy, site
from plan.manifests.promtool import assert_firing, needs_promtool

SITE = site()
FIRST, SECOND = "demo-gateway-1", "demo-gateway-2"


def was(endpoint: int, condition: str, when: str, *, pod: str = FIRST) -> World:
    """The endpoint's series of one condition."""
    labels = (
        f'namespace="llm",fleet="demo",component="gateway",pod="{pod}",model="chat",endpoint="10.0.0.{endpoint}:8000"'
    )
    return {f'penstock_endpoint_condition{{{labels},condition="{condition}"}}': when}


def out(endpoint: int, since_minute: int, *, pod: str = FIRST) -> World:
    """It is out from then on."""
    return was(endpoint, "well", f"1x{since_minute - 1} 0x120", pod=pod) | was(
        endpoint, "out", f"0x{since_minute - 1} 1x120", pod=pod
    )


@needs_promtool
@pytest.mark.parametrize(
    ("world", "fires"),
    [
        pytest.param({}, set(), id="all are well"),
        pytest.param(out(7, 40), {"PenstockEndpointOut"}, id="one of three for twenty minutes"),
        pytest.param(out(7, 50), set(), id="for ten"),
        pytest.param(
            was(7, "well", "0x120")
            | was(7, "out", " ".join(["1x3 0x1"] * 30))
            | was(7, "trial", " ".join(["0x3 1x1"] * 30)),
            {"PenstockEndpointOut"},
            id="tried now and then, in vain",
        ),
        pytest.param(was(7, "well", "0x120") | was(7, "slow", "1x120"), set(), id="slow is not out"),
        pytest.param(out(7, 56) | out(8, 56), {"PenstockPoolShrunk"}, id="two of three"),
        pytest.param(out(7, 59) | out(8, 59), set(), id="for a minute"),
        pytest.param(
            gateway(SECOND) | out(7, 40, pod=SECOND), {"PenstockEndpointOut"}, id="as one gateway of two sees it"
        ),
        pytest.param(
            gateway(SECOND) | out(7, 56) | out(8, 56, pod=SECOND), set(), id="each gateway finds another one out"
        ),
        pytest.param(gateway(penstock_retries_refused_total="0x50 0+5x70"), {"PenstockRetriesRefused"}, id="refused"),
        pytest.param(gateway(penstock_retries_refused_total="0x55 4x70"), set(), id="four refused"),
        pytest.param(gateway(penstock_retries_refused_total="0x20 90x90"), set(), id="half an hour ago"),
    ],
)
def test_endpoints_that_are_out_are_told_of(world: World, fires: set[str]) -> None:
    assert_firing(SITE, healthy() | world, fires, at="60m", only="flow")


def test_every_page_has_an_alert() -> None:
    assert {alert.page.name for alert in endpoint_alerts(SITE)} == {page.name for page in PAGES}
