"""The client port: one that nobody else gets by mistake, that passes on purpose, and that closes and loses nobody."""

from __future__ import annotations

import asyncio
import itertools
import socket
import sys
from contextlib import ExitStack

import pytest

from fakes.upstream import eventually
from penstock.serve.io.listening import Listener, PortUse
from serve.io.rig import Run

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ports pass between processes on Linux")


class Counting(asyncio.Protocol):
    """Counts connections."""

    def __init__(self, taken: list[asyncio.BaseTransport]) -> None:
        self._taken = taken

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._taken.append(transport)


class Place:
    """A listener and what connected to it."""

    def __init__(self) -> None:
        self.taken: list[asyncio.BaseTransport] = []

    async def open(self, port: int, use: PortUse) -> Listener:
        self.listener = await Listener.open(lambda: Counting(self.taken), "127.0.0.1", port, use=use)
        return self.listener

    async def end(self) -> None:
        await self.listener.close(0)
        for transport in self.taken:
            transport.abort()  # type: ignore[attr-defined]


def connect(stack: ExitStack, port: int, count: int) -> None:
    """Makes connections; the kernel does so before anybody accepts."""
    for _ in range(count):
        stack.enter_context(socket.create_connection(("127.0.0.1", port)))


@pytest.mark.parametrize(("first", "second"), [("alone", "alone"), ("lends", "alone"), ("lends", "lends")])
def test_a_port_that_somebody_has_is_not_shared_by_mistake(run: Run, first: PortUse, second: PortUse) -> None:
    async def main() -> None:
        one, other = Place(), Place()
        port = (await one.open(0, first)).port
        with pytest.raises(OSError, match=r"(?i)address already in use"):
            await other.open(port, second)
        await one.end()
        await other.open(port, second)
        await other.end()

    run(main)


@linux_only
def test_a_port_that_is_not_lent_can_not_be_taken_over(run: Run) -> None:
    async def main() -> None:
        one = Place()
        port = (await one.open(0, "alone")).port
        with pytest.raises(OSError, match=r"(?i)address already in use"):
            await Place().open(port, "takes_over")
        await one.end()

    run(main)


@linux_only
def test_every_connection_that_begins_after_a_takeover_reaches_the_new_one(run: Run) -> None:
    async def main() -> None:
        places = [Place() for _ in range(4)]
        port = (await places[0].open(0, "lends")).port
        for old, new in itertools.pairwise(places):
            had = len(old.taken)
            await new.open(port, "takes_over")
            with ExitStack() as stack:
                connect(stack, port, 40)
                await eventually(lambda new=new: len(new.taken) == 40)
                assert len(old.taken) == had
                await old.listener.close(0.01)
                connect(stack, port, 40)
                await eventually(lambda new=new: len(new.taken) == 80)
        for place in places:
            await place.end()

    run(main)


@linux_only
def test_a_new_one_that_dies_leaves_the_port_to_the_old_one(run: Run) -> None:
    async def main() -> None:
        old, new = Place(), Place()
        port = (await old.open(0, "lends")).port
        await new.open(port, "takes_over")
        await new.end()
        with ExitStack() as stack:
            connect(stack, port, 20)
            await eventually(lambda: len(old.taken) == 20)
        await old.end()

    run(main)


@linux_only
def test_connections_that_nobody_has_accepted_are_not_lost_when_the_port_closes(run: Run) -> None:
    async def main() -> None:
        place = Place()
        port = (await place.open(0, "lends")).port
        with ExitStack() as stack:
            connect(stack, port, 300)
            assert place.taken == []  # this turn of the loop has not ended, so all of them wait in the kernel
            await place.listener.close(0.01)
            await eventually(lambda: len(place.taken) == 300)
            with pytest.raises(ConnectionRefusedError):
                connect(stack, port, 1)
        await place.end()

    run(main)


@linux_only
def test_no_handshake_begins_once_a_port_closes(run: Run) -> None:
    async def main() -> None:
        place = Place()
        port = (await place.open(0, "lends")).port
        closing = asyncio.gather(place.listener.close(30.0))
        await asyncio.sleep(0)
        with socket.socket() as late:
            late.setblocking(False)
            assert late.connect_ex(("127.0.0.1", port)) != 0
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):  # on loopback the answer to SYN comes at once, if it comes
                    await asyncio.get_running_loop().sock_connect(late, ("127.0.0.1", port))
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        await place.end()

    run(main)


def test_closing_twice_is_once_and_leaves_the_port_free(run: Run) -> None:
    async def main() -> None:
        place = Place()
        port = (await place.open(0, "lends")).port
        await place.listener.close(0.01)
        await place.listener.close(0.01)
        await place.open(port, "alone")
        await place.end()

    run(main)
