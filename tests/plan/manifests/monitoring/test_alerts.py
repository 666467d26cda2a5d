"""All alerts together: none is there twice, every one has a page."""

from __future__ import annotations

from penstock.plan.manifests.monitoring.alerts import PAGES, alerts
from penstock.plan.manifests.monitoring.queues import wait_alerts
from penstock.plan.manifests.monitoring.replicas import replica_alerts
from plan.manifests.monitoring.worlds import FLEET, healthy, site
from plan.manifests.promtool import assert_firing, needs_promtool
from plan.manifests.sites import DATABASE, site_from

SITE = site()
CONTROLLED = "  kubernetes: {controller: true}\n"


def test_every_alert_has_one_page_and_every_page_an_alert() -> None:
    names = [page.name for page in PAGES]
    assert len(set(names)) == len(names)
    stored = site_from(FLEET + DATABASE + "    limits: {url: 'redis://redis.example:6379/0'}\n", namespace="llm")
    told = {alert.page.name for group in alerts(stored).values() for alert in group}
    told |= {alert.page.name for alert in replica_alerts(stored, stored.needs["chat"])}
    told |= {alert.page.name for alert in wait_alerts(stored, stored.fleet.spec.models[0])}
    forecast = site(FLEET.replace("autoscaling: {", "autoscaling: {via: penstock, ") + CONTROLLED)
    told |= {alert.page.name for alert in replica_alerts(forecast, forecast.needs["chat"])}
    assert told == set(names)


def test_only_what_hurts_users_wakes_somebody() -> None:
    critical = {a.page.name for group in alerts(SITE).values() for a in group if a.severity == "critical"}

    assert critical == {
        "PenstockEngineStalled",
        "PenstockErrorBudgetBurn",
        "PenstockGatewayDown",
        "PenstockModelDown",
        "PenstockTtftBudgetBurn",
    }


@needs_promtool
def test_a_healthy_fleet_fires_nothing_at_all() -> None:
    assert_firing(SITE, healthy(), set(), at="100m")


@needs_promtool
def test_where_nothing_is_scraped_that_is_what_is_told() -> None:
    assert_firing(SITE, {"somebody_elses": "1x120"}, {"PenstockGatewayDown", "PenstockScalerBlind"}, at="60m")
