"""The gateways of one fleet and what they last said: from readings to one observation. Pure.

A gateway counts with its last word for as long as that is fresh. After that it is unknown: one that the cluster still
sends requests to counts as the mean of those that are heard, one that is starting, failing or ending is left out. One
that is gone is gone, and its requests with it. Where none is heard, nothing is known.

Guarantees: a gateway that serves never counts as 0 for want of an answer; a counter that begins anew never counts as
asked twice. One owner: whoever reads the gateways.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from penstock.operate.scaling.page import Reading
from penstock.operate.scaling.recommend import Observation

__all__ = ["GATEWAYS_MAX", "HOLD_S", "GatewayAddress", "Gateways", "gateway_addresses"]

HOLD_S = 30.0
"""Seconds for which a gateway's last word counts: a restart or a slow moment is shorter, a scale-down window longer."""
GATEWAYS_MAX = 500
_PORT_NAME = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayAddress:
    """One gateway's admin port."""

    id: str
    """Its pod."""
    host: str
    port: int
    is_serving: bool
    """Whether the cluster sends it requests."""

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Word:
    reading: Reading
    at: float


class Gateways:
    """What is known of each gateway."""

    def __init__(self) -> None:
        self._addresses: dict[str, GatewayAddress] = {}
        self._words: dict[str, _Word] = {}
        self._asked: set[str] = set()
        self._strangers: set[str] | None = None
        """Gateways older than we: what they counted before we came is no news. None: we have seen none yet."""

    @property
    def addresses(self) -> tuple[GatewayAddress, ...]:
        return tuple(self._addresses.values())

    def keep(self, addresses: Iterable[GatewayAddress]) -> None:
        """Takes the gateways that there are; what is not among them is gone."""
        self._addresses = {found.id: found for found in list(addresses)[:GATEWAYS_MAX]}
        self._words = {key: word for key, word in self._words.items() if key in self._addresses}
        if self._strangers is None:
            self._strangers = set(self._addresses)

    def take(self, gateway: str, reading: Reading, now: float) -> None:
        """Takes what a gateway says; from one that is gone it is nothing any more."""
        if gateway not in self._addresses:
            return
        word = self._words.get(gateway)
        before: Mapping[str, float] = word.reading.asked if word is not None else {}
        if word is None and gateway in (self._strangers or ()):
            before = reading.asked
        for model, count in reading.asked.items():
            known = before.get(model, 0.0)
            if count > (known if count >= known else 0.0):
                self._asked.add(model)
        self._words[gateway] = _Word(reading=reading, at=now)

    def heard(self, now: float) -> int:
        """Gateways whose word is fresh."""
        return sum(now - word.at <= HOLD_S for word in self._words.values())

    def observe(self, models: Iterable[str], now: float) -> dict[str, Observation]:
        """One observation of each model. Who asked since the last time is told once."""
        asked, self._asked = self._asked, set()
        fresh = {key: word.reading for key, word in self._words.items() if now - word.at <= HOLD_S}
        silent = sum(found.is_serving and key not in fresh for key, found in self._addresses.items())
        return {
            model: Observation(
                at=now,
                in_flight=_total([reading.in_flight.get(model, 0.0) for reading in fresh.values()], silent),
                is_asked=model in asked,
                heard=len(fresh),
                gateways=len(fresh) + silent,
            )
            for model in models
        }


def _total(known: list[float], silent: int) -> float | None:
    """The sum, where those that are silent have as much as the others on the mean."""
    return sum(known) * (1 + silent / len(known)) if known else None


def gateway_addresses(slices: Iterable[Mapping[str, Any]]) -> list[GatewayAddress]:
    """The gateways in the EndpointSlices of their Service, each once. What says nothing usable is passed over."""
    found: dict[str, GatewayAddress] = {}
    for body in slices:
        port = _port(body.get("ports"))
        for address in _addresses(body.get("endpoints"), port) if port is not None else ():
            known = found.get(address.id)
            if known is None or (address.is_serving and not known.is_serving):
                found[address.id] = address
    return [address for _, address in sorted(found.items())]


def _port(ports: Any) -> int | None:
    for entry in ports if isinstance(ports, list) else ():
        if isinstance(entry, dict) and entry.get("name") == _PORT_NAME:
            port = entry.get("port")
            return port if isinstance(port, int) and 0 < port < 65536 else None
    return None


def _addresses(endpoints: Any, port: int) -> Iterator[GatewayAddress]:
    for entry in endpoints if isinstance(endpoints, list) else ():
        if not isinstance(entry, dict):
            continue
        hosts = entry.get("addresses")
        host = hosts[0] if isinstance(hosts, list) and hosts else None
        if not isinstance(host, str) or not _is_address(host):
            continue
        target, said = entry.get("targetRef"), entry.get("conditions")
        pod = target.get("name") if isinstance(target, dict) else None
        conditions = said if isinstance(said, dict) else {}
        is_serving = conditions.get("ready") is not False and conditions.get("terminating") is not True
        yield GatewayAddress(id=pod if isinstance(pod, str) else host, host=host, port=port, is_serving=is_serving)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
