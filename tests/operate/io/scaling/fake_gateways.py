"""Gateways that say what a test wants, on loopback, and a Scaler with a hand on its clock: for the tests here."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import web

from operate.scaling.pages import page

FLEET = "f"


class FakeGateway:
    """One gateway's `/metrics`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.loads: dict[str, float] = {}
        self.finished: dict[tuple[str, str], float] = {}
        self.body: bytes | None = None
        """Sent in place of the page."""
        self.status = 200
        self.port = 0
        self.connections: set[Any] = set()
        self.reads = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        assert self._runner.addresses
        self.port = self._runner.addresses[0][1]

    async def die(self) -> None:
        """Nothing listens there any more."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        self.connections.add(request.transport)
        self.reads += 1
        body = page(FLEET, self.loads, self.finished) if self.body is None else self.body
        return web.Response(body=body, status=self.status, content_type="text/plain")

    def slice(self, namespace: str = "ai", **conditions: bool) -> dict[str, Any]:
        """An EndpointSlice with this gateway alone."""
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{FLEET}-gateway-{self.name}",
                "namespace": namespace,
                "labels": {"kubernetes.io/service-name": f"{FLEET}-gateway"},
            },
            "addressType": "IPv4",
            "endpoints": [
                {
                    "addresses": ["127.0.0.1"],
                    "conditions": {"ready": True, "serving": True, "terminating": False, **conditions},
                    "targetRef": {"kind": "Pod", "name": self.name, "namespace": namespace},
                }
            ],
            "ports": [{"name": "admin", "port": self.port, "protocol": "TCP"}],
        }


@contextlib.asynccontextmanager
async def gateways(loads: Mapping[str, Mapping[str, float]]) -> AsyncIterator[dict[str, FakeGateway]]:
    """Gateways by name, with these loads."""
    made = {name: FakeGateway(name) for name in loads}
    try:
        for name, gateway in made.items():
            gateway.loads = dict(loads[name])
            await gateway.start()
        yield made
    finally:
        for gateway in made.values():
            await gateway.die()
