"""What a fleet reaches that is not its own: engines elsewhere, databases, Redis, providers. Pure.

Policies know addresses, not names: what the file names by address is opened to that address alone, the rest by port.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from penstock.plan.manifests.manifest import Because
from penstock.plan.manifests.site import ENGINE_PORT, Site
from penstock.plan.manifests.store import database_of
from penstock.spec import Fleet
from penstock.spec.base import Finding
from penstock.spec.traffic import KV_REPLAY_PORT_AFTER

__all__ = ["egress_of_gateway", "outside_findings", "outside_notes", "redis_of"]

_REDIS_PORT = 6379
"""Redis's own."""


def redis_of(fleet: Fleet) -> tuple[str, int] | None:
    """Host and port of the Redis that gateways share; None where the file names none."""
    url = fleet.spec.gateway.limits.url
    parts = urlsplit(url or "")
    return None if not parts.hostname else (parts.hostname, parts.port or _REDIS_PORT)


def egress_of_gateway(site: Site) -> Iterator[dict[str, Any]]:
    """Rules of a policy, one for each kind of neighbour and each place."""
    fleet = site.fleet
    spec = fleet.spec.gateway
    engines: list[tuple[str, int]] = []
    for model in fleet.spec.models:
        for parts in map(urlsplit, model.endpoints or ()):
            engines.append((parts.hostname or "", parts.port or 80))
            if spec.routing.kv_events_port is not None:
                engines += [(parts.hostname or "", port) for port in _events_ports(spec.routing.kv_events_port)]
    yield from _rules(engines, "`endpoints` of the fleet file", "`endpoints` of the fleet file that have a name only")
    database, redis = database_of(fleet), redis_of(fleet)
    name_only = "its host is a name, and policies know addresses only"
    if database is not None:
        words = "The database of `store`"
        yield from _rules([database], words, f"{words}: {name_only}")
    if redis is not None:
        words = "The Redis of `limits.url`"
        yield from _rules([redis], words, f"{words}: {name_only}")
    providers = [urlsplit(provider.url) for provider in spec.providers]
    places = [(p.hostname or "", p.port or {"http": 80}.get(p.scheme, 443)) for p in providers]
    yield from _rules(places, "`providers` of the fleet file", "`providers` of the fleet file, anywhere")


def _rules(places: list[tuple[str, int]], by_address: str, by_name: str) -> Iterator[dict[str, Any]]:
    """Ports by place; what has no address stands first."""
    ports: dict[str, set[int]] = {}
    for host, port in places:
        ports.setdefault(_block(host) or "", set()).add(port)
    for block in sorted(ports):
        to = {"to": [{"ipBlock": {"cidr": block}}]} if block else {}
        listed = [{"port": port, "protocol": "TCP"} for port in sorted(ports[block])]
        yield {**to, "ports": Because(listed, f"{by_address if block else by_name}.")}


def _block(host: str) -> str | None:
    try:
        return str(ipaddress.ip_network(host))
    except ValueError:
        return None


def outside_findings(fleet: Fleet) -> Iterator[Finding]:
    """What a pod cannot reach, or where two things would listen."""
    spec = fleet.spec.gateway
    if spec.limits.url is not None and redis_of(fleet) is None:
        message = "is a socket of this machine, which the gateway's pods do not have"
        hint = "name a Redis that all of them reach: `limits: {url: 'redis://HOST:6379/0'}`"
        yield Finding(at=("spec", "gateway", "limits", "url"), message=message, hint=hint)
    if ENGINE_PORT in _events_ports(spec.routing.kv_events_port):
        taken = f"is {spec.routing.kv_events_port}, and events take the next port too"
        message = f"{taken}: at {ENGINE_PORT} engines answer requests in a cluster"
        hint = "another port, as in `kvEventsPort: 5557`, which is vLLM's own"
        yield Finding(at=("spec", "gateway", "routing", "kvEventsPort"), message=message, hint=hint)


def _events_ports(port: int | None) -> tuple[int, ...]:
    """Where engines publish what their caches hold, and repeat it."""
    return () if port is None else (port, port + KV_REPLAY_PORT_AFTER)


def outside_notes(site: Site) -> Iterator[str]:
    """Limits that several gateways each hold by themselves."""
    spec = site.fleet.spec.gateway
    limited = [t.name for t in spec.tenants if any(q.model_fields_set for q in (t.limits, *(k.limits for k in t.keys)))]
    most = spec.scale.max_replicas
    if limited and spec.limits.url is None and most > 1:
        whom = ", ".join(limited[:3]) + (f" and {len(limited) - 3} more" if len(limited) > 3 else "")
        yield (
            f"up to {most} gateways each hold the limits of {whom} by themselves, so that together they allow up to "
            f"{most} times as much: name a Redis that they share in `gateway.limits.url`."
        )
