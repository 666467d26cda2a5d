"""What watches a fleet: monitors, recorded series, alerts with their runbooks, dashboards. Pure.

Monitors are there as soon as something needs what they bring: `spec.monitoring`, or a model that scales by Prometheus.
"""

from __future__ import annotations

from collections.abc import Iterator

from penstock.plan.manifests.manifest import Manifest
from penstock.plan.manifests.monitoring.dashboards import dashboards
from penstock.plan.manifests.monitoring.monitors import monitors
from penstock.plan.manifests.monitoring.rules import rules
from penstock.plan.manifests.site import Site

__all__ = ["monitoring"]


def monitoring(site: Site) -> Iterator[Manifest]:
    """Everything that watches the fleet in one cluster."""
    spec = site.fleet.spec.monitoring
    if spec is not None or any(needs.spec.autoscaling is not None for needs in site.needs.values()):
        yield from monitors(site)
    if spec is None:
        return
    if spec.alerts:
        yield from rules(site)
    if spec.dashboards:
        yield from dashboards(site)
