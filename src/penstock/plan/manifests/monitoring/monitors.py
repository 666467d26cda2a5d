"""Who is scraped: the gateway by its Service, engines and the controller by their pods. Pure.

Engines by pod, because a pod that is not ready or drains has requests too, and because of a replica on several nodes
only the leader answers: a pod without a port named `http` is no target. Every series gets `fleet` and `component`, and
those of engines `model`, from the target and not from what it says, so that nobody can pretend to be another.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from penstock.plan.manifests.manifest import Because, Manifest, Wave
from penstock.plan.manifests.names import dns_name
from penstock.plan.manifests.signals import duration, monitoring_of
from penstock.plan.manifests.site import Site

__all__ = ["DROPPED", "monitor_metadata", "monitors"]

_FILE = "monitoring/monitors"
DROPPED = "(.+_created|python_gc_.+|http_request_duration_highr_.+)"
"""Series that nobody asks for: a third of an engine's."""


def monitors(site: Site) -> Iterator[Manifest]:
    """One monitor for each component that has something to say."""
    yield _pods(site, "engine", "engines", "Engines, ready or not: what a pod that drains still runs counts too.")
    yield _gateway(site)
    if site.has_controller:
        yield _pods(site, "controller", "controller", "The controller: what it decided, and its errors.")


def _pods(site: Site, component: str, name: str, heading: str) -> Manifest:
    endpoint = _endpoint(site, component, "http" if component == "engine" else "metrics")
    if component == "engine":
        endpoint["relabelings"] = [*endpoint["relabelings"], *_model_labels(site)]
    return Manifest(
        body={
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PodMonitor",
            "metadata": monitor_metadata(site, dns_name(site.name, name)),
            "spec": {"selector": {"matchLabels": site.selector(component)}, "podMetricsEndpoints": [endpoint]},
        },
        wave=Wave.OPEN,
        file=_FILE,
        heading=heading,
    )


def _model_labels(site: Site) -> Iterator[Any]:
    reason = "The model's name in the fleet file, from the pod's label, which cannot hold every name."
    for place, model in enumerate(site.needs):
        step = {
            "action": "replace",
            "sourceLabels": ["__meta_kubernetes_pod_label_penstock_dev_model"],
            "regex": site.names[model],
            "replacement": model,
            "targetLabel": "model",
        }
        yield step if place else Because(step, reason)


def _gateway(site: Site) -> Manifest:
    return Manifest(
        body={
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "ServiceMonitor",
            "metadata": monitor_metadata(site, dns_name(site.name, "gateway")),
            "spec": {
                "selector": {"matchLabels": site.selector("gateway")},
                "endpoints": [_endpoint(site, "gateway", "admin")],
            },
        },
        wave=Wave.OPEN,
        file=_FILE,
        heading="The gateway: requests, tenants, and latencies as clients see them.",
    )


def _endpoint(site: Site, component: str, port: str) -> dict[str, Any]:
    interval = duration(monitoring_of(site).interval_s)
    mine = "The port's name, which would hide our metrics' own label `endpoint`."
    return {
        "port": port,
        "path": "/metrics",
        "interval": interval,
        "scrapeTimeout": Because(duration(min(10, monitoring_of(site).interval_s)), "No longer than the interval."),
        "relabelings": [
            Because({"action": "labeldrop", "regex": "endpoint"}, mine),
            {"action": "replace", "replacement": site.name, "targetLabel": "fleet"},
            {"action": "replace", "replacement": component, "targetLabel": "component"},
        ],
        "metricRelabelings": [
            Because({"action": "drop", "sourceLabels": ["__name__"], "regex": DROPPED}, "Series that nobody asks for.")
        ],
    }


def monitor_metadata(site: Site, name: str) -> dict[str, object]:
    """With the labels by which the Prometheus finds its monitors."""
    metadata = site.fleet_metadata(name)
    return {**metadata, "labels": {**monitoring_of(site).labels, **cast("dict[str, str]", metadata["labels"])}}
