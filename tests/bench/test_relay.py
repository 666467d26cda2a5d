"""The relay cuts what it is told to cut, where it is told to, and writes down just what it let through."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from bench.relay import Kind, Order, Relay

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
EVENTS = [b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"%d"}}]}\n\n' % n for n in range(6)]
WIRE = b"".join(b"%x\r\n%b\r\n" % (len(e), e) for e in EVENTS) + b"0\r\n\r\n"
REQUEST = b"POST /v1/chat/completions HTTP/1.1\r\nx-request-id: one\r\ncontent-length: 2\r\n\r\n{}"


async def engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"{}")
    writer.write(HEAD)
    for at in range(0, len(WIRE), 50):
        writer.write(WIRE[at : at + 50])
    with suppress(OSError):
        await writer.drain()
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def heard(relay: Relay) -> bytes:
    """What a client gets through the relay, until it is silent or ends."""
    port = await relay.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST)
    got = b""
    try:
        async with asyncio.timeout(0.5):
            while data := await reader.read(1000):
                got += data
    except (TimeoutError, ConnectionResetError):
        pass
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()
    return got


def with_engine(work: Callable[[Relay], Awaitable[bytes]], *orders: Order) -> tuple[bytes, Relay]:
    async def run() -> tuple[bytes, Relay]:
        server = await asyncio.start_server(engine, "127.0.0.1", 0)
        relay = Relay(server.sockets[0].getsockname()[1])
        relay.orders["one"] = list(orders)
        got = await work(relay)
        await relay.close()
        server.close()
        return got, relay

    return asyncio.run(run())


def test_what_is_not_to_be_cut_passes_whole() -> None:
    got, relay = with_engine(heard)
    (attempt,) = relay.attempts["one"]
    assert got == HEAD + WIRE == bytes(attempt.answer)
    assert (attempt.is_cut, attempt.fields, len(attempt.events)) == (False, {}, 6)


@pytest.mark.parametrize("kind", ["reset", "end", "freeze"])
@pytest.mark.parametrize("after", [1, 60, 200])
def test_an_answer_is_cut_at_the_byte(kind: Kind, after: int) -> None:
    got, relay = with_engine(heard, Order(kind, after))
    (attempt,) = relay.attempts["one"]
    assert attempt.is_cut
    assert bytes(attempt.answer) == HEAD + WIRE[:after]
    assert got == HEAD + WIRE[:after] or (kind == "reset" and attempt.answer.startswith(got))


@pytest.mark.parametrize(("kind", "said"), [("error", b"EngineCore"), ("done", b"[DONE]"), ("abort", b'"abort"')])
def test_an_engine_that_gives_up_does_so_after_a_whole_event(kind: Kind, said: bytes) -> None:
    got, relay = with_engine(heard, Order(kind, 200))
    (attempt,) = relay.attempts["one"]
    assert bytes(attempt.answer).endswith(b"\n\n\r\n")
    assert len(attempt.events) == 2
    rest = got.removeprefix(bytes(attempt.answer))
    assert said in rest
    assert rest.endswith(b"0\r\n\r\n")
