"""PrometheusRules: recorded series and alerts. Pure.

One object of each, however many models: the Prometheus operator writes all into one file anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from penstock.plan.manifests.manifest import Manifest, Wave
from penstock.plan.manifests.monitoring.alerts import alerts
from penstock.plan.manifests.monitoring.monitors import monitor_metadata
from penstock.plan.manifests.monitoring.recording import records
from penstock.plan.manifests.names import dns_name
from penstock.plan.manifests.signals import duration, monitoring_of
from penstock.plan.manifests.site import Site

__all__ = ["rules"]

_FILE = "monitoring/rules"
_SLOW_GROUPS = {"objectives"}
_SLOW_S = 60
"""Windows of days need not be reckoned each 15 s."""


def rules(site: Site) -> Iterator[Manifest]:
    """The recorded series, then the alerts that need them."""
    recorded = [
        {
            "name": f"penstock-{site.name}-{name}",
            "interval": duration(max(_SLOW_S if name in _SLOW_GROUPS else 0, monitoring_of(site).interval_s)),
            "rules": [record.body for record in group],
        }
        for name, group in records(site).items()
    ]
    yield _rule(site, "recorded", recorded, "Series that the alerts and the dashboards share.")
    url = monitoring_of(site).runbook_url
    told = [
        {"name": f"penstock-{site.name}-{name}-alerts", "rules": [alert.body(url) for alert in group]}
        for name, group in alerts(site).items()
    ]
    yield _rule(site, "alerts", told, "What a person is told of, each with a page that says what to do first.")


def _rule(site: Site, name: str, groups: list[dict[str, Any]], heading: str) -> Manifest:
    return Manifest(
        body={
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": monitor_metadata(site, dns_name(site.name, name)),
            "spec": {"groups": groups},
        },
        wave=Wave.OPEN,
        file=_FILE,
        heading=heading,
    )
