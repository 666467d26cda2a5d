"""The admin port: health, metrics, and the fleet's state as JSON, in the gateway's own event loop.

Read-only but for keys.

    /healthz                  200 while the event loop runs
    /readyz                   200 while the gateway accepts and some model has an endpoint (in a cluster: and has heard
                              which endpoints there are); the body lists each model
    /metrics                  Prometheus text
    /api/v1                   what is here
    /api/v1/state             everything of this moment
    /api/v1/models            the models of it
    /api/v1/endpoints         the endpoints of it
    /api/v1/timeseries        the last `window_s` seconds as arrays
    /api/v1/requests          the last `limit` finished requests
    /api/v1/decisions         the last `limit` routing decisions with their numbers, of one `model` or all
    /api/v1/usage             what was used, for those with a token: see `usage_routes`
    /api/v1/reload            POST: the fleet file is read again, for those with the same token: see `reload_route`
    /api/v1/keys              the keys of the store, for those with a token: see `key_routes`

Guarantees: never prompts, completions or keys. Leaves pages for people to `dashboard`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Protocol

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from penstock.errors import StartError
from penstock.serve.core import Core
from penstock.serve.io.answers import error_answer, json_answer
from penstock.serve.io.guard import Guard
from penstock.serve.io.metrics import CONTENT_TYPE, MetricsPage
from penstock.serve.io.metrics_flow import Leanings
from penstock.serve.platform import DiscoveryState, StoreState
from penstock.serve.routing import decisions_shown
from penstock.serve.routing.condition import health_shown
from penstock.serve.routing.endpoints import EndpointTable
from penstock.serve.telemetry import Telemetry
from penstock.serve.verdict import with_leanings

__all__ = ["AdminServer", "AdminSource", "TelemetrySource", "admin_app", "admin_routes", "is_in_use"]

WINDOW_S_MAX = 900.0
"""Longest `window_s`: what telemetry keeps."""
DECISIONS_MAX = 100_000
"""Largest `limit` of decisions: the most that a fleet file may have kept."""
REQUESTS_MAX = 500
"""Largest `limit`: what telemetry keeps."""
STOP_TIMEOUT_S = 3
"""Seconds that answers in progress get when the port closes."""


class AdminSource(Protocol):
    """What the admin port shows."""

    def state(self) -> dict[str, Any]: ...
    def timeseries(self, window_s: float) -> dict[str, Any]: ...
    def recent(self, limit: int, *, failed_only: bool = False) -> list[dict[str, Any]]: ...
    def metrics(self) -> bytes: ...
    def decisions(self, *, model: str = "", limit: int = 100) -> list[dict[str, Any]]: ...
    def is_ready(self) -> tuple[bool, str]:
        """Whether a request could be served now; if not, why."""
        ...


class TelemetrySource:
    """The `AdminSource` of a running gateway."""

    def __init__(
        self,
        telemetry: Telemetry,
        table: EndpointTable,
        *,
        listen: Callable[[], str],
        connections: Callable[[], int],
        is_accepting: Callable[[], bool],
        discovery: Callable[[], DiscoveryState | None] | None = None,
        store: Callable[[], StoreState | None] = lambda: None,
        core: Core | None = None,
        leanings: Leanings | None = None,
    ) -> None:
        self._core = core
        self._leanings = leanings if leanings is not None else Leanings()
        self._telemetry = telemetry
        self._table = table
        self._listen = listen
        self._connections = connections
        self._is_accepting = is_accepting
        self._discovery = discovery if discovery is not None else lambda: None
        self._store = store
        self._page = MetricsPage(
            telemetry,
            table,
            now=time.monotonic,
            connections=connections,
            discovery=self._discovery,
            store=store,
            core=core,
            leanings=self._leanings,
        )

    def state(self) -> dict[str, Any]:
        whole = self._telemetry.state(
            self._table,
            time.monotonic(),
            time.time(),
            listen=self._listen(),
            connections=self._connections(),
            is_ready=self.is_ready()[0],
            discovery=self._discovery(),
            store=self._store(),
        )
        limits, ledger = self._leanings.limits(), self._leanings.ledger()
        whole["gateway"] |= {
            "limits": asdict(limits) if limits is not None else None,
            "ledger": asdict(ledger) if ledger is not None else None,
        }
        whole["problems"] = with_leanings(whole["problems"], whole["gateway"])
        if self._core is not None:
            _add_flow(whole["models"], self._core, time.monotonic())
        return whole

    def decisions(self, *, model: str = "", limit: int = 100) -> list[dict[str, Any]]:
        return [] if self._core is None else decisions_shown(self._core.decisions, model=model, limit=limit)

    def timeseries(self, window_s: float) -> dict[str, Any]:
        return self._telemetry.timeseries(window_s, time.monotonic(), time.time())

    def recent(self, limit: int, *, failed_only: bool = False) -> list[dict[str, Any]]:
        return self._telemetry.recent(limit, failed_only=failed_only)

    def metrics(self) -> bytes:
        return self._page.render()

    def is_ready(self) -> tuple[bool, str]:
        if not self._is_accepting():
            return False, "the gateway does not accept requests: it is starting or draining"
        discovery = self._discovery()
        if discovery is not None:
            # Without endpoints it still answers, waits for them and wakes them: better than no gateway at all.
            why = f": {discovery.error}" if discovery.error else ""
            known = discovery.is_synced
            return known, "" if known else f"{discovery.source} has not told yet which endpoints there are{why}"
        pools, models = self._table.pools, self._telemetry.models
        able = {name for name, pool in pools.items() if pool.ready_count}
        if not any(able & {name, *profile.fallbacks} for name, profile in models.items()):
            return False, "no model has an endpoint that answers"
        return True, ""


def _add_flow(models: list[dict[str, Any]], core: Core, now: float) -> None:
    """What waits for each model, and how each endpoint is."""
    waiting: dict[str, dict[str, int]] = {}
    for line in core.flow.snapshot():
        waiting.setdefault(line.model, {})[line.traffic_class] = line.waiting
    for model in models:
        model["waiting"] = waiting.get(model["name"], {})
        for shown in model["endpoints"]:
            endpoint = core.endpoints.get(shown["id"])
            shown["health_detail"] = health_shown(endpoint, now) if endpoint is not None else None


def admin_routes(source: AdminSource, keys: Sequence[Route] = ()) -> list[Route]:
    """Routes of the admin port over `source`; the index names those of `keys` too."""

    async def healthz(_: Request) -> Response:
        return json_answer({"is_alive": True})

    async def readyz(request: Request) -> Response:
        is_ready, reason = source.is_ready()
        whole = source.state()
        models = [
            {key: model[key] for key in ("name", "replicas_ready", "replicas_desired")} for model in whole["models"]
        ]
        answer = {"is_ready": is_ready, "reason": reason, "models": models}
        answer |= {name: whole["gateway"].get(name) for name in ("store", "limits", "ledger")}
        return json_answer(answer, request=request, status=200 if is_ready else 503)

    async def metrics(_: Request) -> Response:
        return Response(source.metrics(), headers={"content-type": CONTENT_TYPE})

    async def index(request: Request) -> Response:
        return json_answer({"paths": list(dict.fromkeys(r.path for r in routes))}, request=request)

    async def state(request: Request) -> Response:
        return json_answer(source.state(), request=request)

    async def models(request: Request) -> Response:
        return json_answer({"models": source.state()["models"]}, request=request)

    async def endpoints(request: Request) -> Response:
        rows = [{"model": m["name"], **e} for m in source.state()["models"] for e in m["endpoints"]]
        return json_answer({"endpoints": rows}, request=request)

    async def timeseries(request: Request) -> Response:
        window_s = _number(request, "window_s", default=300.0, maximum=WINDOW_S_MAX)
        return json_answer(source.timeseries(window_s), request=request)

    async def requests(request: Request) -> Response:
        limit = int(_number(request, "limit", default=50, maximum=REQUESTS_MAX))
        failed_only = _boolean(request, "failed_only")
        return json_answer({"requests": source.recent(limit, failed_only=failed_only)}, request=request)

    async def decisions(request: Request) -> Response:
        limit = int(_number(request, "limit", default=50, maximum=DECISIONS_MAX))
        found = source.decisions(model=request.query_params.get("model", ""), limit=limit)
        return json_answer({"decisions": found}, request=request)

    routes = [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics),
        Route("/api/v1", index),
        Route("/api/v1/state", state),
        Route("/api/v1/models", models),
        Route("/api/v1/endpoints", endpoints),
        Route("/api/v1/timeseries", timeseries),
        Route("/api/v1/requests", requests),
        Route("/api/v1/decisions", decisions),
        *keys,
    ]
    return routes


def admin_app(source: AdminSource, pages: Sequence[BaseRoute] = (), keys: Sequence[Route] = ()) -> Starlette:
    """The whole app of the admin port: `admin_routes` and what `pages` adds, with errors as JSON."""

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        message = error.detail
        if error.status_code == 404:
            message = "Nothing is here; /api/v1 lists what is"
        return error_answer(error.status_code, message)

    async def broken(_: Request, error: Exception) -> Response:
        return error_answer(
            500, f"The admin port failed to answer ({type(error).__name__}); the gateway is not affected"
        )

    return Starlette(
        routes=[*admin_routes(source, keys), *pages],
        exception_handlers={HTTPException: refused, Exception: broken},
    )


def _number(request: Request, name: str, *, default: float, maximum: float) -> float:
    text = request.query_params.get(name)
    if text is None:
        return default
    with contextlib.suppress(ValueError):
        if 1 <= (value := float(text)) <= maximum:
            return value
    raise HTTPException(400, f"`{name}` is a number from 1 to {maximum:g}, as in ?{name}={default:g}")


def _boolean(request: Request, name: str) -> bool:
    match request.query_params.get(name, "false"):
        case "true" | "1":
            return True
        case "false" | "0":
            return False
        case _:
            raise HTTPException(400, f"`{name}` is true or false")


class AdminServer:
    """Serves an ASGI app in the running event loop. Installs no signal handlers; `stop` closes what `start` opened."""

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        self.host = host
        self.port = port
        """The port asked for, and after `start` the one that is bound."""
        self._app = Guard(app, host=host)
        self._server: uvicorn.Server | None = None
        self._socket: socket.socket | None = None

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def start(self) -> None:
        """Binds and listens.

        Raises:
            StartError: the address is in use or not of this machine.
        """
        listener = await _bind(self.host, self.port)
        try:
            self._server = await self._serve(listener)
        except BaseException:
            listener.close()
            raise
        self._socket = listener
        self.port = listener.getsockname()[1]

    async def _serve(self, listener: socket.socket) -> uvicorn.Server:
        config = uvicorn.Config(
            self._app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=STOP_TIMEOUT_S,
        )
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        # `startup` and `shutdown` without `serve`: that would take the process's signals and wake ten times a second.
        await server.startup(sockets=[listener])
        return server

    async def stop(self) -> None:
        """Stops listening, lets answers in progress finish for a moment, closes connections."""
        if self._server is not None and self._socket is not None:
            server, listener = self._server, self._socket
            self._server = self._socket = None
            await server.shutdown(sockets=[listener])


def is_in_use(error: StartError) -> bool:
    """Whether the port could not be had because another process has it."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE


async def _bind(host: str, port: int) -> socket.socket:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, _, _, _, address = found[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        where = f"{host}:{port}"
        if error.errno == errno.EADDRINUSE:
            raise StartError(
                f"The admin port {where} is in use by another process, so nothing can listen there.",
                hint="stop that process, or choose another port: --admin HOST:PORT (port 0 takes any free one)",
            ) from error
        raise StartError(
            f"The admin port cannot listen on {where}: {error.strerror or error}.",
            hint="choose an address of this machine: --admin 127.0.0.1:8081",
        ) from error
