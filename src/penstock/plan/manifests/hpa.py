"""A model's HorizontalPodAutoscaler on what its pods say, and the prometheus-adapter rule that lets it ask. Pure.

The HPA asks `custom.metrics.k8s.io` for a metric of each pod, which KEDA leaves alone, so both can be in a cluster. The
metric is renamed: a colon, as in vLLM's names, breaks the path of that API. Pods that say nothing count as at their
target when replicas would go and as idle when they would come (the HPA's own rule), so an outage changes nothing.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from penstock.plan.manifests.law import behavior, bounds_of, scale_target, target_of
from penstock.plan.manifests.manifest import Because, Manifest, Wave
from penstock.plan.manifests.names import dns_name
from penstock.plan.manifests.needs import ModelNeeds
from penstock.plan.manifests.signals import duration, monitoring_of
from penstock.plan.manifests.site import Site
from penstock.spec import AutoscalingSpec

__all__ = ["POD_METRIC", "POD_QUERY", "adapter_values", "autoscaler"]

POD_METRIC = "penstock_engine_requests"
"""Requests of one engine pod, running and waiting, as the adapter serves it."""
POD_QUERY = (
    "sum by (<<.GroupBy>>) (vllm:num_requests_running{<<.LabelMatchers>>})"
    " + sum by (<<.GroupBy>>) (vllm:num_requests_waiting{<<.LabelMatchers>>})"
)
"""The adapter fills in the pods and the namespace. Summed: a pod with data parallelism has several engines."""


def autoscaler(site: Site, needs: ModelNeeds, spec: AutoscalingSpec) -> Manifest:
    """`via: hpa`."""
    name = site.names[needs.spec.name]
    target, bounds = target_of(needs), bounds_of(site, needs, spec)
    metric = {
        "type": "Pods",
        "pods": {
            "metric": {"name": POD_METRIC},
            "target": {"type": "AverageValue", "averageValue": Because(_quantity(target.requests), target.reason)},
        },
    }
    return Manifest(
        body={
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": site.metadata("engine", name, name),
            "spec": {
                "scaleTargetRef": scale_target(site, needs),
                "minReplicas": max(1, bounds.least),
                "maxReplicas": bounds.most,
                "metrics": [metric],
                "behavior": behavior(spec),
            },
        },
        wave=Wave.SCALE,
        file=f"{name}/scaling",
        heading=f"Replicas of {needs.spec.name}, by the metric that prometheus-adapter serves with our rule.",
    )


def adapter_values(site: Site) -> Manifest:
    """Values for prometheus-adapter's chart. The rule is the same for every fleet: it is needed once in a cluster."""
    monitoring = monitoring_of(site)
    url = urlsplit(monitoring.prometheus_url)
    port = url.port or (443 if url.scheme == "https" else 80)
    lines = [
        "prometheus:",
        f"  url: {url.scheme}://{url.hostname}",
        f"  port: {port}",
        *([f"  path: {url.path}"] if url.path.strip("/") else []),
        "# Metrics are looked up in this time: never less than two scrapes.",
        f"metricsRelistInterval: {duration(max(60, 2 * monitoring.interval_s))}",
        "rules:",
        "  custom:",
        """    - seriesQuery: 'vllm:num_requests_running{namespace!="",pod!="",fleet!=""}'""",
        "      resources:",
        "        overrides:",
        "          namespace: {resource: namespace}",
        "          pod: {resource: pod}",
        "      name:",
        f"        as: {POD_METRIC}",
        f"      metricsQuery: '{POD_QUERY}'",
    ]
    return Manifest(
        body={
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": site.fleet_metadata(dns_name(site.name, "adapter-rule")),
            "data": {"values.yaml": "\n".join(lines) + "\n"},
        },
        wave=Wave.STORE,
        file="adapter-rule",
        heading="Read by nobody by itself: give `values.yaml` to the chart, as in `helm upgrade --install "
        "prometheus-adapter prometheus-community/prometheus-adapter -n monitoring -f values.yaml`.",
    )


def _quantity(requests: float) -> str:
    """As the API server keeps it."""
    return str(int(requests)) if requests == int(requests) else f"{round(requests * 1000)}m"
