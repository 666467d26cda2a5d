"""The controller's own port: probes, and what Prometheus asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from penstock.operate.controller import Phase

__all__ = ["Counts", "health_app"]


class Counts:
    """What the controller counts; one series for each Fleet of its namespace."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("fleet",)
        self._reconciles = Counter(
            "penstock_controller_reconciles", "Times a fleet was looked at.", labels, registry=self.registry
        )
        self._faults = Counter(
            "penstock_controller_faults", "Faults of the controller itself.", labels, registry=self.registry
        )
        self._phase = Gauge(
            "penstock_controller_phase",
            "1 for the phase that a fleet is in.",
            ("fleet", "phase"),
            registry=self.registry,
        )
        self._ready = Gauge(
            "penstock_controller_fleet_ready", "Whether all of a fleet serves.", labels, registry=self.registry
        )

    def fault(self, fleet: str) -> None:
        """A fault of the controller itself, at a fleet."""
        self._faults.labels(fleet).inc()

    def reconciled(self, fleet: str) -> None:
        """A fleet is looked at."""
        self._reconciles.labels(fleet).inc()

    def phase(self, fleet: str, phase: Phase) -> None:
        """A fleet is in this phase, and in no other."""
        for known in Phase:
            self._phase.labels(fleet, known.value).set(1.0 if known is phase else 0.0)

    def ready(self, fleet: str, *, is_ready: bool) -> None:
        """Whether all of a fleet serves."""
        self._ready.labels(fleet).set(1.0 if is_ready else 0.0)

    def forget(self, fleet: str) -> None:
        """A fleet is gone."""
        for metric in (self._reconciles, self._faults, self._ready):
            metric.remove(fleet)
        for known in Phase:
            self._phase.remove(fleet, known.value)


def health_app(
    counts: Counts,
    is_watching: Callable[[], bool],
    scaling: Callable[[], Sequence[dict[str, Any]]] | None = None,
) -> Starlette:
    """`/healthz`: the event loop turns; `/readyz`: Fleets are watched; `/metrics`; `/api/v1/scaling`: what KEDA is
    told of each model, and why. `scaling` None: KEDA is not answered."""

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        return PlainTextResponse("ok\n") if is_watching() else PlainTextResponse("not watching yet\n", status_code=503)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(counts.registry), media_type=CONTENT_TYPE_LATEST)

    async def forecasts(_: Request) -> Response:
        return JSONResponse({"is_on": scaling is not None, "models": list(scaling()) if scaling is not None else []})

    paths = {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics, "/api/v1/scaling": forecasts}
    return Starlette(routes=[Route(path, answer) for path, answer in paths.items()])
