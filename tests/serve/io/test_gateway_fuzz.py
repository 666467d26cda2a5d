"""Bytes that nobody should send, from either side, cut anywhere: the gateway neither fails nor hangs, what it says is
HTTP, and whoever comes next gets an answer of their own.

The bytes are answers and requests of every kind, with pieces put in, taken out and sent twice; hypothesis draws them.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import pairwise

import httptools
import pytest
import uvloop
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fakes.upstream import Link
from serve.exchanges import ANSWER, DONE, END, SSE_HEAD, TOKEN, USAGE_EVENT, answer, chunk, event, head
from serve.io.rig import Client, Rig, post, rig, run_in

FEW = 20
EXAMPLES = int(os.environ.get("PENSTOCK_FUZZ_EXAMPLES", FEW))
"""The same few each time, so that a change is what fails; with the variable set, that many, drawn anew."""

LEAK = b"LEAK-7f3a"
"""Stands in everything that a hostile side sends, so that it is known wherever it comes out."""
LEAKING = event(choices=[{"index": 0, "delta": {"content": LEAK.decode()}}])
SNOW = event(choices=[{"index": 0, "delta": {"content": "☃" + LEAK.decode()}}]).replace(b"\\u2603", "☃".encode())
LAST = event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])

ANSWERS = [
    answer(json.dumps({"said": LEAK.decode()}).encode()),
    answer(ANSWER) + answer(LEAK),
    head(ANSWER) + ANSWER[:-5],
    head(ANSWER[:-5]) + ANSWER + LEAK,
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n" + ANSWER,
    SSE_HEAD + b"".join(map(chunk, (TOKEN, LEAKING, SNOW, LAST, USAGE_EVENT, DONE))) + END,
    SSE_HEAD + chunk(TOKEN + LEAKING) + chunk(DONE) + chunk(DONE) + END,
    SSE_HEAD + chunk(LAST) + chunk(DONE) + END + SSE_HEAD + chunk(LEAKING) + END,
    SSE_HEAD + chunk(event(error={"message": LEAK.decode(), "code": 500})) + chunk(DONE) + END,
    SSE_HEAD + chunk(TOKEN) + b"ffffffff\r\n" + LEAK,
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n" + LEAK,
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n" + LEAK,
    b"HTTP/1.1 200 OK\r\nx-long: " + LEAK * 9000,
    b"HTTP/1.1 100 Continue\r\n\r\n" * 50 + answer(ANSWER),
    answer(b'{"error":"' + LEAK + b'"}', status="400 Bad Request"),
    answer(LEAK, status="503 Gone"),
    LEAK * 20,
]
REQUESTS = [
    post(user=LEAK.decode()),
    post(user=LEAK.decode(), stream=True),
    post() + post(user=LEAK.decode()) + post(),
    post("/v1/messages", max_tokens=1),
    post("/v1/responses", input="x"),
    b"GET /v1/models HTTP/1.1\r\nhost: h\r\nauthorization: Bearer acme-key-1\r\n\r\n",
    b"GET /v1/models HTTP/1.0\r\nauthorization: Bearer acme-key-1\r\n\r\n",
    b"GET http://h/v1/models?x=1 HTTP/1.1\r\nhost: h\r\nauthorization: Bearer acme-key-1\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nauthorization: Bearer acme-key-1\r\ntransfer-encoding: chunked"
    b'\r\n\r\n5\r\n{"mod\r\n9\r\nel":"chat\r\n3\r\n"}\n\r\n0\r\n\r\n',
    post(extra="expect: 100-continue\r\n", user=LEAK.decode()),
    post(extra="upgrade: websocket\r\nconnection: upgrade\r\n", user=LEAK.decode()),
    post(extra="content-encoding: gzip\r\n", raw=b"\x1f\x8b\x08" + LEAK),
    b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 50\r\n\r\n" + LEAK,
    b"GET / HTTP/1.1\r\nx-long: " + LEAK * 9000,
    LEAK * 20,
]


@st.composite
def bent(draw: st.DrawFn, wholes: list[bytes]) -> list[bytes]:
    """One of `wholes` with a few things done to it, in reads."""
    data = draw(st.sampled_from(wholes))
    for _ in range(draw(st.integers(0, 3))):
        at, to = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        match draw(st.integers(0, 4)):
            case 0:
                data = data[:at] + draw(st.binary(max_size=8)) + data[at:]
            case 1:
                data = data[:at] + data[to:]
            case 2:
                data = data[:to] + data[at : min(to, at + 4096)] + data[to:]
            case 3:
                data = data[:at]
            case _:
                data = data[:at] + draw(st.sampled_from([b"\r\n", b"\n", b"\0", b"0\r\n\r\n", b"\xe2\x98"])) + data[at:]
    cuts = draw(st.lists(st.integers(0, len(data)), max_size=6))
    return [data[a:b] for a, b in pairwise(sorted({0, len(data), *cuts}))]


class Reading:
    """A client's parser that insists on HTTP, and knows whether an answer is whole."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.whole = 0
        self._parser = httptools.HttpResponseParser(self)

    def on_headers_complete(self) -> None:
        self.statuses.append(self._parser.get_status_code())

    def on_message_complete(self) -> None:
        self.whole += 1

    def feed(self, data: bytes) -> Reading:
        if data:
            self._parser.feed_data(data)
        return self


