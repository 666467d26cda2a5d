"""Reads each engine's `/metrics` once a second: load for routing and the dashboard, and proof that the engine lives.

Guarantees: one keep-alive connection and at most one request at a time for each endpoint; endpoints are read at
different moments of the second, so that their readings never hold the event loop together; an endpoint that leaves the
table is left alone within a second. An engine without `/metrics` is fine: any answer is proof of life.
Only a failed contact counts as a failure. A slow or wrong answer does not: a busy engine is not a dead one.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

import aiohttp

from penstock.serve.routing.endpoints import Endpoint, EndpointTable
from penstock.serve.wire.prometheus import parse_engine_metrics

__all__ = ["Scraper"]

CONNECT_TIMEOUT_S = 1.0
"""Seconds to connect: engines are in the same machine or cluster."""
ANSWER_TIMEOUT_S = 5.0
"""Seconds for a whole answer: vLLM answers in milliseconds, and in seconds when its API server is saturated."""
BODY_BYTES_MAX = 4 * 1024 * 1024
"""Bytes read of one answer; vLLM sends 75 KB, more with adapters."""
NO_METRICS_INTERVALS = 10
"""Intervals until an engine that has no `/metrics` is asked again, so as not to fill its log."""

_CONTACT_FAILED = (aiohttp.ClientConnectionError, ConnectionError)
_GOLDEN = 0.618033988749895


class Scraper:
    """Reads the engines of one table until cancelled. `run` once."""

    def __init__(
        self,
        table: EndpointTable,
        interval_s: float = 1.0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._table = table
        self._interval_s = interval_s
        self._clock = clock
        self._turn = 0

    async def run(self) -> None:
        """Reads every endpoint of the table, also those that come later, until cancelled."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=0, limit_per_host=1)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session,
            asyncio.TaskGroup() as group,
        ):
            tasks: dict[int, tuple[Endpoint, asyncio.Task[None]]] = {}
            while True:
                present = {id(endpoint): endpoint for endpoint in self._table.all()}
                for key in tasks.keys() - present.keys():
                    tasks.pop(key)[1].cancel()
                for key in present.keys() - tasks.keys():
                    endpoint = present[key]
                    tasks[key] = endpoint, group.create_task(self._follow(session, endpoint))
                await asyncio.sleep(self._interval_s)

    async def _follow(self, session: aiohttp.ClientSession, endpoint: Endpoint) -> None:
        """Reads one endpoint on its own beat, whose phase spreads evenly over the interval."""
        self._turn += 1
        phase_s = self._interval_s * (self._turn * _GOLDEN % 1.0)
        due = self._clock() + phase_s
        while True:
            has_metrics = await self.read(session, endpoint)
            due = max(due, self._clock())
            await asyncio.sleep(due - self._clock())
            due += self._interval_s * (1 if has_metrics else NO_METRICS_INTERVALS)

    async def read(self, session: aiohttp.ClientSession, endpoint: Endpoint) -> bool:
        """Reads one endpoint once; False where it answers and has no metrics for us."""
        try:
            async with session.get(f"{endpoint.url}/metrics", allow_redirects=False) as response:
                body = await _body(response) if response.status == 200 else None
                status = response.status
        except _CONTACT_FAILED as error:
            if self._table.get(endpoint.id) is endpoint:
                self._table.failed(endpoint, f"metrics: {_words(error)}", self._clock())
            return True
        except (aiohttp.ClientError, TimeoutError):
            return True
        if self._table.get(endpoint.id) is not endpoint:
            return True
        return self._take(endpoint, status, body)

    def _take(self, endpoint: Endpoint, status: int, body: bytes | None) -> bool:
        if status >= 500:
            return True
        sample = parse_engine_metrics(body, self._clock(), endpoint.sample) if body else None
        if sample is None:
            self._table.succeeded(endpoint)
            return False
        self._table.observe(endpoint.id, sample)
        return True


async def _body(response: aiohttp.ClientResponse) -> bytes | None:
    """The whole body; None where it is larger than we read."""
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > BODY_BYTES_MAX:
            response.close()
            return None
        parts.append(part)
    return b"".join(parts)


def _words(error: BaseException) -> str:
    """What went wrong in a few words, without the address, which is shown beside it."""
    match error:
        case aiohttp.ConnectionTimeoutError():
            return "no connection in time"
        case aiohttp.ServerDisconnectedError():
            return "connection closed"
        case OSError(errno=int(number)) if number > 0:
            return os.strerror(number).lower()
        case _:
            return type(error).__name__
