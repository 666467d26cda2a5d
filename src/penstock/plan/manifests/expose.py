"""The way in from outside: HTTPRoute, Ingress or VirtualService, none of which may cut or buffer a stream. Pure.

A stream lasts as long as its answer, and the gateway bounds it (`timeouts`), so the way in sets no limit of its own;
nor does it retry: the gateway does, and knows what can be repeated.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, assert_never

from penstock.plan.manifests.manifest import Because, Manifest, Wave
from penstock.plan.manifests.names import dns_name
from penstock.plan.manifests.site import GATEWAY_PORT, Site
from penstock.spec import Fleet
from penstock.spec.base import FieldPath, Finding
from penstock.spec.expose import ExposeSpec

__all__ = ["expose_findings", "expose_notes", "render_expose"]

_LONG_S = 3600
"""Where a controller has no word for "no limit"."""
_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*/?")
_GATEWAY = re.compile(r"([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/)?[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_NO_LIMIT = "No limit on the whole request: the default of many gateways, 15 s to 60 s, cuts long answers."


def render_expose(site: Site) -> Iterator[Manifest]:
    """One object of the kind that the file names; none without `expose`."""
    expose = site.fleet.spec.gateway.expose
    if expose is None:
        return
    match expose.kind:
        case "httpRoute":
            api, kind, spec = "gateway.networking.k8s.io/v1", "HTTPRoute", _http_route(site, expose)
        case "ingress":
            api, kind, spec = "networking.k8s.io/v1", "Ingress", _ingress(site, expose)
        case "virtualService":
            api, kind, spec = "networking.istio.io/v1", "VirtualService", _virtual_service(site, expose)
        case _:
            assert_never(expose.kind)
    annotations = {**(_nginx(site) if _is_nginx(expose) else {}), **expose.annotations}
    metadata = {
        **site.metadata("gateway", dns_name(site.name, "gateway")),
        **({"annotations": annotations} if annotations else {}),
    }
    yield Manifest(
        body={"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec},
        wave=Wave.OPEN,
        file="expose",
        heading=f"Clients outside use {'https' if expose.tls_secret else 'http(s)'}://{expose.host}"
        f"{expose.path.rstrip('/')}/v1.",
    )


def expose_findings(fleet: Fleet) -> Iterator[Finding]:
    """A path or a Gateway that no object can name, or a path that an Ingress cannot take away."""
    expose = fleet.spec.gateway.expose
    if expose is None:
        return
    at: FieldPath = ("spec", "gateway", "expose")
    if not _PATH.fullmatch(expose.path) or any(part in (".", "..") for part in expose.path.split("/")):
        message = f"is {expose.path!r}, which no route takes"
        yield Finding(at=(*at, "path"), message=message, hint="parts of letters, digits, `-`, `_` and `.`, as in /llm")
    if expose.gateway is not None and not _GATEWAY.fullmatch(expose.gateway):
        message = f"is {expose.gateway!r}, which no Gateway may be called"
        yield Finding(at=(*at, "gateway"), message=message, hint="NAME or NAMESPACE/NAME, as in infra/public")
    if expose.kind == "ingress" and expose.path != "/":
        message = f"is {expose.path!r}, but no Ingress can take a path away in a way that every controller knows"
        hint = "give the API a host of its own and `path: /`, or use `kind: httpRoute`"
        yield Finding(at=(*at, "path"), message=message, hint=hint)


def expose_notes(site: Site) -> Iterator[str]:
    """What a person must see to, as it is not ours."""
    expose = site.fleet.spec.gateway.expose
    if expose is not None and expose.kind == "ingress" and not _is_nginx(expose) and not expose.annotations:
        yield (
            "the Ingress sets no timeouts, as they are each controller's own: see that yours allows an answer of "
            "minutes and buffers nothing, and say so in `gateway.expose.annotations`"
        )


def _http_route(site: Site, expose: ExposeSpec) -> dict[str, Any]:
    namespace, _, name = (expose.gateway or "").rpartition("/")
    rule: dict[str, Any] = {"matches": [{"path": {"type": "PathPrefix", "value": expose.path}}]}
    if expose.path != "/":
        path = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}
        rewrite = {"type": "URLRewrite", "urlRewrite": {"path": path}}
        rule["filters"] = Because([rewrite], "The gateway's own paths begin with /v1.")
    rule["timeouts"] = {"request": Because("0s", _NO_LIMIT)}
    service = {
        "group": "",
        "kind": "Service",
        "name": dns_name(site.name, "gateway"),
        "port": GATEWAY_PORT,
        "weight": 1,
    }
    rule["backendRefs"] = Because(
        [service], "With what the API server would fill in: else each `kubectl apply` would find it changed."
    )
    parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name}
    return {
        "parentRefs": [{**parent, **({"namespace": namespace} if namespace else {})}],
        "hostnames": [expose.host],
        "rules": [rule],
    }


def _ingress(site: Site, expose: ExposeSpec) -> dict[str, Any]:
    backend = {"service": {"name": dns_name(site.name, "gateway"), "port": {"name": "http"}}}
    path = {"path": expose.path, "pathType": "Prefix", "backend": backend}
    tls = {"tls": [{"hosts": [expose.host], "secretName": expose.tls_secret}]}
    return {
        **({"ingressClassName": expose.class_name} if expose.class_name else {}),
        **(tls if expose.tls_secret else {}),
        "rules": [{"host": expose.host, "http": {"paths": [path]}}],
    }


def _virtual_service(site: Site, expose: ExposeSpec) -> dict[str, Any]:
    host = f"{dns_name(site.name, 'gateway')}.{site.namespace}.svc.cluster.local"
    prefix = expose.path.rstrip("/")
    rule: dict[str, Any] = {"match": [{"uri": {"prefix": f"{prefix}/"}}]}
    if prefix:
        rule["rewrite"] = Because({"uri": "/"}, "The gateway's own paths begin with /v1.")
    reason = "No `timeout` beside it: Istio has none unless it is said, and its API takes no 0s."
    rule["route"] = Because([{"destination": {"host": host, "port": {"number": GATEWAY_PORT}}}], reason)
    rule["retries"] = {"attempts": Because(0, "The gateway retries, and never what a client has seen a part of.")}
    return {"hosts": [expose.host], "gateways": [expose.gateway], "http": [rule]}


def _is_nginx(expose: ExposeSpec) -> bool:
    return expose.kind == "ingress" and "nginx" in (expose.class_name or "")


def _nginx(site: Site) -> dict[str, Any]:
    """What controllers that read nginx's annotations need; the file's own stand over it."""
    prefix = "nginx.ingress.kubernetes.io"
    mebibytes = math.ceil(site.fleet.spec.gateway.limits.body_bytes_max / 1024**2)
    return {
        f"{prefix}/proxy-read-timeout": Because(
            str(_LONG_S), "Between two reads: covers queueing before a first token."
        ),
        f"{prefix}/proxy-send-timeout": str(_LONG_S),
        f"{prefix}/proxy-buffering": Because("off", "Tokens are passed on as they come."),
        f"{prefix}/proxy-request-buffering": "off",
        f"{prefix}/proxy-body-size": Because(f"{mebibytes}m", "As `gateway.limits.bodyBytesMax`; images are large."),
        f"{prefix}/proxy-next-upstream": Because("off", "The gateway retries by itself."),
    }
