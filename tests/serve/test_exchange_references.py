"""What an exchange held is freed as it ends, without the garbage collector, whose runs stop every stream."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest

from serve.exchanges import DONE, END, SSE_HEAD, TOKEN, USAGE_EVENT, Call, answer, chunk, core


def plain(call: Call) -> None:
    call.send().engine(answer())


def refused(call: Call) -> None:
    call.send(b"not json")


def streamed(call: Call) -> None:
    call.send().engine(SSE_HEAD, chunk(TOKEN), chunk(TOKEN), chunk(USAGE_EVENT), chunk(DONE) + END)


def cancelled(call: Call) -> None:
    call.send().engine(SSE_HEAD, chunk(TOKEN)).exchange.client_lost(call.tick())


def retried(call: Call) -> None:
    call.send().lose("reset").engine(answer())


@pytest.mark.parametrize("ends", [plain, refused, streamed, cancelled, retried])
def test_an_exchange_leaves_nothing_to_the_garbage_collector(ends: Callable[[Call], None]) -> None:
    gateway = core(2)

    def run() -> None:
        call = Call(gateway, stream=ends in (streamed, cancelled))
        ends(call)
        call.settled()
        call.exchange.carrier = None  # the edge lets go of it, too
        for endpoint in gateway.endpoints.all():
            endpoint.health = "ready"

    run()
    gc.collect()
    gc.disable()
    try:
        for _ in range(50):
            run()
        assert not any(type(found).__module__.startswith("penstock.") for found in left_behind())
    finally:
        gc.enable()


def left_behind() -> list[object]:
    """What only the collector would have freed."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        return list(gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
