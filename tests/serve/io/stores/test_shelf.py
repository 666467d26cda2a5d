"""Responses that gateways share: one puts, another finds; a store that is away is said to be; nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from penstock.serve.io.stores import StoreAddress
from penstock.serve.io.stores.responses import ResponseShelf, ResponseStore
from penstock.serve.io.stores.shelf import LOOKS_MAX, SharedShelf
from penstock.serve.shelf import Found
from penstock.serve.stored import Stored

RESPONSE = Stored(id="resp_1", tenant="acme", expires=2**40, body=b"{}", items=b"[]")


def shelf(address: StoreAddress) -> SharedShelf:
    return SharedShelf(ResponseShelf(ResponseStore(address, "demo")))


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


class Heard:
    """What a look has come to."""

    def __init__(self) -> None:
        self.all: list[Found] = []
        self._came = asyncio.Event()

    def __call__(self, found: Found, _now: float) -> None:
        self.all.append(found)
        self._came.set()

    async def found(self) -> Found:
        async with asyncio.timeout(20):
            await self._came.wait()
        return self.all[0]


async def look(at: SharedShelf, tenant: str = "acme", *, takes: bool = False) -> Found:
    heard = Heard()
    found = (at.take_away if takes else at.find)(tenant, "resp_1", 0.0, heard)
    return found if found is not None else await heard.found()


def test_what_one_gateway_put_is_found_there_at_once_and_by_others_when_it_is_written(
    store_address: StoreAddress,
) -> None:
    async def main() -> None:
        one, other = shelf(store_address), shelf(store_address)
        one.put(RESPONSE, 0.0)
        assert one.find("acme", "resp_1", 0.0, Heard()) == Found(stored=RESPONSE)
        assert (one.state.kept, one.state.written_total) == (1, 0)
        await one.close()
        assert (one.state.kept, one.state.written_total, one.state.is_connected) == (0, 1, True)
        assert (await look(other)).stored == RESPONSE
        assert (await look(other, "beta")) == Found()

    run(main())


def test_what_is_taken_away_is_gone_for_all(store_address: StoreAddress) -> None:
    async def main() -> None:
        one, other = shelf(store_address), shelf(store_address)
        one.put(RESPONSE, 0.0)
        await one.close()
        assert (await look(other, "beta", takes=True)) == Found()
        assert (await look(other, takes=True)).stored == RESPONSE
        assert (await look(one)) == Found()

    run(main())


def away(folder: Path) -> StoreAddress:
    """A store that can't be opened: a folder stands where its file would be."""
    (folder / "store.db").mkdir()
    return StoreAddress(url=f"sqlite:{folder / 'store.db'}", folder=folder, is_asked=True, password=lambda: None)


def test_a_store_that_is_away_is_said_to_be_and_what_is_here_is_still_found(tmp_path: Path) -> None:
    async def main() -> None:
        alone = shelf(away(tmp_path))
        lost = (await look(alone)).failure
        assert lost is not None
        assert (lost.status, lost.code) == (503, "store_unavailable")
        alone.put(RESPONSE, 0.0)
        assert (await look(alone)).stored == RESPONSE
        assert (alone.state.has_store, alone.state.is_connected) == (True, True)  # nobody has written yet
        assert (alone.state.kept, alone.state.failures_total) == (1, 1)
        await alone.close()
        assert (alone.state.is_connected, alone.state.kept, alone.state.failures_total) == (False, 1, 2)

    run(main())


def test_looks_at_once_are_bounded_and_each_is_heard_of_once_even_at_the_end(store_address: StoreAddress) -> None:
    async def main() -> None:
        one = shelf(store_address)
        heard = [Heard() for _ in range(LOOKS_MAX)]
        assert [one.find("acme", f"resp_{n}", 0.0, h) for n, h in enumerate(heard)] == [None] * LOOKS_MAX
        refused = one.find("acme", "resp_x", 0.0, Heard())
        assert refused is not None
        assert refused.failure is not None
        await asyncio.sleep(0)
        await one.close()
        assert [len(h.all) for h in heard] == [1] * LOOKS_MAX

    run(main())
