"""Reads gateways' `/metrics` over connections that are kept.

Guarantees: one request at a time for each gateway, all gateways side by side, every one within a bound of seconds and
bytes; a gateway that does not answer well is told as that, and raises nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import TracebackType

import aiohttp

from penstock.operate.scaling import GatewayAddress, Reading, read_page

__all__ = ["Reader"]

ANSWER_TIMEOUT_S = 3.0
"""Seconds for a whole page: a gateway writes it in milliseconds; less than a beat."""
CONNECT_TIMEOUT_S = 1.0
PAGE_BYTES_MAX = 16 * 1024 * 1024
"""A page grows with tenants times models: 1000 tenants of 20 models that use three outcomes each have about 6 MB."""


class Reader:
    """Connections to gateways, while the block runs."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Reader:
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=0, limit_per_host=1)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def read(self, gateways: Iterable[GatewayAddress], fleet: str) -> dict[str, Reading | str]:
        """What each gateway says, by its id; or why it says nothing."""
        async with asyncio.TaskGroup() as group:
            tasks = {gateway.id: group.create_task(self._read(gateway, fleet)) for gateway in gateways}
        return {key: task.result() for key, task in tasks.items()}

    async def _read(self, gateway: GatewayAddress, fleet: str) -> Reading | str:
        assert self._session is not None
        try:
            async with self._session.get(f"{gateway.url}/metrics", allow_redirects=False) as response:
                if response.status != 200:
                    return f"answered {response.status}"
                page = await _body(response)
        except TimeoutError:
            return f"no whole answer in {ANSWER_TIMEOUT_S:g} s"
        except (aiohttp.ClientError, OSError) as error:
            return f"no answer ({type(error).__name__})"
        reading = read_page(page, fleet) if page is not None else None
        return reading or "its answer is no whole page of a gateway of this fleet"


async def _body(response: aiohttp.ClientResponse) -> bytes | None:
    """The whole body; None where it is larger than we read."""
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > PAGE_BYTES_MAX:
            response.close()
            return None
        parts.append(part)
    return b"".join(parts)
