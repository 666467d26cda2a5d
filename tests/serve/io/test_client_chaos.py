"""Random clients against random engines from a seed: nobody gets another's bytes, nothing hangs, nothing is left.

A seed that fails is printed by its test's name; add it to SEEDS with a word on what it found.
"""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import suppress
from random import Random
from time import monotonic

import pytest

from fakes.upstream import Link, Received
from penstock.serve.routing import EndpointAddress
from serve.exchanges import DONE, END, SSE_HEAD, answer, chunk, event, head
from serve.io.rig import Client, Rig, Run, get, post, rig

SEEDS = list(range(int(os.environ.get("CHAOS_SEEDS", "8"))))
CLIENTS = 12
TURNS = 8


async def turns(random: Random, most: int = 5) -> None:
    """Lets others go first for a while."""
    for _ in range(random.randrange(most)):
        await asyncio.sleep(0)


def body_of(received: Received) -> dict[str, object]:
    parsed: dict[str, object] = json.loads(received.body)
    return parsed


class Engines:
    """Engines that mostly answer, each with the name of who asked in every piece of what it says."""

    def __init__(self, random: Random) -> None:
        self.random = random

    async def script(self, link: Link) -> None:
        while True:
            received = await link.request()
            await turns(self.random)
            asked = body_of(received)
            if await self._misbehaves(link):
                return
            if asked.get("stream"):
                if not await self._streams(link, asked):
                    return
            else:
                padding = "x" * self.random.choice([0, 100, 50_000, 1_000_000])
                await self._in_pieces(link, answer(json.dumps({"user": asked["user"], "padding": padding}).encode()))

    async def _misbehaves(self, link: Link) -> bool:
        match self.random.randrange(40):
            case 0:
                link.reset()
            case 1:
                link.close()
            case 2:
                await link.send(b"garbage" * 100)
                link.close()
            case 3:
                await link.send(head(b"xx") + b"x")
                link.reset()
            case 4:
                await link.send(answer(b"{}", status="503 Service Unavailable"))
                return False
            case 5:
                await link.send(answer(b'{"user":null}') + b"more")
                await link.gone()
            case 6:
                await link.gone()
            case 7:
                await link.send(SSE_HEAD + b"zz\r\n")
                await link.gone()
            case _:
                return False
        return True

    async def _streams(self, link: Link, asked: dict[str, object]) -> bool:
        await link.send(SSE_HEAD)
        for number in range(self.random.randrange(1, 20)):
            data = chunk(event(user=asked["user"], number=number, padding="x" * self.random.choice([0, 0, 30_000])))
            if self.random.randrange(60) == 0:
                await link.send(data[: self.random.randrange(len(data))])
                link.reset() if self.random.random() < 0.5 else link.close()
                return False
            await self._in_pieces(link, data)
        await self._in_pieces(link, chunk(DONE) + END)
        return True

    async def _in_pieces(self, link: Link, data: bytes) -> None:
        while data:
            size = self.random.choice([1, 10, 1000, 1_000_000, 1_000_000])
            await link.send(data[:size])
            data = data[size:]
            if size < 100:
                await turns(self.random, 3)
                size = 1_000_000
                await link.send(data[:size])
                data = data[size:]


class Caller:
    """One client that calls again and again, in every manner."""

    def __init__(self, r: Rig, random: Random, name: str) -> None:
        self.r = r
        self.random = random
        self.name = name
        self.answered = 0

    async def run(self) -> None:
        for turn in range(TURNS):
            async with self.r.client(takes_little=self.random.random() < 0.2) as client:
                with suppress(asyncio.IncompleteReadError, ConnectionError):
                    await self._one(client, f"{self.name}-{turn}")

    async def _one(self, client: Client, user: str) -> None:
        wire = post(user=user, stream=self.random.random() < 0.5)
        match self.random.randrange(9):
            case 0:
                await client.send(wire[: self.random.randrange(len(wire))])
                await turns(self.random, 20)
                client.reset()
            case 1:
                await client.send(wire)
                await turns(self.random, 60)
                client.reset() if self.random.random() < 0.5 else client.writer.close()
            case 2:
                await client.send(self.random.randbytes(200))
                assert (await client.rest()).startswith((b"HTTP/1.1 4", b"HTTP/1.1 505", b""))
            case 3:
                await client.send(wire)
                client.writer.write_eof()
                await self._check(client, user)
            case 4:
                for at in range(0, len(wire), 50):
                    await client.send(wire[at : at + 50])
                    await turns(self.random, 3)
                await self._check(client, user)
            case 5:
                await client.send(wire + get() + wire)
                await self._check(client, user)
                assert (await client.answer()).status == 200
                await self._check(client, user)
            case _:
                for _ in range(3):
                    await client.send(wire)
                    await self._check(client, user)

    async def _check(self, client: Client, user: str) -> None:
        """Whatever came is the caller's own, in order, and whole or honestly not."""
        got = await client.answer()
        if got.status >= 400:
            assert got.status in (502, 503, 504)
            assert got.json["error"]["message"]
            return
        self.answered += 1
        if got.headers["content-type"].startswith("application/json"):
            assert got.json["user"] in (user, None)
            return
        events = [e.removeprefix(b"data: ") for e in got.body.split(b"\n\n")[:-1] if not e.startswith(b":")]
        ends = json.loads(events[-1]) if events[-1] != b"[DONE]" else None
        assert ends is None or "error" in ends
        for number, said in enumerate(events[:-1]):
            assert (json.loads(said)["user"], json.loads(said)["number"]) == (user, number)


async def disturb(r: Rig, random: Random) -> None:
    """Endpoints come, drain and go; deadlines come early."""
    addresses = [EndpointAddress(id=f"chat-{n}", host="127.0.0.1", port=u.port) for n, u in enumerate(r.upstreams)]
    while True:
        await turns(random, 200)
        random.shuffle(addresses)
        some = addresses[: random.randrange(1, len(addresses) + 1)]
        r.gateway.endpoints.set_pool("chat", some)
        for endpoint in r.gateway.endpoints.all():
            endpoint.retry_at = 0.0
        for client in list(r.gateway._clients):
            if random.random() < 0.01:
                client.sweep(monotonic() + random.choice([1.0, 20.0, 1000.0]))


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_happens_nobody_gets_anothers_bytes_and_nothing_is_left(run: Run, seed: int) -> None:
    random = Random(seed)

    async def main() -> None:
        engines = Engines(Random(random.random()))
        async with rig(*[engines.script] * 3) as r:
            callers = [Caller(r, Random(random.random()), f"c{n}") for n in range(CLIENTS)]
            async with asyncio.TaskGroup() as group:
                disturbing = group.create_task(disturb(r, Random(random.random())))
                async with asyncio.TaskGroup() as calling:
                    for caller in callers:
                        calling.create_task(caller.run())
                disturbing.cancel()
            assert sum(caller.answered for caller in callers) > CLIENTS

    run(main)
