"""Rules on what is in front of the engines and what watches them: ingress, mirrors, monitors. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.operate.doctor.case import Case
from penstock.operate.doctor.evidence import Node, Resource
from penstock.operate.doctor.findings import Hit, Rule, Severity, Where
from penstock.operate.doctor.pods import Pod, is_given_later

__all__ = ["RULES"]

_NGINX = "nginx.ingress.kubernetes.io/"


def _ingress_nginx(case: Case) -> Iterator[Hit]:
    for resource in case.resources:
        if resource.kind == "Ingress":
            node = _nginx_of(resource.root)
            if node is not None:
                yield Hit(
                    where=node.key_where,
                    message=f"Ingress {resource.name} is for ingress-nginx, retired in March 2026",
                    evidence=node.shown,
                )
        elif not resource.is_object or resource.kind in ("HelmRelease", "Application"):
            for part in resource.root.walk():
                key = str(part.path[-1]) if part.path else ""
                if "ingress" in key.lower() and isinstance(part.value, dict) and part["enabled"].value is not False:
                    node = _nginx_of(part)
                    if node is not None:
                        yield Hit(
                            where=node.key_where,
                            message="the values ask for ingress-nginx, retired in March 2026",
                            evidence=node.shown,
                        )


def _nginx_of(part: Node) -> Node | None:
    """Where an Ingress, or a chart's section for one, names ingress-nginx."""
    for node in (part.at("spec", "ingressClassName"), part["ingressClassName"], part["className"]):
        if node.text in ("nginx", "nginx-internal", "nginx-external", "ingress-nginx"):
            return node
    annotations = part.at("metadata", "annotations") if part.at("metadata", "annotations") else part["annotations"]
    for key, node in annotations.fields():
        if key.startswith(_NGINX) or (key == "kubernetes.io/ingress.class" and node.text == "nginx"):
            return node
    return None


def _mirror(case: Case) -> Iterator[Hit]:
    for resource in case.kind("VirtualService"):
        for route in resource.root.at("spec", "http"):
            share = route.at("mirrorPercentage", "value").number
            share = route["mirrorPercent"].number if share is None else share
            if route["mirror"] and (share is None or share >= 100):
                yield _mirror_hit(resource, route["mirror"].key_where, "mirror")
            for mirror in route["mirrors"]:
                share = mirror.at("percentage", "value").number
                if share is None or share >= 100:
                    yield _mirror_hit(resource, mirror.where, "mirrors")
    for resource in case.kind("HTTPRoute", "GRPCRoute"):
        for node in resource.root["spec"].walk():
            if node.path[-1:] == ("requestMirror",) and not node["percent"] and not node["fraction"]:
                yield _mirror_hit(resource, node.key_where, "requestMirror")


def _mirror_hit(resource: Resource, where: Where, shown: str) -> Hit:
    return Hit(
        where=where,
        message=f"{resource.kind} {resource.name} mirrors every request",
        evidence=f"{shown} without a share",
    )


def _in_scope(monitor: Resource, other: Resource) -> bool:
    chosen = monitor.root.at("spec", "namespaceSelector")
    if chosen["any"].value is True:
        return True
    names = [node.text for node in chosen["matchNames"]]
    return (
        other.namespace in names
        if names
        else other.namespace == monitor.namespace or not (other.namespace and monitor.namespace)
    )


def _unmatched_monitor(case: Case) -> Iterator[Hit]:
    for monitor in case.kind("ServiceMonitor"):
        selector = monitor.root.at("spec", "selector")
        if not selector or any(_in_scope(monitor, s) for s in case.selected_services(selector)):
            continue
        services = [s for s in case.kind("Service") if _in_scope(monitor, s)]
        if services:
            where = selector["matchLabels"] if selector["matchLabels"] else selector
            yield Hit(
                where=where.key_where,
                message=f"ServiceMonitor {monitor.name} selects no Service: labels of {services[0].name} are"
                f" {_labels(services[0].labels)}",
                evidence=where.shown or str(where.value),
            )
    for monitor in case.kind("PodMonitor"):
        selector = monitor.root.at("spec", "selector")
        if not selector or any(_in_scope(monitor, p.resource) for p in case.selected(selector)):
            continue
        pods = [p for p in case.pods if _in_scope(monitor, p.resource)]
        if pods:
            where = selector["matchLabels"] if selector["matchLabels"] else selector
            yield Hit(
                where=where.key_where,
                message=f"PodMonitor {monitor.name} selects no pod: labels of {pods[0].title} are"
                f" {_labels(pods[0].labels)}",
                evidence=where.shown or str(where.value),
            )


def _labels(labels: object) -> str:
    return ", ".join(f"{k}={v}" for k, v in labels.items()) or "none" if isinstance(labels, dict) else "none"


