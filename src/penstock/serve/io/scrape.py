"""Reads each engine's `/metrics` four times a second: load for routing and the dashboard, and proof that it lives.

Guarantees: one keep-alive connection and at most one request at a time for each endpoint; endpoints are read at
different moments of the interval, so that their readings never hold the event loop together, and a slow one delays no
other; an endpoint that leaves the table is left alone within an interval. An engine without `/metrics` is fine: any
answer is proof of life.
Only a failed contact counts as a failure. A slow or wrong answer does not: a busy engine is not a dead one.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import cast

import httptools

from penstock.serve.routing.endpoints import Endpoint, EndpointTable
from penstock.serve.wire.prometheus import Places, parse_engine_metrics

__all__ = ["INTERVAL_S", "EngineConnection", "Scraper"]

INTERVAL_S = 0.25
"""Default of `routing.scrapeMs`: a quarter of a second's arrivals is what a view of a queue can be wrong by."""
CONNECT_TIMEOUT_S = 1.0
"""Seconds to connect: engines are in the same machine or cluster."""
ANSWER_TIMEOUT_S = 5.0
"""Seconds for a whole answer: vLLM answers in milliseconds, and in seconds when its API server is saturated."""
BODY_BYTES_MAX = 4 * 1024 * 1024
"""Bytes read of one answer; vLLM sends 75 KB, more with adapters."""
HEALTH_S = 1.0
"""Seconds between questions for `/health`: it says that the engine core died before the API server goes."""
NO_METRICS_INTERVALS = 40
"""Intervals until an engine that has no `/metrics` is asked again, so as not to fill its log."""
_GOLDEN = 0.618033988749895


class EngineConnection(asyncio.Protocol):
    """One connection for one GET after another: no pool, no redirects, no decompression, nothing per header."""

    def __init__(self, authority: str) -> None:
        head = f"host: {authority}\r\naccept: text/plain\r\nconnection: keep-alive\r\n\r\n".encode("ascii", "replace")
        self._metrics = b"GET /metrics HTTP/1.1\r\n" + head
        self._health = b"GET /health HTTP/1.1\r\n" + head
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[int, bytes | None]] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._size = 0
        self.places: Places = {}
        """Where this engine's metrics stand in its text."""

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def get(self, *, is_health: bool = False) -> tuple[int, bytes | None]:
        """Status and body of the metrics, or of the engine's health; None for a body that is larger than we read.

        Raises:
            ConnectionError: the engine hung up, or spoke something that is not HTTP.
        """
        if self._transport is None:
            raise ConnectionResetError("connection closed")
        self._parser = httptools.HttpResponseParser(self)
        self._parts, self._size = [], 0
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(self._health if is_health else self._metrics)
        try:
            return await self._answer
        finally:
            self._answer = None

    def close(self) -> None:
        """Hangs up."""
        if self._transport is not None:
            self._transport.abort()

    # asyncio ---------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by class

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._end(error=ConnectionAbortedError("not HTTP"))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if exc is None and self._parts and not self._parser.should_keep_alive():
            self._end()  # a body that ends with its connection
        self._end(error=exc if isinstance(exc, ConnectionError) else ConnectionResetError("connection closed"))

    # httptools -------------------------------------------------------------------------------------------------------

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size <= BODY_BYTES_MAX:
            self._parts.append(body)
        else:
            self._end()
            self.close()

    def on_message_complete(self) -> None:
        self._end()
        if not self._parser.should_keep_alive():
            self.close()

    def _end(self, *, error: ConnectionError | None = None) -> None:
        answer = self._answer
        if answer is None or answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            body = b"".join(self._parts) if self._size <= BODY_BYTES_MAX else None
            answer.set_result((self._parser.get_status_code(), body))