async def next_one_is_answered(r: Rig, name: str) -> None:
    """Somebody else asks and gets what is theirs, plain and as a stream."""
    async with r.client() as client:
        for is_stream in (False, True):
            await client.send(post(user=name, stream=is_stream))
            got = await client.answer()
            assert got.status == 200
            assert name.encode() in got.body
            assert LEAK not in got.body


async def send_all(send: Callable[[bytes], Awaitable[None]], reads: list[bytes]) -> None:
    for read in reads:
        await send(read)


async def echo(link: Link) -> None:
    """An engine that says who asked."""
    while True:
        asked = json.loads((await link.request()).body)
        who = str(asked.get("user"))
        if asked.get("stream"):
            said = event(choices=[{"index": 0, "delta": {"content": who}}])
            await link.send(SSE_HEAD + b"".join(map(chunk, (said, LAST, USAGE_EVENT, DONE))) + END)
        else:
            await link.send(answer(json.dumps({"choices": [{"message": {"content": who}}]}).encode()))


FUZZ = settings(
    max_examples=EXAMPLES,
    derandomize=EXAMPLES == FEW,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)


@pytest.mark.parametrize("is_stream", [False, True], ids=["plain", "stream"])
@FUZZ
@given(reads=bent(ANSWERS), ends_by=st.sampled_from(["close", "reset", "keep"]))
@example(reads=[ANSWERS[12]], ends_by="keep")
@example(reads=[ANSWERS[6]], ends_by="keep")
def test_an_engine_may_say_anything(is_stream: bool, reads: list[bytes], ends_by: str) -> None:
    async def hostile(link: Link) -> None:
        await link.request()
        await send_all(link.send, reads)
        match ends_by:
            case "close":
                link.close()
            case "reset":
                link.reset()
            case _:
                await link.send(b"")
                link.writer.write_eof()
                await link.gone()

    async def main() -> None:
        firsts = [hostile]

        async def script(link: Link) -> None:
            await (firsts.pop() if firsts else echo)(link)

        async with rig(script) as r:
            async with r.client() as client:
                await client.send(post(extra="connection: close\r\n", stream=is_stream))
                Reading().feed(await client.rest())
            await r.ended()
            r.gateway.endpoints.succeeded(r.gateway.endpoints.pools["chat"].endpoints[0])
            await next_one_is_answered(r, "second")
            await r.settled()

    run_in(uvloop.new_event_loop, main)


@FUZZ
@given(reads=bent(REQUESTS), ends_by=st.sampled_from(["half", "close", "reset"]))
@example(reads=[REQUESTS[15]], ends_by="half")
@example(reads=[REQUESTS[2][:-1]], ends_by="half")
def test_a_client_may_send_anything(reads: list[bytes], ends_by: str) -> None:
    async def half(client: Client) -> None:
        if client.writer.can_write_eof():
            client.writer.write_eof()
        Reading().feed(await client.rest())

    async def main() -> None:
        async with rig(echo) as r:
            async with r.client() as client:
                try:
                    await send_all(client.send, reads)
                    if ends_by == "half":
                        await half(client)
                    elif ends_by == "reset":
                        client.reset()
                except ConnectionError:
                    pass  # it was cut off, as it deserved
            await next_one_is_answered(r, "second")
            await r.settled()

    run_in(uvloop.new_event_loop, main)


WHOLE = [
    answer(b'{"said":"first"}'),
    SSE_HEAD + b"".join(map(chunk, (TOKEN, LAST, USAGE_EVENT, DONE))) + END,
    SSE_HEAD + chunk(TOKEN + LAST + DONE) + END,
]


@FUZZ
@given(
    whole=st.sampled_from(WHOLE),
    more=st.sampled_from([answer(LEAK), SSE_HEAD + chunk(LEAKING) + END, LEAK, b"\r\n" + LEAK]),
    early=st.integers(0, 400),
)
def test_an_engine_that_speaks_unasked_is_cut_off_and_reaches_nobody(whole: bytes, more: bytes, early: int) -> None:
    at = len(whole) + early % (len(more) + 1)
    data = whole + more

    async def main() -> None:
        is_answered, is_cut = asyncio.Event(), asyncio.Event()

        async def talkative(link: Link) -> None:
            await link.request()
            await link.send(data[:at])
            await is_answered.wait()
            with suppress(ConnectionError):
                await link.send(data[at:])
            await link.gone()
            is_cut.set()

        firsts = [talkative]

        async def script(link: Link) -> None:
            await (firsts.pop() if firsts else echo)(link)

        async with rig(script) as r:
            async with r.client() as client:
                await client.send(post(stream=whole is not WHOLE[0]))
                got = await client.answer()
                assert (got.status, LEAK in got.body) == (200, False)
            is_answered.set()
            await is_cut.wait()
            await next_one_is_answered(r, "second")
            await r.settled()

    run_in(uvloop.new_event_loop, main)
