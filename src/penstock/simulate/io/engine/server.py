"""The engine's HTTP server: binds, serves with uvicorn as vLLM does, and ends in order.

Guarantees: a port that is taken is a `StartError` before anything runs; after `start` connections are accepted; `stop`
leaves no socket and no task. Leaves to others: signals (`cli/engine.py`) and the routes.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

from penstock.errors import StartError
from penstock.simulate.io.engine.app import EngineApp
from penstock.simulate.io.engine.protocol import EngineProtocol
from penstock.simulate.io.engine.service import EngineService, ServiceSettings

__all__ = ["EngineServer", "bind"]

_BACKLOG = 2048
"""Connections that may wait to be accepted; uvicorn's own default."""
_GRACE_S = 2
"""Seconds that answers get to end once nothing runs for them; past it they are cancelled."""
_KEEP_ALIVE_S = 5
"""vLLM's `VLLM_HTTP_TIMEOUT_KEEP_ALIVE` default: idle connections are closed after it."""


def bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet; `StartError` where that cannot be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise StartError(
            f"the engine cannot listen on {host}:{port}: {error}",
            hint="another process may hold the port: choose one with --port, or --port 0 for any free one",
        ) from error
    return listener


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers, and with a listener that can be closed and opened."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def new_protocol(self) -> asyncio.Protocol:
        """A connection, for a listener that was opened again."""
        return EngineProtocol(self.config, self.server_state, {})


class EngineServer:
    """One engine on one socket. Owns the driver task, the listener and its connections."""

    def __init__(self, settings: ServiceSettings, listener: socket.socket) -> None:
        self.host, self.port = listener.getsockname()[:2]
        self._listener = listener
        self._settings = settings
        self._server: _Server | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._driving: asyncio.Task[None] | None = None
        self._serving: asyncio.Task[None] | None = None
        self._listening = asyncio.Event()
        self.service: EngineService

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Starts to serve; the server's tasks run in `tasks` until `stop`."""
        loop = asyncio.get_running_loop()
        self.service = EngineService(settings=self._settings, clock=loop.time, on_refuse=self._refuse)
        self._tasks = tasks
        config = uvicorn.Config(
            EngineApp(self.service),
            http=EngineProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_GRACE_S,
        )
        self._server = server = _Server(config)
        self._driving = tasks.create_task(self.service.driver.run(), name="engine steps")
        config.load()
        self._serving = tasks.create_task(self._serve(server), name="engine http")
        await self._listening.wait()

    async def _serve(self, server: _Server) -> None:
        startup = server.startup

        async def announced(sockets: list[socket.socket] | None = None) -> None:
            await startup(sockets=sockets)
            self._listening.set()

        server.startup = announced  # type: ignore[method-assign]
        await server.serve(sockets=[self._listener])

    async def stop(self, drain_s: float = 0.0) -> None:
        """Lets running requests finish for `drain_s` seconds, then ends everything."""
        assert self._server is not None
        assert self._driving is not None
        assert self._serving is not None
        self.service.is_draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain_s):
                await self.service.quiet.wait()
        self.service.driver.stop()
        self._server.should_exit = True
        for server in self._server.servers:
            server.close()
        await asyncio.sleep(0)
        for connection in list(self._server.server_state.connections):
            if isinstance(connection, EngineProtocol):
                connection.end()
        await self._serving
        self._driving.cancel()

    def _refuse(self, is_refusing: bool) -> None:
        """Closes the listener, or opens it again on the same port."""
        assert self._server is not None
        assert self._tasks is not None
        if is_refusing:
            for server in self._server.servers:
                server.close()
            self._server.servers = []
        elif not self._server.servers:
            self._tasks.create_task(self._listen_again(), name="engine listener")

    async def _listen_again(self) -> None:
        assert self._server is not None
        loop = asyncio.get_running_loop()
        listener = bind(self.host, self.port)
        server: Any = await loop.create_server(self._server.new_protocol, sock=listener, backlog=_BACKLOG)
        self._server.servers = [server]
