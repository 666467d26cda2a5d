"""Follows what engines publish of their prefix caches, over ZeroMQ, and tells the routing policy.

    SUB tcp://engine:port ──▶ batches in order ──▶ KvCache ──▶ policy.cache_seen(endpoint, tokens, is_lost)
    DEALER tcp://engine:port+1 ──▶ batches that were missed, where the engine replays them

Guarantees: one subscription for each endpoint of the table, closed when it leaves; a batch that cannot be read, or a
gap that cannot be filled, makes the endpoint's cache unknown, never wrong; sizes and waits are bounded. An engine that
publishes nothing costs an idle socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import zmq
import zmq.asyncio

from penstock.serve.routing.endpoints import Endpoint, EndpointTable
from penstock.serve.routing.kv_events import KvCache, KvEventError, decode_batch
from penstock.spec.traffic import KV_REPLAY_PORT_AFTER

__all__ = ["KvFollower"]

LOOK_S = 1.0
"""Seconds between two looks at who is in the table."""
MESSAGE_BYTES_MAX = 64 * 1024 * 1024
"""Bytes of one batch: a step of 8,192 tokens is some 100 KB."""
BATCHES_WAITING_MAX = 10_000
"""Batches that wait for us; past it ZeroMQ drops, which is a gap."""
REPLAY_S = 2.0
"""Seconds in which a gap is filled, or given up."""

CacheSeen = Callable[[Endpoint, int, bool], None]
"""Told of each batch: the endpoint, tokens that its cache holds (-1: not known), whether it lost what it held."""


class KvFollower:
    """Follows all endpoints of one table until cancelled. `run` once."""

    def __init__(self, table: EndpointTable, port: int, seen: CacheSeen) -> None:
        self._table = table
        self._port = port
        self._seen = seen
        self.caches: dict[int, KvCache] = {}
        """By `id` of the endpoint."""
        self.batches_total = 0
        self.unread_total = 0
        """Batches that could not be read."""

    async def run(self) -> None:
        """Follows the table's endpoints, also those that come later."""
        context = zmq.asyncio.Context()
        try:
            async with asyncio.TaskGroup() as group:
                tasks: dict[int, tuple[Endpoint, asyncio.Task[None]]] = {}
                while True:
                    present = {id(e): e for e in self._table.all() if not e.is_external}
                    for key in tasks.keys() - present.keys():
                        tasks.pop(key)[1].cancel()
                    for key in present.keys() - tasks.keys():
                        endpoint = present[key]
                        tasks[key] = endpoint, group.create_task(self._follow(context, endpoint, self._port))
                    await asyncio.sleep(LOOK_S)
        finally:
            context.destroy(linger=0)

    async def _follow(self, context: zmq.asyncio.Context, endpoint: Endpoint, port: int) -> None:
        cache = self.caches[id(endpoint)] = KvCache()
        socket = context.socket(zmq.SUB)
        socket.setsockopt(zmq.MAXMSGSIZE, MESSAGE_BYTES_MAX)
        socket.setsockopt(zmq.RCVHWM, BATCHES_WAITING_MAX)
        socket.setsockopt(zmq.IPV6, 1)
        socket.setsockopt(zmq.LINGER, 0)
        socket.subscribe(b"")
        try:
            socket.connect(f"tcp://{_host(endpoint)}:{port}")
            while True:
                parts = await socket.recv_multipart()
                await self._take(context, endpoint, cache, parts)
        finally:
            socket.close(linger=0)
            self.caches.pop(id(endpoint), None)

    async def _take(self, context: zmq.asyncio.Context, endpoint: Endpoint, cache: KvCache, parts: list[bytes]) -> None:
        if len(parts) != 3 or len(parts[1]) != 8:
            self.unread_total += 1
            return
        sequence = int.from_bytes(parts[1], "big")
        is_lost = False
        missed = cache.missed(sequence)
        if missed is not None:
            for number, payload in await self._replayed(context, endpoint, *missed):
                is_lost |= self._read(cache, number, payload)
        is_lost |= self._read(cache, sequence, parts[2])
        self._seen(endpoint, cache.tokens if cache.is_whole else -1, is_lost)

    def _read(self, cache: KvCache, sequence: int, payload: bytes) -> bool:
        """Takes a batch; one that cannot be read leaves a gap."""
        try:
            events = decode_batch(payload)
        except KvEventError:
            self.unread_total += 1
            return False
        self.batches_total += 1
        return cache.take(sequence, events)

    async def _replayed(
        self, context: zmq.asyncio.Context, endpoint: Endpoint, first: int, last: int
    ) -> list[tuple[int, bytes]]:
        """The batches from `first` to `last`, as far as the engine still has them; none where it does not replay."""
        found: list[tuple[int, bytes]] = []
        socket = context.socket(zmq.DEALER)
        socket.setsockopt(zmq.MAXMSGSIZE, MESSAGE_BYTES_MAX)
        socket.setsockopt(zmq.IPV6, 1)
        try:
            socket.connect(f"tcp://{_host(endpoint)}:{self._port + KV_REPLAY_PORT_AFTER}")
            with suppress(TimeoutError):
                async with asyncio.timeout(REPLAY_S):
                    await socket.send_multipart((b"", first.to_bytes(8, "big")))
                    while len(found) <= last - first:
                        parts = await socket.recv_multipart()
                        number = int.from_bytes(parts[-2], "big", signed=True) if len(parts) >= 3 else -1
                        if number < 0 or number > last:
                            break
                        found.append((number, parts[-1]))
        finally:
            socket.close(linger=0)
        return found


def _host(endpoint: Endpoint) -> str:
    return f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
