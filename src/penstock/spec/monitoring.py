"""What of the fleet is watched, and what wakes a person."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from penstock.spec.base import SpecObject, Words
from penstock.spec.placement import LabelKey, LabelValue
from penstock.spec.storage import ObjectName

__all__ = ["MonitoringSpec"]

HttpUrl = Annotated[
    str, Field(pattern=r"^https?://[^\s/]+(/\S*)?$"), Words("an address, as in `http://prometheus.monitoring:9090`")
]


class MonitoringSpec(SpecObject):
    """Objects for the Prometheus operator, and Grafana dashboards. They are made when this block is there."""

    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    """Labels by which the Prometheus finds its monitors and rules, as in `release: kube-prometheus-stack`."""
    namespace: ObjectName = "monitoring"
    """Namespace of Prometheus: it is let in by the network policies."""
    interval_s: Annotated[int, Field(ge=5, le=300)] = 15
    """Time between two scrapes."""
    prometheus_url: HttpUrl = "http://prometheus-operated.monitoring.svc:9090"
    """Where autoscaling asks."""
    alerts: bool = True
    """Whether alerts and recording rules are made."""
    availability: Annotated[float, Field(ge=0.5, lt=1)] = 0.999
    """Share of requests that must not fail: alerts tell how fast the rest is used up."""
    ttft_share: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    """Share of requests that must meet `objectives.ttftMs`."""
    dashboards: bool = True
    """Whether Grafana dashboards are made, as ConfigMaps that Grafana's sidecar picks up."""
    gpu_metrics: bool = True
    """Whether alerts and dashboards ask for the GPU exporter's metrics."""
    runbook_url: HttpUrl = "https://penstock.dev/runbooks"
    """Where the runbook pages are; an alert's page is this with its name after a `/`."""
