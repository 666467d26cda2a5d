"""Alerts on shared limits and the ledger: what fires, and what does not."""

from __future__ import annotations

import pytest

from penstock.plan.manifests.monitoring.shared import PAGES, shared_alerts
from plan.manifests.monitoring.worlds import FLEET, World, gateway, healthy, site, steady
from plan.manifests.promtool import assert_firing, needs_promtool
from plan.manifests.sites import OPEN, site_from

SITE = site()
SHARED = site_from(
    FLEET + OPEN.replace("auth:", "limits: {url: 'redis://redis.example:6379/0'}, auth:"), namespace="llm"
)
SECOND = "demo-gateway-2"


def second(**values: str) -> World:
    return gateway(SECOND, **values)


@needs_promtool
@pytest.mark.parametrize(
    ("world", "fires"),
    [
        pytest.param(second(), "", id="all is there"),
        pytest.param(second(penstock_limits_connected="1x50 0x70"), "PenstockLimitsAway", id="Redis away for long"),
        pytest.param(second(penstock_limits_connected="1x56 0x70"), "", id="Redis away for three"),
        pytest.param(second(penstock_limits_connected="0x50 1x70"), "", id="Redis back again"),
        pytest.param(
            second(penstock_ledger_silence_seconds="0x30 0+60x90"), "PenstockLedgerBehind", id="no use for half an hour"
        ),
        pytest.param(second(penstock_ledger_silence_seconds="0x50 0+60x70"), "", id="for ten minutes"),
        pytest.param(
            second(penstock_ledger_journal_failed="0x50 1x70"), "PenstockLedgerInMemory", id="the journal is in memory"
        ),
        pytest.param(second(penstock_ledger_journal_failed="0x20 1x10 0x90"), "", id="on disk again"),
        pytest.param(second(penstock_ledger_dropped_total="0x50 3x70"), "PenstockUseLost", id="use is dropped"),
        pytest.param(second(penstock_ledger_dropped_total=steady(3)), "", id="dropped long ago"),
    ],
)
def test_what_gateways_share_is_told_of_when_it_is_away(world: World, fires: str) -> None:
    assert_firing(SHARED, healthy() | world, {fires} - {""}, at="60m", only="flow")


def test_every_page_has_an_alert_and_that_of_redis_is_there_with_redis_alone() -> None:
    names = {page.name for page in PAGES}

    assert {alert.page.name for alert in shared_alerts(SHARED)} == names
    assert {alert.page.name for alert in shared_alerts(SITE)} == names - {"PenstockLimitsAway"}
