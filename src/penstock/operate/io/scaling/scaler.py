"""The scaler: follows each fleet's gateways, reads them every few seconds, answers KEDA.

Guarantees: an API server or a gateway that does not answer never ends it; a decision that changed is logged once; a
fleet without a model that scales `via: penstock` costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry

from penstock.operate.apply.failures import ApiFailure
from penstock.operate.apply.port import KubeApi
from penstock.operate.io.kubernetes.mirror import Mirror, mirrored
from penstock.operate.io.scaling.metrics import ScalerCounts
from penstock.operate.io.scaling.reader import Reader
from penstock.operate.io.scaling.server import Bell, ScalerServer
from penstock.operate.scaling import Desk, Policy, Reading, Unknown, gateway_addresses
from penstock.operate.scaling.desk import Change
from penstock.plan.manifests.names import dns_name

__all__ = ["Beat", "Scaler"]

log = logging.getLogger("penstock.scaler")
_SERVICE_LABEL = "kubernetes.io/service-name"
"""Of every EndpointSlice: the Service that it is of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """Seconds. `read`: between two readings of a gateway; three of them are asked for by each HPA. `retry`: after the
    API server did not answer."""

    read: float = 5.0
    retry: float = 5.0


class Scaler:
    """The scaler of one namespace."""

    def __init__(
        self,
        namespace: str,
        *,
        registry: CollectorRegistry,
        clock: Callable[[], float] = time.monotonic,
        beat: Beat | None = None,
    ) -> None:
        self._namespace = namespace
        self._clock = clock
        self._beat = beat or Beat()
        self._desk = Desk(namespace)
        self._bell = Bell()
        self._counts = ScalerCounts(registry, self._desk, clock)
        self._server = ScalerServer(self._desk, self._bell, clock=clock, count=self._counts.call)
        self._wanted: dict[str, asyncio.Event] = {}
        self._silent: dict[str, dict[str, str]] = {}
        self.port = 0
        """The port that is bound, once it listens."""

    async def start(self, host: str, port: int) -> None:
        """Listens for KEDA; port 0: any free one.

        Raises:
            StartError: the address is in use or not of this machine.
        """
        self.port = await self._server.start(host, port)
        log.info("KEDA is answered on %s port %d", host, self.port)

    async def stop(self) -> None:
        """Answers nobody any more."""
        await self._server.stop()

    def take(self, fleet: str, policies: Mapping[str, Policy]) -> None:
        """Takes what of a fleet is forecast, as it is now."""
        self._desk.put(fleet, policies)
        if policies:
            self._wanted.setdefault(fleet, asyncio.Event()).set()
        self._bell.ring()

    def forget(self, fleet: str) -> None:
        """A fleet is gone."""
        self._desk.forget(fleet)
        self._wanted.pop(fleet, None)
        self._silent.pop(fleet, None)
        self._counts.forget(fleet)
        self._bell.ring()

    def rows(self) -> list[dict[str, Any]]:
        """Every model as it is decided now, for `/api/v1/scaling`."""
        return [row.as_json() for row in self._desk.rows(self._clock())]

    async def next_look(self) -> None:
        """Until decisions may have changed."""
        await self._bell.next.wait()

    async def follow(self, api: KubeApi, fleet: str) -> None:
        """Reads a fleet's gateways until cancelled; begins with the first model that is forecast."""
        await self._wanted.setdefault(fleet, asyncio.Event()).wait()
        labels = {_SERVICE_LABEL: dns_name(fleet, "gateway")}
        kinds = {"EndpointSlice": "discovery.k8s.io/v1"}
        while True:
            try:
                async with (
                    Reader() as reader,
                    mirrored(api, self._namespace, kinds, optional={}, labels=labels) as mirror,
                ):
                    while True:
                        await self._look(reader, mirror, fleet)
            except ApiFailure as error:
                self._counts.fault()
                log.warning("fleet %s: its gateways cannot be followed: %s", fleet, error.message)
            except Exception:  # a fault of ours: KEDA is told that nothing is known, and we try again
                self._counts.fault()
                log.exception("fleet %s: a fault of the scaler", fleet)
            await asyncio.sleep(self._beat.retry)

    async def _look(self, reader: Reader, mirror: Mirror, fleet: str) -> None:
        """One beat.

        Raises:
            ApiFailure: the gateways are not told any more.
        """
        began = self._clock()
        await mirror.wait(0)
        if self._desk.has_models(fleet):
            gateways = self._desk.gateways(fleet)
            gateways.keep(gateway_addresses(mirror.all("EndpointSlice")))
            said = await reader.read(gateways.addresses, fleet)
            if not self._desk.has_models(fleet):
                return  # the fleet went meanwhile: nothing of it is counted again
            now = self._clock()
            for gateway, word in said.items():
                if isinstance(word, Reading):
                    gateways.take(gateway, word, now)
                self._counts.read(fleet, is_heard=isinstance(word, Reading))
            self._note_silence(fleet, {key: word for key, word in said.items() if isinstance(word, str)})
            for change in self._desk.observe(fleet, now):
                _tell(change)
            self._bell.ring()
        await asyncio.sleep(max(0.0, self._beat.read - (self._clock() - began)))

    def _note_silence(self, fleet: str, silent: dict[str, str]) -> None:
        """Logs gateways that do not answer when they begin to, and when the reason changes."""
        before = self._silent.get(fleet, {})
        for gateway, reason in silent.items():
            if before.get(gateway) != reason:
                log.warning("fleet %s: gateway %s says nothing of its load: %s", fleet, gateway, reason)
        self._silent[fleet] = silent


def _tell(change: Change) -> None:
    if isinstance(change.decision, Unknown):
        log.warning("fleet %s model %s load=unknown %s", change.fleet, change.model, change.decision.reason)
        return
    words = "fleet %s model %s replicas=%d active=%s %s"
    decision = change.decision
    log.info(words, change.fleet, change.model, change.replicas or 0, decision.is_active, decision.reason)
