"""Rules on the way of a metric through a cluster: taken by Prometheus, served by a metrics API. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.operate.doctor.case import Case
from penstock.operate.doctor.evidence import Node, Resource
from penstock.operate.doctor.findings import Hit, Rule, Severity
from penstock.operate.doctor.pods import matches
from penstock.operate.doctor.reports import condition, objects, shown

__all__ = ["RULES"]

_APIS = {
    "Pods": "custom.metrics.k8s.io",
    "Object": "custom.metrics.k8s.io",
    "External": "external.metrics.k8s.io",
    "Resource": "metrics.k8s.io",
    "ContainerResource": "metrics.k8s.io",
}
"""Which API serves a metric of an HPA, by its type."""
_SERVES = {
    "custom.metrics.k8s.io": "prometheus-adapter",
    "external.metrics.k8s.io": "KEDA or prometheus-adapter",
    "metrics.k8s.io": "metrics-server",
}
_ALWAYS = "v1.apps"
"""An APIService that every cluster has: without it the list is not whole, and what it lacks proves nothing."""
_TAKEN_BY = {
    "ServiceMonitor": ("serviceMonitorSelector", "serviceMonitorNamespaceSelector"),
    "PodMonitor": ("podMonitorSelector", "podMonitorNamespaceSelector"),
    "PrometheusRule": ("ruleSelector", "ruleNamespaceSelector"),
}


def _absent_api(case: Case) -> Iterator[Hit]:
    services = objects(case, "APIService")
    if not any(service.name == _ALWAYS for service in services):
        return
    served = {service.root.at("spec", "group").text for service in services}
    for hpa in objects(case, "HorizontalPodAutoscaler"):
        for metric in hpa.root.at("spec", "metrics"):
            api = _APIS.get(metric["type"].text, "")
            if api and api not in served:
                yield Hit(
                    where=metric["type"].where,
                    message=f"HPA {hpa.name} asks {api} for a metric, and nothing serves that API",
                    evidence=metric["type"].shown,
                    fix=f"Install {_SERVES[api]}, or scale on a metric of an API that is there.",
                )
                break


def _api_down(case: Case) -> Iterator[Hit]:
    for service in objects(case, "APIService"):
        told = condition(service, "Available")
        if service.root.at("spec", "group").text not in _SERVES or told is None or told["status"].text != "False":
            continue
        yield Hit(
            where=told["status"].where,
            message=f"API {service.root.at('spec', 'group').text} is registered and does not answer",
            evidence=shown(told["message"].text or told["reason"].text),
        )


def _not_taken(case: Case) -> Iterator[Hit]:
    servers = objects(case, "Prometheus")
    spaces = {space.name: space for space in objects(case, "Namespace")}
    for monitor in objects(case, *_TAKEN_BY) if servers else ():
        chosen, within = _TAKEN_BY[monitor.kind]
        if any(_takes(server, monitor, chosen, within, spaces) for server in servers):
            continue
        server = servers[0]
        wanted = server.root.at("spec", chosen)
        yield Hit(
            where=case.node_of(monitor).where,
            message=f"no Prometheus takes {monitor.kind} {monitor.name}: {server.namespace}/{server.name} wants"
            f" {_said(wanted)} in {_said_spaces(server.root.at('spec', within), server)}",
            evidence=f"labels: {', '.join(f'{k}={v}' for k, v in sorted(monitor.labels.items())) or 'none'}",
        )


def _takes(server: Resource, monitor: Resource, chosen: str, within: str, spaces: dict[str, Resource]) -> bool:
    """As the Prometheus operator decides: an absent selector takes nothing, an absent one of namespaces its own."""
    if not matches(server.root.at("spec", chosen), monitor.labels):
        return False
    among = server.root.at("spec", within)
    if not among:
        return server.namespace == monitor.namespace
    space = spaces.get(monitor.namespace)
    named = {"kubernetes.io/metadata.name": monitor.namespace}
    if not among.mapping:
        return True
    return space is None or matches(among, {**named, **space.labels})


def _said(selector: Node) -> str:
    if not selector:
        return "none at all (its selector is absent)"
    labels = [f"{key}={node.text}" for key, node in selector["matchLabels"].fields()]
    labels += [f"{e['key'].text} {e['operator'].text}" for e in selector["matchExpressions"]]
    return f"the labels {', '.join(labels)}" if labels else "any labels"


def _said_spaces(selector: Node, server: Resource) -> str:
    if not selector:
        return f"namespace {server.namespace}"
    return f"namespaces with {_said(selector)}" if selector.mapping else "any namespace"


RULES = (
    Rule(
        id="PS247-metrics-api-absent",
        title="Nothing serves the metrics API that the HPA asks",
        severity=Severity.ERROR,
        rows=(12,),
        consequence="The HPA shows <unknown> and never scales.",
        fix="Install what serves it: prometheus-adapter (custom), KEDA (external), metrics-server (CPU and memory).",
        check=_absent_api,
        is_live=True,
    ),
    Rule(
        id="PS248-metrics-api-down",
        title="A metrics API is registered and does not answer",
        severity=Severity.ERROR,
        rows=(12,),
        consequence="HPAs on its metrics stand still, and namespaces cannot be deleted.",
        fix="`kubectl describe apiservice`: its Service, its pods, its certificate; delete the APIService if nothing"
        " serves it any more.",
        check=_api_down,
        is_live=True,
    ),
    Rule(
        id="PS249-monitor-not-taken",
        title="No Prometheus takes the monitor or rule",
        severity=Severity.ERROR,
        rows=(12,),
        consequence="Nothing is scraped or evaluated: dashboards are empty, alerts never fire, scalers see no metric.",
        fix="Give it the labels that the Prometheus object selects (often `release: NAME`), or widen the selector:"
        " `serviceMonitorSelectorNilUsesHelmValues: false` in kube-prometheus-stack.",
        check=_not_taken,
        is_live=True,
    ),
)
