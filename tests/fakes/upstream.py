"""An engine made of bytes: it says exactly what a test scripts, on real sockets, and tells what was done to it.

    async def script(link: Link) -> None:
        await link.request()
        await link.send(b"HTTP/1.1 200 OK\\r\\n...")

    async with ScriptedUpstream(script) as upstream: ...

For an engine that speaks HTTP by itself see `fakes.engine`.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

PATIENCE_S = 10.0
"""How long anything may take before a test fails instead of hanging."""


async def eventually(is_so: Callable[[], bool]) -> None:
    """Waits, within bounds, for what no event tells."""
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@dataclass(frozen=True)
class Received:
    """One request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes


def close_hard(writer: asyncio.StreamWriter) -> None:
    """Closes with RST instead of FIN."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Link:
    """One connection from the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.requests: list[Received] = []
        self._is_watched = False
        self._lost = asyncio.Event()

    async def request(self) -> Received:
        """Reads one request whole."""
        async with asyncio.timeout(PATIENCE_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            line, *lines = head.rstrip("\r\n").split("\r\n")
            headers = {name.lower(): value for name, value in (text.split(": ", 1) for text in lines)}
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        received = Received(line, headers, body)
        self.requests.append(received)
        return received

    async def send(self, data: bytes) -> None:
        """Sends, and waits while the gateway does not read."""
        if self.writer.is_closing():
            raise ConnectionResetError  # uvloop says RuntimeError to a write after the end
        self.writer.write(data)
        await self.writer.drain()

    def close(self) -> None:
        """Ends in order."""
        self.writer.close()

    def reset(self) -> None:
        """Ends with RST."""
        close_hard(self.writer)

    async def gone(self) -> None:
        """Returns when the gateway has cut this connection. The script and the test may both ask."""
        async with asyncio.timeout(PATIENCE_S):
            if self._is_watched:
                await self._lost.wait()
                return
            self._is_watched = True
            with suppress(ConnectionError):
                while await self.reader.read(65_536):
                    pass
            self._lost.set()


Script = Callable[[Link], Awaitable[None]]


@dataclass
class ScriptedUpstream:
    """Serves each connection with `script`; `links` are the connections in the order in which they came."""

    script: Script
    links: list[Link] = field(default_factory=list)
    port: int = 0
    tls: ssl.SSLContext | None = None

    async def __aenter__(self) -> Self:
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for link in self.links:
            link.writer.transport.abort()
        await asyncio.gather(*(link.writer.wait_closed() for link in self.links), return_exceptions=True)
        await self._server.wait_closed()

    @property
    def requests(self) -> list[Received]:
        return [request for link in self.links for request in link.requests]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        link = Link(reader, writer)
        self.links.append(link)
        try:
            await self.script(link)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the gateway went away, or the test is over
        finally:
            self._tasks.discard(task)


def always(answer: bytes) -> Script:
    """Answers each request with the same bytes, on a connection that is kept."""

    async def script(link: Link) -> None:
        while True:
            await link.request()
            await link.send(answer)

    return script


def once(*pieces: bytes) -> Script:
    """Reads a request, sends these pieces, and closes in order."""

    async def script(link: Link) -> None:
        await link.request()
        for piece in pieces:
            await link.send(piece)
        link.close()

    return script


async def silent(link: Link) -> None:
    """Reads a request and never answers."""
    await link.request()
    await link.gone()
