"""The follower against a real ZeroMQ publisher that sends vLLM's bytes: batches, gaps that are filled, and gaps not."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import zmq
import zmq.asyncio

from penstock.serve.io.kv_events import KvFollower
from penstock.serve.routing import EndpointAddress, EndpointTable


def payload(name: bytes) -> bytes:
    event = {
        "type": "BlockStored",
        "block_hashes": [name],
        "parent_block_hash": None,
        "token_ids": [name[0]] * 16,
        "block_size": 16,
        "lora_id": None,
        "medium": "GPU",
        "lora_name": None,
    }
    return msgspec.msgpack.encode([1.0, [event], 0])


class Publisher:
    """vLLM's two sockets: PUB, and ROUTER that replays, at the next port."""

    def __init__(self, context: zmq.asyncio.Context) -> None:
        self._pub, self._router = context.socket(zmq.XPUB), context.socket(zmq.ROUTER)
        while True:
            self.port = self._pub.bind_to_random_port("tcp://127.0.0.1")
            try:
                self._router.bind(f"tcp://127.0.0.1:{self.port + 1}")
                break
            except zmq.ZMQError:
                self._pub.unbind(f"tcp://127.0.0.1:{self.port}")

    async def subscribed(self) -> None:
        await self._pub.recv()

    async def send(self, sequence: int, name: bytes) -> None:
        await self._pub.send_multipart((b"", sequence.to_bytes(8, "big"), payload(name)))

    async def replay(self, batches: dict[int, bytes]) -> None:
        client, _, start = await self._router.recv_multipart()
        first = int.from_bytes(start, "big")
        for sequence, name in batches.items():
            if sequence >= first:
                parts = (client, b"", b"", sequence.to_bytes(8, "big"), payload(name))
                await self._router.send_multipart(parts)
        await self._router.send_multipart((client, b"", b"", (-1).to_bytes(8, "big", signed=True), b""))

    def close(self) -> None:
        self._pub.close(linger=0)
        self._router.close(linger=0)


async def follow(replayed: dict[int, bytes]) -> list[tuple[int, bool]]:
    """Batches 0, 1 and 4 are seen; what was in between is replayed, or not."""
    context = zmq.asyncio.Context()
    publisher = Publisher(context)
    seen: asyncio.Queue[tuple[int, bool]] = asyncio.Queue()
    table = EndpointTable()
    table.set_pool("chat", [EndpointAddress(id="chat-0", host="127.0.0.1", port=1)])

    def note(_: Any, tokens: int, is_lost: bool) -> None:
        seen.put_nowait((tokens, is_lost))

    running = asyncio.create_task(KvFollower(table, publisher.port, note).run())
    try:
        await publisher.subscribed()
        found = []
        for sequence, name in ((0, b"a"), (1, b"b")):
            await publisher.send(sequence, name)
            found.append(await seen.get())
        await publisher.send(4, b"e")
        await publisher.replay(replayed)
        found.append(await seen.get())
        return found
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        publisher.close()
        context.destroy(linger=0)


def test_a_gap_is_filled_from_the_engines_replay() -> None:
    assert asyncio.run(follow({1: b"b", 2: b"c", 3: b"d", 4: b"e"})) == [(16, False), (32, False), (80, False)]


def test_a_gap_that_the_engine_cannot_fill_leaves_the_cache_unknown() -> None:
    assert asyncio.run(follow({})) == [(16, False), (32, False), (-1, True)]
