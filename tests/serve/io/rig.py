"""A gateway on real sockets between a raw client and scripted engines, with every leak an error.

    def test_x(run: Run) -> None:
        async def main() -> None:
            async with rig(always(answer())) as r:
                async with r.client() as client: ...
        run(main)

At its end a rig asserts: every request was counted, logged once and given back; no connection, task or timer is left;
nothing was raised inside a callback.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from fakes.upstream import PATIENCE_S, Script, ScriptedUpstream, close_hard, eventually
from penstock.serve.io.gateway import Gateway
from penstock.serve.record import RequestRecord
from penstock.serve.routing import EndpointAddress
from serve.gateways import KEY, MODELS, TENANTS, config

MESSAGES = [{"role": "user", "content": "hi"}]
Main = Callable[[], Coroutine[Any, Any, None]]
Run = Callable[[Main], None]


def open_sockets() -> set[str]:
    """Sockets open in this process."""
    return {link for fd in os.listdir("/proc/self/fd") if (link := _target(fd)).startswith("socket:")}


def _target(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""  # the folder itself, which was open while it was listed


def run_in(loop_factory: Callable[[], asyncio.AbstractEventLoop] | None, main: Main) -> None:
    """Runs a test on that kind of loop; anything that a callback raised, or left behind, fails it."""
    raised: list[dict[str, Any]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))
        before = open_sockets()
        async with asyncio.timeout(4 * PATIENCE_S):
            await main()
        for _ in range(20):  # sockets are closed by the loop, a turn after they are told to
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert open_sockets() <= before, open_sockets() - before

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(watched())
    gc.collect()
    assert raised == [], raised


@dataclass
class Answer:
    """One response as a client read it."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    interim: int = 0

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """OpenAI's error code."""
        code: str = self.json["error"]["code"]
        return code


class Client:
    """A raw client connection. Strict: framing that is not exactly right fails the test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, *, is_head: bool = False) -> Answer:
        """Reads one response whole. Fails when the connection ends before it does."""
        async with asyncio.timeout(PATIENCE_S):
            got = Answer()
            while not got.status:
                start, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode()[:-4].split("\r\n")
                version, status, _ = start.split(" ", 2)
                assert version == "HTTP/1.1"
                if int(status) < 200:
                    got.interim += 1
                    continue
                got.status = int(status)
                for line in lines:
                    name, value = line.split(": ", 1)
                    assert name not in got.headers
                    got.headers[name] = value
            if not is_head:
                got.body = await self._body(got)
            return got

    async def _body(self, got: Answer) -> bytes:
        if "content-length" in got.headers:
            assert "transfer-encoding" not in got.headers
            return await self.reader.readexactly(int(got.headers["content-length"]))
        assert got.headers["transfer-encoding"] == "chunked"
        pieces = []
        while size := int((await self.reader.readuntil(b"\r\n"))[:-2], 16):
            pieces.append(await self.reader.readexactly(size))
            assert await self.reader.readexactly(2) == b"\r\n"
        assert await self.reader.readexactly(2) == b"\r\n"
        return b"".join(pieces)

    async def until(self, mark: bytes) -> bytes:
        """Reads up to and with `mark`."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.readuntil(mark)

    async def rest(self) -> bytes:
        """Everything up to the end of the connection, however it ends."""
        pieces = []
        async with asyncio.timeout(PATIENCE_S):
            with suppress(ConnectionError):
                while piece := await self.reader.read(1 << 20):
                    pieces.append(piece)
        return b"".join(pieces)

    def reset(self) -> None:
        close_hard(self.writer)


def post(
    path: str = "/v1/chat/completions", *, key: str = KEY, extra: str = "", raw: bytes | None = None, **body: Any
) -> bytes:
    """A request as a client would send it."""
    content = json.dumps({"model": "chat", "messages": MESSAGES, **body}).encode() if raw is None else raw
    auth = f"authorization: Bearer {key}\r\n" if key else ""
    return (
        f"POST {path} HTTP/1.1\r\nhost: h\r\n{auth}content-type: application/json\r\n{extra}"
        f"content-length: {len(content)}\r\n\r\n"
    ).encode() + content