class Scraper:
    """Reads the engines of one table until cancelled. `run` once."""

    def __init__(
        self,
        table: EndpointTable,
        interval_s: float = INTERVAL_S,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._table = table
        self._interval_s = interval_s
        self._clock = clock
        self._turn = 0
        self._connections: dict[int, EngineConnection] = {}

    async def run(self) -> None:
        """Reads every endpoint of the table, also those that come later, until cancelled."""
        async with asyncio.TaskGroup() as group:
            tasks: dict[int, tuple[Endpoint, asyncio.Task[None]]] = {}
            while True:
                present = {id(e): e for e in self._table.all() if not e.is_external}
                for key in tasks.keys() - present.keys():
                    tasks.pop(key)[1].cancel()
                for key in present.keys() - tasks.keys():
                    endpoint = present[key]
                    tasks[key] = endpoint, group.create_task(self._follow(endpoint))
                await asyncio.sleep(self._interval_s)

    async def _follow(self, endpoint: Endpoint) -> None:
        """Reads one endpoint on its own beat, whose phase spreads evenly over the interval."""
        self._turn += 1
        phase_s = self._interval_s * (self._turn * _GOLDEN % 1.0)
        due = self._clock() + phase_s
        health_due = due
        try:
            while True:
                has_metrics = await self.read(endpoint)
                if self._clock() >= health_due:
                    health_due = self._clock() + HEALTH_S
                    await self.ask_health(endpoint)
                due = max(due, self._clock())
                await asyncio.sleep(due - self._clock())
                due += self._interval_s * (1 if has_metrics else NO_METRICS_INTERVALS)
        finally:
            self.forget(endpoint)

    def forget(self, endpoint: Endpoint) -> None:
        """Hangs up on an endpoint."""
        connection = self._connections.pop(id(endpoint), None)
        if connection is not None:
            connection.close()

    async def read(self, endpoint: Endpoint, *, timeout_s: float = ANSWER_TIMEOUT_S) -> bool:
        """Reads one endpoint once; False where it answers and has no metrics for us."""
        try:
            async with asyncio.timeout(timeout_s):
                status, body = await self._get(endpoint)
        except TimeoutError as error:
            self.forget(endpoint)
            if isinstance(error, _NoConnectionError):
                self._failed(endpoint, error)
            return True
        except OSError as error:
            self.forget(endpoint)
            self._failed(endpoint, error)
            return True
        if self._table.get(endpoint.id) is not endpoint:
            return True
        return self._take(endpoint, status, body)

    async def ask_health(self, endpoint: Endpoint, *, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        """Asks one engine how it is, on the connection of its metrics. No answer says nothing: the metrics will."""
        connection = self._connections.get(id(endpoint))
        if connection is None or not connection.is_open:
            return
        try:
            async with asyncio.timeout(timeout_s):
                status, _ = await connection.get(is_health=True)
        except OSError:  # a time-out too: the answer that may still come must not be read as the next one's
            self.forget(endpoint)
            return
        if self._table.get(endpoint.id) is endpoint:
            self._table.health_answered(endpoint, status, self._clock())

    async def _get(self, endpoint: Endpoint) -> tuple[int, bytes | None]:
        """An answer on the connection that is open; once more on a fresh one where the engine had closed that."""
        connection = self._connections.get(id(endpoint))
        if connection is not None and connection.is_open:
            try:
                return await connection.get()
            except ConnectionError:
                pass  # closed as idle while we asked; a process that is gone refuses the next one
        connection = self._connections[id(endpoint)] = await self._connect(endpoint)
        return await connection.get()

    async def _connect(self, endpoint: Endpoint) -> EngineConnection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, connection = await loop.create_connection(
                    lambda: EngineConnection(endpoint.authority), endpoint.host, endpoint.port
                )
        except TimeoutError as error:
            raise _NoConnectionError from error
        return connection

    def _failed(self, endpoint: Endpoint, error: BaseException) -> None:
        if self._table.get(endpoint.id) is endpoint:
            self._table.failed(endpoint, f"metrics: {_words(error)}", self._clock())

    def _take(self, endpoint: Endpoint, status: int, body: bytes | None) -> bool:
        if status >= 500:
            return True
        is_good = status == 200 and body is not None
        connection = self._connections.get(id(endpoint))
        places = connection.places if connection is not None else None
        sample = None
        if is_good:
            sample = parse_engine_metrics(body or b"", self._clock(), endpoint.sample, places=places)
        if sample is None:
            self._table.heard(endpoint, "lives", self._clock())
            return False
        self._table.observe(endpoint.id, sample)
        return True


class _NoConnectionError(TimeoutError):
    """Nobody took the connection in time."""


def _words(error: BaseException) -> str:
    """What went wrong in a few words, without the address, which is shown beside it."""
    match error:
        case _NoConnectionError():
            return "no connection in time"
        case OSError(errno=int(number)) if number > 0:
            return os.strerror(number).lower()
        case ConnectionError(args=(str(words),)):
            return words
        case _:
            return type(error).__name__
