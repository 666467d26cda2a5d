"""A real Redis on loopback that tests may freeze, kill and start again, and limiters on it."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import hiredis

from bench.limits import RedisServer
from penstock.serve.flow import Ask, Reservation, Scope, Usage, Verdict
from penstock.serve.io.limits import RedisAddress, RedisLimiter
from serve.flow.asks import ask

NOVEMBER = 1_795_000_000.0
"""Some Unix time in the middle of a month."""


class Redis(RedisServer):
    """One server, and a plain way to ask it."""

    def call(self, *words: str | bytes) -> Any:
        reader = hiredis.Reader()
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(hiredis.pack_command(words))
            while (answer := reader.gets()) is False:
                reader.feed(connection.recv(65536))
        return answer

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)


def missing() -> str:
    """Why there can be no Redis here; "" where there can."""
    return "" if shutil.which("redis-server") else "no Redis server is installed (Debian: redis-server)"


@contextmanager
def redis_server(*options: str) -> Iterator[Redis]:
    server = Redis(*options)
    try:
        yield server
    finally:
        server.end()


class Tenant:
    """Asks a limiter and waits for its verdicts."""

    def __init__(self, limiter: RedisLimiter) -> None:
        self.limiter = limiter

    def begin(self, asked: Ask) -> asyncio.Future[Verdict]:
        found: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        verdict = self.limiter.reserve(asked, time.monotonic(), lambda v, _: found.set_result(v))
        if verdict is not None:
            found.set_result(verdict)
        return found

    async def ask(self, *scopes: Scope, given: int = 0, made: int = 0, cost: int = 0) -> Verdict:
        async with asyncio.timeout(10):
            return await self.begin(ask(*scopes, given=given, made=made, cost=cost))

    async def admitted(self, count: int, *scopes: Scope, given: int = 0) -> list[Reservation]:
        """The reservations of so many requests at once."""
        async with asyncio.timeout(10):
            verdicts = await asyncio.gather(*(self.begin(ask(*scopes, given=given)) for _ in range(count)))
        return [v.reservation for v in verdicts if v.reservation is not None]

    def settle(self, reservation: Reservation, **usage: Any) -> None:
        self.limiter.settle(reservation, Usage(**usage), time.monotonic())


@asynccontextmanager
async def gateway(server: RedisServer, **words: Any) -> AsyncIterator[Tenant]:
    """A limiter that lives as long as the block."""
    offset = NOVEMBER - time.monotonic()
    limiter = RedisLimiter(RedisAddress(url=server.url), "demo", unix_offset_s=offset, **words)
    await limiter.begin()
    async with asyncio.TaskGroup() as tasks:
        life = tasks.create_task(limiter.run())
        try:
            yield Tenant(limiter)
        finally:
            life.cancel()
            limiter.close()  # a task that is cancelled before its first step never gets to its own