def _wrong_port(case: Case) -> Iterator[Hit]:
    for monitor in case.kind("ServiceMonitor"):
        selector = monitor.root.at("spec", "selector")
        services = [s for s in case.selected_services(selector) if _in_scope(monitor, s)]
        for endpoint in monitor.root.at("spec", "endpoints"):
            node = endpoint["port"]
            names = {port["name"].text for service in services for port in service.root.at("spec", "ports")}
            if services and node.text and node.text not in names:
                yield Hit(
                    where=node.where,
                    message=f"ServiceMonitor {monitor.name} scrapes port {node.text}; the Service's ports are"
                    f" {', '.join(sorted(n for n in names if n)) or 'without names'}",
                    evidence=node.shown,
                )
    for monitor in case.kind("PodMonitor"):
        selector = monitor.root.at("spec", "selector")
        pods = [p for p in case.selected(selector) if _in_scope(monitor, p.resource)]
        for endpoint in monitor.root.at("spec", "podMetricsEndpoints"):
            node = endpoint["port"]
            names = {
                port["name"].text for pod in pods for container in pod.containers for port in container.node["ports"]
            }
            if pods and node.text and node.text not in names:
                yield Hit(
                    where=node.where,
                    message=f"PodMonitor {monitor.name} scrapes port {node.text}; the pod's ports are"
                    f" {', '.join(sorted(n for n in names if n)) or 'without names'}",
                    evidence=node.shown,
                )


def _unselected_service(case: Case) -> Iterator[Hit]:
    names = {e.pod.resource.name for e in case.whole_engines if e.pod is not None and not e.pod.is_batch}
    for service in case.kind("Service"):
        wanted = service.root.at("spec", "selector")
        is_for_engine = any(service.name[:end] in names for end in range(1, len(service.name) + 1))
        if not wanted.mapping or not is_for_engine:
            continue
        namespaces = (service.namespace, "") if service.namespace else None
        if not any(_picks(wanted, p) for p in case.pods if not namespaces or p.resource.namespace in namespaces):
            yield Hit(
                where=wanted.key_where,
                message=f"Service {service.name} selects no pod of these files",
                evidence=wanted.shown or str(wanted.value),
            )


def _picks(wanted: Node, pod: Pod) -> bool:
    return all(is_given_later(key) or str(pod.labels.get(key, "\0")) == node.text for key, node in wanted.fields())


def _adapter_labels(case: Case) -> Iterator[Hit]:
    for rule in case.adapter_rules:
        resources = rule.node["resources"]
        if rule.is_external or resources["template"].text:
            continue
        kinds = {node["resource"].text for _, node in resources["overrides"].fields()}
        if not kinds & {"pod", "pods", "service", "services", "deployment", "deployments", "namespace", "namespaces"}:
            yield Hit(
                where=rule.node["seriesQuery"].where,
                message=f"the adapter's rule for {rule.series or 'its series'} says no label of namespace and pod",
                evidence=rule.node["seriesQuery"].shown,
            )


RULES = (
    Rule(
        id="PS042-ingress-nginx",
        title="ingress-nginx is retired",
        severity=Severity.WARNING,
        rows=(42,),
        consequence="No fixes since March 2026, security fixes included; and its defaults buffer streams and"
        " cut them after 60 s.",
        fix="Gateway API: an HTTPRoute with `timeouts`, on a controller that does not buffer.",
        check=_ingress_nginx,
    ),
    Rule(
        id="PS049-mirrors-everything",
        title="Every request is mirrored",
        severity=Severity.WARNING,
        rows=(49,),
        consequence="The shadow needs as many GPUs as the original, and answers nobody reads cost as much.",
        fix="Mirror a sample (5 %), and check its answers by machine; weights and mirrors are in the Gateway API too.",
        check=_mirror,
    ),
    Rule(
        id="PS117-monitor-selects-nothing",
        title="The monitor selects nothing",
        severity=Severity.ERROR,
        rows=(12,),
        consequence="Prometheus never scrapes the engines: dashboards are empty, alerts silent, the HPA shows"
        " <unknown>.",
        fix="Select labels that the Service (or pod) itself has.",
        check=_unmatched_monitor,
    ),
    Rule(
        id="PS118-monitor-port",
        title="The monitor names a port that is not there",
        severity=Severity.ERROR,
        rows=(12,),
        consequence="Prometheus finds no target to scrape.",
        fix="The port's name in the Service (or pod), not its number.",
        check=_wrong_port,
    ),
    Rule(
        id="PS151-service-selects-nothing",
        title="The Service selects no pod",
        severity=Severity.ERROR,
        rows=(),
        consequence="It has no endpoints: every request is refused, and the monitor scrapes nothing.",
        fix="Select labels of the pod template.",
        check=_unselected_service,
    ),
    Rule(
        id="PS116-adapter-rule-labels",
        title="The adapter's rule does not say what its series belong to",
        severity=Severity.ERROR,
        rows=(12,),
        consequence="The metric has no namespace and pod: the HPA shows <unknown>.",
        fix="`resources.overrides` with namespace and pod, or a template.",
        check=_adapter_labels,
    ),
)
