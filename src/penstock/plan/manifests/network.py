"""Who may talk to whom: everything is closed, then what the fleet needs is opened. Pure.

Probes of the kubelet are never subject to policies. Policies name no address of the API server, which is not a pod and
differs from cluster to cluster: its ports are opened towards anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from penstock.plan.manifests.controller import SCALER_PORT
from penstock.plan.manifests.fetch import job_name
from penstock.plan.manifests.gpu_sharing import pods_of_replica
from penstock.plan.manifests.manifest import Because, Manifest, Wave
from penstock.plan.manifests.names import dns_name
from penstock.plan.manifests.needs import ModelNeeds
from penstock.plan.manifests.outside import egress_of_gateway
from penstock.plan.manifests.signals import monitoring_of
from penstock.plan.manifests.site import ADMIN_PORT, ENGINE_PORT, GATEWAY_PORT, Site
from penstock.plan.manifests.volumes import files_of
from penstock.spec.traffic import KV_REPLAY_PORT_AFTER

__all__ = ["render_network"]

_API_PORTS = (443, 6443)
"""Where API servers listen: as their Service, and as most control planes have it behind that."""
_DOWNLOAD_ENV = (
    "HF_ENDPOINT",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "S3_ENDPOINT_URL",
    "HTTPS_PROXY",
    "HTTP_PROXY",
)
"""Environment variables of engines that send downloads to another address."""
_FILE = "network"


def render_network(site: Site) -> Iterator[Manifest]:
    """The policies, unless the file declines them."""
    if not site.kubernetes.network_policies:
        return
    yield _policy(
        site,
        dns_name(site.name, "deny"),
        {"podSelector": {"matchLabels": {"penstock.dev/fleet": site.name}}, "policyTypes": ["Ingress", "Egress"]},
        "Closes every pod of the fleet in both directions; the policies below open what is needed.",
    )
    yield _dns(site)
    yield _gateway(site)
    if site.needs:
        yield _engines(site)
    if any(job_name(site, needs) for needs in site.needs.values()):
        yield _downloads(site)
    yield from _engines_that_download(site)
    yield from _groups(site)
    if site.has_controller:
        yield _controller(site)


def _policy(site: Site, name: str, spec: dict[str, Any], heading: str) -> Manifest:
    return Manifest(
        body={
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": site.fleet_metadata(name),
            "spec": spec,
        },
        wave=Wave.ACCESS,
        file=_FILE,
        heading=heading,
    )


def _port(number: int, protocol: str = "TCP") -> dict[str, Any]:
    return {"port": number, "protocol": protocol}


def _pods(site: Site, component: str, model: str | None = None) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": site.selector(component, model)}}


def _monitoring(site: Site) -> list[dict[str, Any]]:
    """Prometheus, where something of ours is for it: alerts, or scaling by what it knows."""
    is_scaled = any(needs.spec.autoscaling is not None for needs in site.needs.values())
    if site.fleet.spec.monitoring is None and not is_scaled:
        return []
    namespace = monitoring_of(site).namespace
    return [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}]


def _dns(site: Site) -> Manifest:
    to = [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}},
        {"ipBlock": {"cidr": Because("169.254.0.0/16", "A DNS cache on the node listens on a link-local address.")}},
    ]
    spec = {
        "podSelector": {"matchLabels": {"penstock.dev/fleet": site.name}},
        "policyTypes": ["Egress"],
        "egress": [{"to": to, "ports": [_port(53, "UDP"), _port(53)]}],
    }
    return _policy(site, dns_name(site.name, "dns"), spec, "Names are looked up by all.")


def _gateway(site: Site) -> Manifest:
    admin = [*_monitoring(site), *([_pods(site, "controller")] if site.has_controller else [])]
    ingress: list[dict[str, Any]] = [
        {"ports": Because([_port(GATEWAY_PORT)], "Clients come from anywhere; keys tell who they are.")}
    ]
    if admin:
        reason = "Metrics and state have no log-in: only who needs them gets near."
        ingress.append({"from": Because(admin, reason), "ports": [_port(ADMIN_PORT)]})
    api = [_port(port) for port in _API_PORTS]
    egress: list[dict[str, Any]] = [{"ports": Because(api, "The API server tells which engines there are.")}]
    if site.needs:
        egress.insert(0, {"to": [_pods(site, "engine")], "ports": _engine_ports(site)})
    egress += egress_of_gateway(site)
    spec = {
        "podSelector": {"matchLabels": site.selector("gateway")},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": ingress,
        "egress": egress,
    }
    return _policy(site, dns_name(site.name, "gateway"), spec, "The gateway: in from clients, out to engines.")


def _engines(site: Site) -> Manifest:
    ingress: list[dict[str, Any]] = [
        {"from": [_pods(site, "gateway"), *_monitoring(site)], "ports": [_port(ENGINE_PORT)]}
    ]
    if len(_engine_ports(site)) > 1:
        reason = "Events of the prefix caches are for the gateway alone: they tell what others asked."
        ingress.append({"from": Because([_pods(site, "gateway")], reason), "ports": _engine_ports(site)[1:]})
    spec = {
        "podSelector": {"matchLabels": site.selector("engine")},
        "policyTypes": ["Ingress"],
        "ingress": ingress,
    }
    heading = "Engines know no keys: nobody reaches them but the gateway" + (
        ", and Prometheus." if _monitoring(site) else "."
    )
    return _policy(site, dns_name(site.name, "engines"), spec, heading)


def _engine_ports(site: Site) -> list[dict[str, Any]]:
    """Where engines answer, and where they publish what their caches hold."""
    events = site.fleet.spec.gateway.routing.kv_events_port
    if events is None or all(needs.is_simulated or needs.data > 1 for needs in site.needs.values()):
        return [_port(ENGINE_PORT)]
    return [_port(ENGINE_PORT), _port(events), _port(events + KV_REPLAY_PORT_AFTER)]


def _downloads(site: Site) -> Manifest:
    ports = sorted({443, *(port for needs in site.needs.values() for port in _ports_of(needs))})
    spec = {
        "podSelector": {"matchLabels": site.selector("models")},
        "policyTypes": ["Egress"],
        "egress": [{"ports": [_port(port) for port in ports]}],
    }
    return _policy(
        site,
        dns_name(site.name, "downloads"),
        spec,
        "Jobs that fetch models reach the hub or the object store, anywhere.",
    )


def _engines_that_download(site: Site) -> Iterator[Manifest]:
    for model, needs in site.needs.items():
        files = files_of(site, needs)
        if not files.downloads and not files.pulled:
            continue
        name = site.names[model]
        spec = {
            "podSelector": {"matchLabels": site.selector("engine", name)},
            "policyTypes": ["Egress"],
            "egress": [{"ports": [_port(port) for port in sorted({443, *_ports_of(needs)})]}],
        }
        yield _policy(site, dns_name(name, "download"), spec, f"{model} is downloaded by its own pods.")


def _ports_of(needs: ModelNeeds) -> set[int]:
    """Ports of mirrors and proxies that the engine's environment names."""
    found: set[int] = set()
    for name in _DOWNLOAD_ENV:
        parts = urlsplit(needs.spec.engine.env.get(name) or needs.spec.engine.env.get(name.lower()) or "")
        try:
            port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
        except ValueError:
            port = None
        found |= {port} if port else set()
    return found