def get(path: str = "/health", *, method: str = "GET", key: str = KEY, version: str = "1.1", extra: str = "") -> bytes:
    return f"{method} {path} HTTP/{version}\r\nhost: h\r\nauthorization: Bearer {key}\r\n{extra}\r\n".encode()


@asynccontextmanager
async def client_of(
    port: int, host: str = "127.0.0.1", *, tls: ssl.SSLContext | None = None, takes_little: bool = False
) -> AsyncIterator[Client]:
    """A connection to whoever listens there; one that `takes_little` fills up soon when it is not read."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if takes_little:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    sock.setblocking(False)
    name = "localhost" if tls is not None else None
    try:
        await asyncio.get_running_loop().sock_connect(sock, (host, port))
        reader, writer = await asyncio.open_connection(sock=sock, ssl=tls, server_hostname=name, limit=1 << 16)
    except OSError:
        sock.close()
        raise
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@dataclass
class Rig:
    """A running gateway and its surroundings."""

    gateway: Gateway
    upstreams: list[ScriptedUpstream]
    records: list[RequestRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        account, self._noted = self.gateway.exchange_over, asyncio.Event()

        def exchange_over(record: RequestRecord, *, has_begun: bool) -> None:
            account(record, has_begun=has_begun)
            self.records.append(record)
            self._noted.set()

        self.gateway.exchange_over = exchange_over  # type: ignore[method-assign]

    @property
    def upstream(self) -> ScriptedUpstream:
        return self.upstreams[0]

    @asynccontextmanager
    async def client(self, *, tls: ssl.SSLContext | None = None, takes_little: bool = False) -> AsyncIterator[Client]:
        """A connection to the gateway; one that `takes_little` fills up soon when it is not read."""
        host, port = self.gateway.listen_host, self.gateway.listen_port
        async with client_of(port, host, tls=tls, takes_little=takes_little) as client:
            yield client

    async def ask(self, data: bytes) -> Answer:
        """One request on a connection of its own."""
        async with self.client() as client:
            await client.send(data)
            return await client.answer()

    async def ended(self, count: int = 1) -> RequestRecord:
        """Waits until that many requests are over; the last one's record."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.records) < count:
                self._noted.clear()
                await self._noted.wait()
        return self.records[count - 1]

    async def settled(self) -> None:
        """Waits until no client is connected."""
        await eventually(lambda: not self.gateway.connections)


@asynccontextmanager
async def rig(
    *scripts: Script,
    gateway: str = "",
    models: str = MODELS,
    env: Mapping[str, str] | None = None,
    access_log: str = "off",
    listen: str = "127.0.0.1:0",
    authorities: Mapping[str, str] | None = None,
) -> AsyncIterator[Rig]:
    """A gateway whose model `chat` is served by one scripted engine for each script.

    `gateway` is more of `spec.gateway`, indented by four; `models` are those of the file.
    """
    more = f"{gateway}    accessLog: {json.dumps(access_log)}\n{TENANTS}"
    settings = config(more, models, env=env, file_listen=listen, authorities=authorities)
    async with AsyncExitStack() as stack:
        upstreams = [await stack.enter_async_context(ScriptedUpstream(script)) for script in scripts]
        made = Gateway(settings)
        made.endpoints.set_pool(
            "chat", [EndpointAddress(id=f"chat-{n}", host="127.0.0.1", port=u.port) for n, u in enumerate(upstreams)]
        )
        await made.start()
        running = Rig(made, upstreams)
        try:
            yield running
        finally:
            await made.stop(drain_s=0)
        assert made.connections == 0
        assert made.core.in_flight == 0
        assert all(e.in_flight == 0 for e in made.endpoints.all())
        told = made.telemetry.state(
            made.endpoints, monotonic(), time.time(), listen="", connections=made.connections, is_ready=False
        )["gateway"]
        assert told["in_flight"] == 0
        assert {name: tally.in_flight for name, tally in made.telemetry.tallies() if tally.in_flight} == {}
        if made.config.models.keys() == settings.models.keys():  # counts of a model that is gone go with it
            assert told["requests_total"] == len(running.records)
