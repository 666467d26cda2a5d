"""The connection tells its requests that the client has gone."""

from __future__ import annotations

import asyncio

from penstock.simulate.io.engine.protocol import EngineProtocol
from simulate.io.engine.running import running_engine


async def _connections(engine: object) -> list[EngineProtocol]:
    server = engine.server._server  # type: ignore[attr-defined]
    return [one for one in server.server_state.connections if isinstance(one, EngineProtocol)]


def test_watchers_are_called_when_the_client_goes_away() -> None:
    async def watch(connection: EngineProtocol) -> asyncio.Event:
        gone = asyncio.Event()
        connection.watchers.add(gone.set)
        return gone

    with running_engine() as engine:
        client = engine.connect()
        client.send("GET", "/health")
        client.read()
        (connection,) = engine.run(_connections(engine))
        gone = engine.run(watch(connection))
        client.close()

        assert engine.run(gone.wait())


def test_cut_closes_the_connection_once() -> None:
    async def cut(connection: EngineProtocol) -> bool:
        connection.cut()
        connection.cut()
        connection.end()
        return connection.transport.is_closing()

    with running_engine() as engine, engine.connect() as client:
        client.send("GET", "/health")
        client.read()
        (connection,) = engine.run(_connections(engine))

        assert engine.run(cut(connection))
        assert client.socket.recv(1) == b""