def _groups(site: Site) -> Iterator[Manifest]:
    """Replicas on several nodes: their pods talk to each other on ports of their own choice."""
    for model, needs in site.needs.items():
        if pods_of_replica(site, needs) == 1:
            continue
        name = site.names[model]
        peers = [_pods(site, "engine", name)]
        spec = {
            "podSelector": {"matchLabels": site.selector("engine", name)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": peers}],
            "egress": [{"to": peers}],
        }
        heading = f"A replica of {model} is several pods, which exchange activations on ports they choose themselves."
        yield _policy(site, dns_name(name, "group"), spec, heading)


def _controller(site: Site) -> Manifest:
    egress = [
        {"ports": [_port(port) for port in _API_PORTS]},
        {"to": [_pods(site, "gateway")], "ports": [_port(ADMIN_PORT)]},
    ]
    monitoring = _monitoring(site)
    ingress: list[dict[str, Any]] = [{"from": monitoring, "ports": [_port(ADMIN_PORT)]}] if monitoring else []
    if any(needs.spec.autoscaling and needs.spec.autoscaling.via == "penstock" for needs in site.needs.values()):
        anywhere = {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]}
        keda = {"namespaceSelector": anywhere, "podSelector": {"matchLabels": {"app": "keda-operator"}}}
        ingress.append({"from": Because([keda], "KEDA asks for the forecast."), "ports": [_port(SCALER_PORT)]})
    spec = {
        "podSelector": {"matchLabels": site.selector("controller")},
        "policyTypes": ["Ingress", "Egress"],
        **({"ingress": ingress} if ingress else {}),
        "egress": egress,
    }
    heading = "The controller: out to the API server and the gateways' state."
    return _policy(site, dns_name(site.name, "controller"), spec, heading)
