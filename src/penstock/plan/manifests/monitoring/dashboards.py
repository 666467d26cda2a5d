"""The Grafana dashboard, as a ConfigMap that Grafana's sidecar picks up. Pure, and the same text for the same file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from penstock.plan.manifests.manifest import Because, Manifest, Wave
from penstock.plan.manifests.monitoring.panels import GROUPS, Group, Panel
from penstock.plan.manifests.names import dns_name
from penstock.plan.manifests.signals import monitoring_of
from penstock.plan.manifests.site import Site

__all__ = ["dashboard", "dashboards"]

_SCHEMA = 41
"""Grafana 12's; a newer one brings it up to date by itself."""
_WIDTH, _HEIGHT, _PER_LINE = 8, 8, 3


def dashboards(site: Site) -> Iterator[Manifest]:
    """One dashboard for the whole fleet."""
    metadata = site.fleet_metadata(dns_name(site.name, "dashboard"))
    labels = metadata["labels"]
    found = Because({**labels, "grafana_dashboard": "1"}, "The label that Grafana's sidecar looks for.")  # type: ignore[dict-item]
    yield Manifest(
        body={
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {**metadata, "labels": found},
            "data": {f"{dns_name(site.name, 'overview')}.json": json.dumps(dashboard(site), indent=1) + "\n"},
        },
        wave=Wave.OPEN,
        file="monitoring/dashboard",
        heading="Grafana's sidecar must look into this namespace (`sidecar.dashboards.searchNamespace: ALL`).",
    )


def dashboard(site: Site) -> dict[str, Any]:
    """As Grafana has it."""
    groups = [group for group in GROUPS if monitoring_of(site).gpu_metrics or not group.needs_gpu_metrics]
    return {
        "uid": dns_name(site.namespace, site.name, "overview"),
        "title": f"Penstock: {site.name}",
        "description": "Requests, latencies, tokens, queues, GPUs, replicas and tenants of one fleet.",
        "tags": ["penstock"],
        "schemaVersion": _SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": _variables(site)},
        "annotations": {"list": []},
        "links": [],
        "panels": list(_panels(groups)),
    }


def _variables(site: Site) -> list[dict[str, Any]]:
    return [
        {"name": "datasource", "label": "Source", "type": "datasource", "query": "prometheus", "hide": 0},
        _variable("namespace", "Namespace", "label_values(penstock_build_info, namespace)", site.namespace),
        _variable("fleet", "Fleet", 'label_values(up{namespace="$namespace"}, fleet)', site.name),
        {
            **_variable("model", "Model", 'label_values(penstock_replicas_ready{fleet="$fleet"}, model)', "$__all"),
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
        },
    ]


def _variable(name: str, label: str, query: str, value: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "current": {"text": "All" if value == "$__all" else value, "value": value},
        "refresh": 2,
        "sort": 1,
        "hide": 0,
    }


_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def _panels(groups: list[Group]) -> Iterator[dict[str, Any]]:
    number, y = 1, 0
    for group in groups:
        place = {"h": 1, "w": 24, "x": 0, "y": y}
        yield {"id": number, "type": "row", "title": group.title, "collapsed": False, "gridPos": place, "panels": []}
        number, y = number + 1, y + 1
        for index, panel in enumerate(group.panels):
            line, column = divmod(index, _PER_LINE)
            at = {"h": _HEIGHT, "w": _WIDTH, "x": column * _WIDTH, "y": y + line * _HEIGHT}
            yield _panel(panel, number, at)
            number += 1
        y += -(-len(group.panels) // _PER_LINE) * _HEIGHT


def _panel(panel: Panel, number: int, at: dict[str, int]) -> dict[str, Any]:
    stacking = {"mode": "normal" if panel.is_stacked else "none", "group": "A"}
    custom = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 20 if panel.is_stacked else 5, "stacking": stacking}
    unit = "cps" if panel.unit == "tps" else panel.unit
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "gridPos": at,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0, "custom": custom}, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": [
            {"refId": chr(ord("A") + place), "datasource": _SOURCE, "expr": query.expr, "legendFormat": query.legend}
            for place, query in enumerate(panel.queries)
        ],
    }
