"""EndpointSlices of a cluster as endpoints of models. Pure.

Guarantees: each pod once, whatever slices it is in, with one address; a pod that ends leaves the pool (`is_draining`)
and keeps its requests; a pod that is not ready is not in the pool, and is told as a replica all the same. Objects that
say nothing usable are passed over: what the network sends is not trusted.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from penstock.serve.platform import PlatformEndpoint
from penstock.serve.routing.endpoints import EndpointAddress

__all__ = ["MODEL_LABEL", "SLICES_MAX", "SliceTable"]

MODEL_LABEL = "penstock.dev/model"
"""Label of Services, and so of their slices, that names the model's objects."""
SLICES_MAX = 20_000
"""Slices that are kept; each holds up to 100 pods, and a fleet of a thousand models needs a few thousand."""
_PORT_NAME = "http"
_SERVICE_LABEL = "kubernetes.io/service-name"

_Phase = Literal["draining", "ready", "starting"]
_ORDER: tuple[_Phase, ...] = ("ready", "starting", "draining")
"""Which address of a pod counts, where it has several: a pod that came back under its old name has a new one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """One pod at one address, as one slice has it."""

    pod: str
    host: str
    port: int
    phase: _Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slice:
    model: str
    places: tuple[_Place, ...]


class SliceTable:
    """The slices of one fleet, by name. Owned by whoever follows them; says what each model's endpoints are."""

    def __init__(self) -> None:
        self._slices: dict[str, _Slice] = {}
        self._by_model: dict[str, set[str]] = {}

    def replace(self, bodies: Iterable[Mapping[str, Any]]) -> set[str]:
        """Takes a whole list: what is not in it is gone. Returns the models it is about, those that are gone too."""
        before = set(self._by_model)
        self._slices, self._by_model = {}, {}
        for body in bodies:
            self.put(body)
        return before | set(self._by_model)

    def put(self, body: Mapping[str, Any]) -> set[str]:
        """Takes a slice that is new or has changed. Returns the models whose endpoints may have changed."""
        name, found = _name(body), _read(body)
        if not name:
            return set()
        before = self._slices.get(name)
        if before == found:
            return set()
        about = self._forget(name)
        if found is not None and len(self._slices) < SLICES_MAX:
            self._slices[name] = found
            self._by_model.setdefault(found.model, set()).add(name)
            about.add(found.model)
        return about

    def remove(self, body: Mapping[str, Any]) -> set[str]:
        """Takes word of a slice that is gone. Returns the model whose endpoints may have changed."""
        return self._forget(_name(body))

    def _forget(self, name: str) -> set[str]:
        gone = self._slices.pop(name, None)
        if gone is None:
            return set()
        names = self._by_model[gone.model]
        names.discard(name)
        if not names:
            del self._by_model[gone.model]
        return {gone.model}

    def __len__(self) -> int:
        return len(self._slices)

    def addresses(self, model: str) -> list[EndpointAddress]:
        """The pool of a model, by the name of its objects: pods that are ready, and those that drain."""
        return [
            EndpointAddress(id=p.pod, host=p.host, port=p.port, is_draining=p.phase == "draining")
            for p in self._pods(model)
            if p.phase != "starting"
        ]

    def replicas(self, model: str) -> dict[str, PlatformEndpoint]:
        """Every pod of a model, also those that are not ready, with its phase."""
        return {place.pod: PlatformEndpoint(phase=place.phase) for place in self._pods(model)}

    def _pods(self, model: str) -> list[_Place]:
        """Each pod once, by name."""
        by_address: dict[tuple[str, str], _Place] = {}
        for name in sorted(self._by_model.get(model, ())):
            for place in self._slices[name].places:
                key = place.pod, place.host
                known = by_address.get(key)
                by_address[key] = place if known is None else _merged(known, place)
        pods: dict[str, _Place] = {}
        for place in by_address.values():
            known = pods.get(place.pod)
            if known is None or _rank(place) < _rank(known):
                pods[place.pod] = place
        return [place for _, place in sorted(pods.items())]


def _merged(one: _Place, other: _Place) -> _Place:
    """One pod at one address in two slices, while it moves between them: an end, once told, stays true."""
    for phase in ("draining", "ready"):
        for place in (one, other):
            if place.phase == phase:
                return place
    return one


def _rank(place: _Place) -> tuple[int, bool, str]:
    """Which address of a pod is used: the liveliest, IPv4 before IPv6."""
    return _ORDER.index(place.phase), ":" in place.host, place.host


def _name(body: Mapping[str, Any]) -> str:
    metadata = body.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""


def _read(body: Mapping[str, Any]) -> _Slice | None:
    """A slice of a model's Service; None where it is none, or is on its way out."""
    metadata = body.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    model = labels.get(MODEL_LABEL) if isinstance(labels, dict) else None
    port = _port(body.get("ports"))
    if not isinstance(model, str) or not isinstance(labels, dict) or port is None:
        return None
    service = str(labels.get(_SERVICE_LABEL, model))
    return _Slice(model=model, places=tuple(_places(body.get("endpoints"), port, service)))


def _port(ports: Any) -> int | None:
    """The port called `http`, or the only one."""
    entries = [entry for entry in ports if isinstance(entry, dict)] if isinstance(ports, list) else []
    named = [entry for entry in entries if entry.get("name") == _PORT_NAME] or entries
    port = named[0].get("port") if len(named) == 1 else None
    return port if isinstance(port, int) and 0 < port < 65536 else None


def _places(endpoints: Any, port: int, service: str) -> Iterator[_Place]:
    for entry in endpoints if isinstance(endpoints, list) else ():
        if not isinstance(entry, dict):
            continue
        addresses = entry.get("addresses")
        host = addresses[0] if isinstance(addresses, list) and addresses else None
        if not isinstance(host, str) or not _is_address(host):
            continue
        target = entry.get("targetRef")
        pod = target.get("name") if isinstance(target, dict) else None
        name = pod if isinstance(pod, str) and pod else f"{service}-{host}"
        yield _Place(pod=name, host=host, port=port, phase=_phase(entry.get("conditions")))


def _is_address(host: str) -> bool:
    """Names are not followed: slices of pods hold addresses."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _phase(conditions: Any) -> _Phase:
    """By the rules of the API: an unset `ready` means ready, an unset `terminating` that it goes on."""
    known = conditions if isinstance(conditions, dict) else {}
    if known.get("terminating") is True:
        return "draining"
    return "starting" if known.get("ready") is False else "ready"
