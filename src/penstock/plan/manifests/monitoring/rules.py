"""PrometheusRules: recorded series and alerts. Pure.

One object for the fleet's recorded series, one for its alerts, and one for each model with what depends on the model:
the Prometheus operator takes no object over 512 KiB, and a hundred models in one would be over that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from penstock.plan.manifests.manifest import Manifest, Wave
from penstock.plan.manifests.monitoring.alerts import alerts
from penstock.plan.manifests.monitoring.monitors import monitor_metadata
from penstock.plan.manifests.monitoring.queues import wait_alerts
from penstock.plan.manifests.monitoring.recording import model_records, models_of, records
from penstock.plan.manifests.monitoring.replicas import replica_alerts
from penstock.plan.manifests.monitoring.rule import Alert, Record
from penstock.plan.manifests.names import dns_name
from penstock.plan.manifests.signals import duration, monitoring_of
from penstock.plan.manifests.site import Site
from penstock.spec import ModelSpec

__all__ = ["rules"]

_FILE = "monitoring/rules"
_SLOW_GROUPS = {"objectives"}
_SLOW_S = 60
"""Windows of days need not be reckoned each 15 s."""


def rules(site: Site) -> Iterator[Manifest]:
    """The recorded series, then the alerts that need them."""
    recorded = [_recorded(site, f"{site.name}-{name}", name, group) for name, group in records(site).items()]
    yield _rule(site, "recorded", recorded, "Series that the alerts share, and dashboards of your own may.")
    for model in models_of(site):
        yield _rule_of_model(site, model)
    told = [_told(site, f"{site.name}-{name}", group) for name, group in alerts(site).items()]
    yield _rule(site, "alerts", told, "What a person is told of, each with a page that says what to do first.")


def _rule_of_model(site: Site, model: ModelSpec) -> Manifest:
    name = site.names[model.name]
    groups = [_recorded(site, f"{name}-objectives", "objectives", model_records(site, model))]
    groups.append(_told(site, f"{name}-queue", list(wait_alerts(site, model))))
    if model.name in site.needs:
        groups.append(_told(site, f"{name}-replicas", list(replica_alerts(site, site.needs[model.name]))))
    metadata = monitor_metadata(site, name)
    heading = f"What depends on the objectives and replicas of {model.name}."
    return Manifest(body=_body(metadata, groups), wave=Wave.OPEN, file=f"{name}/rules", heading=heading)


def _recorded(site: Site, name: str, kind: str, group: list[Record]) -> dict[str, Any]:
    interval_s = max(_SLOW_S if kind in _SLOW_GROUPS else 0, monitoring_of(site).interval_s)
    return {"name": f"penstock-{name}", "interval": duration(interval_s), "rules": [record.body for record in group]}


def _told(site: Site, name: str, group: list[Alert]) -> dict[str, Any]:
    url = monitoring_of(site).runbook_url
    return {"name": f"penstock-{name}-alerts", "rules": [alert.body(url) for alert in group]}


def _rule(site: Site, name: str, groups: list[dict[str, Any]], heading: str) -> Manifest:
    metadata = monitor_metadata(site, dns_name(site.name, name))
    return Manifest(body=_body(metadata, groups), wave=Wave.OPEN, file=_FILE, heading=heading)


def _body(metadata: dict[str, object], groups: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": metadata,
        "spec": {"groups": groups},
    }
