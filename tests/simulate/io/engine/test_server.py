"""The server's life: bind, serve, drain, end."""

from __future__ import annotations

import asyncio
import socket

import pytest

from penstock.errors import StartError
from penstock.simulate.io.engine import EngineServer, bind
from simulate.io.engine.running import Connection, running_engine, settings

SLOW = {"prompt": "hi", "max_tokens": 900, "stream": True, "ignore_eos": True}


def test_a_port_that_is_taken_is_said_by_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"cannot listen on 127.0.0.1:{port}: .*in use"):
            bind("127.0.0.1", port)


def test_an_address_that_is_not_ours_is_said() -> None:
    with pytest.raises(StartError, match=r"cannot listen on 192\.0\.2\.1:0"):
        bind("192.0.2.1", 0)


def test_a_bound_socket_refuses_until_the_server_starts() -> None:
    with bind("127.0.0.1", 0) as listener, pytest.raises(ConnectionRefusedError):
        socket.create_connection(listener.getsockname())


def test_it_listens_on_ipv6_too() -> None:
    try:
        with bind("::1", 0) as listener:
            assert listener.family == socket.AF_INET6
    except StartError:
        pytest.skip("this machine has no IPv6")


def test_the_end_cuts_streams_and_closes_every_connection() -> None:
    with running_engine(speed=0.001) as engine:
        stream, idle = engine.connect(), engine.connect()
        stream.send("POST", "/v1/completions", SLOW)
        stream.read_head()
        idle.send("GET", "/health")
        idle.read()

    with pytest.raises(ConnectionError):
        stream.read_chunk()
    assert idle.socket.recv(1) == b""
    stream.close()
    idle.close()


def drained(speed: float, drain_s: float) -> tuple[list[bytes], int]:
    """Chunks of a stream that runs when the server begins to drain, and the status of a request made then."""
    chunks: list[bytes] = []
    statuses: list[int] = []

    def talk(stream: Connection, later: Connection) -> None:
        later.send("POST", "/v1/completions", {"prompt": "late", "max_tokens": 1})
        statuses.append(later.read().status)
        try:
            chunks.extend(iter(stream.read_chunk, b""))
        except ConnectionError:
            chunks.append(b"")

    async def main() -> None:
        server = EngineServer(settings(speed=speed), bind("127.0.0.1", 0))
        async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
            await server.start(tasks)
            first = await asyncio.to_thread(Connection, server.port)
            later = await asyncio.to_thread(Connection, server.port)
            first.send("POST", "/v1/completions", SLOW | {"max_tokens": 100})
            await asyncio.to_thread(first.read_head)
            later.send("GET", "/health")
            await asyncio.to_thread(later.read)
            talking = tasks.create_task(asyncio.to_thread(talk, first, later))
            await server.stop(drain_s)
            await talking
            first.close()
            later.close()

    asyncio.run(main())
    return chunks, statuses[0]


def test_running_streams_finish_while_new_requests_are_refused() -> None:
    chunks, status = drained(speed=5.0, drain_s=20.0)

    assert chunks[-1] == b"data: [DONE]\n\n"
    assert status == 500


def test_a_drain_that_takes_too_long_is_cut() -> None:
    chunks, _ = drained(speed=0.001, drain_s=0.2)

    assert chunks[-1] == b""
