"""All alerts of a fleet, and their runbook pages' sources. Pure."""

from __future__ import annotations

from penstock.plan.manifests.monitoring import (
    endpoints,
    engines,
    gateways,
    gpus,
    promises,
    queues,
    replicas,
    shared,
)
from penstock.plan.manifests.monitoring.rule import Alert, Page
from penstock.plan.manifests.signals import monitoring_of
from penstock.plan.manifests.site import Site

__all__ = ["PAGES", "alerts"]

PAGES: tuple[Page, ...] = (
    *promises.PAGES,
    *gateways.PAGES,
    *queues.PAGES,
    *endpoints.PAGES,
    *shared.PAGES,
    *engines.PAGES,
    *replicas.PAGES,
    *gpus.PAGES,
)
"""Every alert that any fleet may have."""


def alerts(site: Site) -> dict[str, list[Alert]]:
    """Alerts on all models together, by group; those on one model are `wait_alerts` and
    `replica_alerts`."""
    groups = {
        "promises": list(promises.promise_alerts(site)),
        "gateway": list(gateways.gateway_alerts(site)),
        "flow": [*queues.queue_alerts(site), *endpoints.endpoint_alerts(site), *shared.shared_alerts(site)],
        "engines": list(engines.engine_alerts(site)),
    }
    if monitoring_of(site).gpu_metrics:
        groups["gpus"] = list(gpus.gpu_alerts(site))
    return {name: rules for name, rules in groups.items() if rules}
