"""What a client may not do: each limit has its answer, the answer is seen, and the connection ends where it must."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from time import monotonic

import pytest

from fakes.upstream import Link, always, eventually, silent
from penstock.serve.io.client import BACKLOG_BYTES_MAX, TURN_BYTES, ClientConnection
from penstock.serve.routing import Decision, Policy
from serve.exchanges import answer
from serve.gateways import KEY
from serve.io.rig import Answer, Rig, Run, get, post, rig

SMALL = "    limits: {headerBytesMax: 2048, bodyBytesMax: 2048}\n"
SHORT = "    timeouts: {headerS: 7, bodyS: 7, idleS: 7, clientWriteS: 7, firstByteS: 7, readS: 7}\n"
AUTH = f"authorization: Bearer {KEY}\r\n".encode()
CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\n" + AUTH


async def refused(r: Rig, wire: bytes, status: int) -> Answer:
    """Sends, and expects this answer, the end of the connection, and one record."""
    before = len(r.records)
    async with r.client() as client:
        client.writer.write(wire)
        got = await client.answer()
        assert (got.status, got.headers["connection"]) == (status, "close"), got
        assert await client.rest() == b""
    assert len(r.records) == before + 1
    assert (r.records[-1].status, r.records[-1].outcome) == (status, "client_error")
    return got


@pytest.mark.parametrize(
    ("wire", "status", "code"),
    [
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", 414, "url_too_long"),
        (CHAT + b"x: " + b"a" * 3000 + b"\r\n\r\n", 431, "headers_too_large"),
        (CHAT + b"x:\r\n" * 300 + b"\r\n", 431, "headers_too_large"),
        (CHAT + b"x: " + b"a" * 300_000, 431, "headers_too_large"),
        (CHAT + b"content-length: 2049\r\nexpect: 100-continue\r\n\r\n", 413, "request_too_large"),
        (CHAT + b"content-length: 300000\r\n\r\n" + b"x" * 300_000, 413, "request_too_large"),
        (CHAT + b"transfer-encoding: chunked\r\n\r\n" + b"100\r\n%b\r\n" % (b"x" * 256) * 20, 413, "request_too_large"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "bad_http"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "bad_http"),
        (b"GET / HTTP/2.0\r\n\r\n", 505, "http_version"),
        (b"get / HTTP/1.1\r\n\r\n", 400, "bad_http"),
        (b"GET /health HTTP/1.1\nhost: h\n\n", 400, "bad_http"),
        (CHAT + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + get(), 400, "bad_http"),
        (CHAT + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n0\r\n\r\n" + get(), 400, "bad_http"),
        (CHAT + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}" + get(), 400, "bad_http"),
        (CHAT + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n" + get(), 400, "bad_http"),
        (CHAT + b"transfer-encoding: chunked\r\n\r\nzz\r\n" + get(), 400, "bad_http"),
        (CHAT + b"x: y\r\n folded\r\n\r\n" + get(), 400, "bad_http"),
        (CHAT + b"x: a\x00b\r\n\r\n" + get(), 400, "bad_http"),
    ],
)
def test_a_request_over_a_limit_or_not_http_is_told_so_and_is_the_last(
    run: Run, wire: bytes, status: int, code: str
) -> None:
    async def main() -> None:
        async with rig(silent, gateway=SMALL) as r:
            got = await refused(r, wire, status)
            assert got.code == code
            assert r.upstream.links == []

    run(main)


def test_a_body_within_reach_that_is_too_large_is_refused_and_the_connection_goes_on(run: Run) -> None:
    async def main() -> None:
        async with rig(always(answer()), gateway=SMALL) as r, r.client() as client:
            await client.send(CHAT + b"content-length: 3000\r\n\r\n" + b"x" * 3000 + post())
            assert (await client.answer()).status == 413
            assert (await client.answer()).status == 200

    run(main)


@pytest.mark.parametrize("is_behind", [False, True])
def test_a_chunked_body_too_large_is_413_in_its_turn(run: Run, is_behind: bool) -> None:
    wire = CHAT + b"transfer-encoding: chunked\r\n\r\n" + b"100\r\n%b\r\n" % (b"x" * 256) * 20 + b"0\r\n\r\n"

    async def main() -> None:
        async with rig(always(answer()), gateway=SMALL) as r, r.client() as client:
            await client.send((post() if is_behind else b"") + wire)
            if is_behind:
                assert (await client.answer()).status == 200
            assert (await client.answer()).status == 413
            assert await client.rest() == b""

    run(main)


def test_a_wrong_method_is_told_the_right_one(run: Run) -> None:
    async def main() -> None:
        async with rig(silent) as r, r.client() as client:
            await client.send(get("/v1/chat/completions") + post("/v1/models"))
            got = await client.answer()
            assert (got.status, got.headers["allow"], got.code) == (405, "POST", "method_not_allowed")
            assert (await client.answer()).headers["allow"] == "GET, HEAD"

    run(main)


class TestSlowClients:
    """Deadlines are looked at with a `now` of the test's choice: nobody waits."""

    @pytest.mark.parametrize("sent", [b"G", b"GET /health HTTP/1.1\r\n", CHAT])
    def test_a_head_that_does_not_end_is_408(self, run: Run, sent: bytes) -> None:
        async def main() -> None:
            async with rig(silent, gateway=SHORT) as r, r.client() as client:
                await client.send(sent)
                (connection,) = await connections(r)
                await eventually(lambda: connection._reader.head_began_at > 0)
                began = monotonic()
                connection.sweep(began + 6.0)
                await client.send(b"E")  # a drip does not help: the whole head counts
                await eventually(lambda: connection._reader.last_data_at > began)
                connection.sweep(began + 7.5)
                got = await client.answer()
                assert (got.status, got.code) == (408, "request_timeout")
                assert await client.rest() == b""
                assert (r.records[0].status, r.records[0].outcome) == (408, "client_error")

        run(main)

    def test_a_body_that_pauses_too_long_is_408(self, run: Run) -> None:
        async def main() -> None:
            async with rig(silent, gateway=SHORT) as r, r.client() as client:
                await client.send(post()[:-5])
                (connection,) = await connections(r)
                await eventually(lambda: r.gateway.core.in_flight == 1)
                now = monotonic()
                connection.sweep(now + 6.0)
                assert r.records == []
                connection.sweep(now + 7.5)
                assert (await client.answer()).status == 408
                assert await client.rest() == b""

        run(main)

    def test_an_idle_connection_is_closed(self, run: Run) -> None:
        async def main() -> None:
            async with rig(always(answer()), gateway=SHORT) as r, r.client() as client:
                await client.send(post() + b"\r\n")
                assert (await client.answer()).status == 200
                (connection,) = await connections(r)
                connection.sweep(monotonic() + 6.0)
                connection.sweep(monotonic() + 7.5)
                assert await client.rest() == b""
                assert len(r.records) == 1

        run(main)

    def test_an_engine_that_does_not_begin_is_504(self, run: Run) -> None:
        async def main() -> None:
            async with rig(silent, gateway=SHORT) as r, r.client() as client:
                await client.send(post())
                (connection,) = await connections(r)
                await eventually(lambda: bool(r.upstream.requests))
                connection.sweep(monotonic() + 6.0)
                assert r.records == []
                connection.sweep(monotonic() + 7.5)
                got = await client.answer()
                assert (got.status, got.code) == (504, "first_byte_timeout")
                await r.upstream.links[0].gone()
                await client.send(get())
                assert (await client.answer()).status == 200

        run(main)

    def test_a_refused_client_that_never_leaves_is_cut(self, run: Run) -> None:
        async def main() -> None:
            async with rig(silent) as r, r.client() as client:
                await client.send(b"garbage\r\n\r\n")
                assert (await client.answer()).status == 400
                (connection,) = await connections(r)
                await client.send(b"x" * 1000)
                connection.sweep(monotonic() + 1.0)
                assert r.gateway.connections == 1
                connection.sweep(monotonic() + 2.5)
                await r.settled()

        run(main)


async def connections(r: Rig) -> list[ClientConnection]:
    """The gateway's client connections, once there is one."""
    await eventually(lambda: r.gateway.connections == 1)
    return list(r.gateway._clients)


class TestRoom:
    def test_a_connection_too_many_is_closed_at_once_and_the_others_go_on(self, run: Run) -> None:
        async def main() -> None:
            async with rig(always(answer()), gateway="    limits: {connectionsMax: 2}\n") as r:
                async with r.client() as first, r.client() as second:
                    for client in (first, second):
                        await client.send(get())
                        await client.answer()
                    async with r.client() as third:
                        assert await third.rest() == b""
                    for client in (first, second):
                        await client.send(post())
                        assert (await client.answer()).status == 200
                await r.settled()
                assert (await r.ask(get())).status == 200

        run(main)

    def test_requests_in_flight_are_bounded_and_told_when_to_come_again(self, run: Run) -> None:
        async def main() -> None:
            async with rig(silent, gateway="    limits: {inFlightMax: 2}\n") as r:
                async with r.client() as first, r.client() as second, r.client() as third:
                    await first.send(post())
                    await second.send(post())
                    await eventually(lambda: len(r.upstream.requests) == 2)
                    await third.send(post() + get())
                    got = await third.answer()
                    assert (got.status, got.headers["retry-after"], got.code) == (503, "1", "overloaded")
                    assert (await third.answer()).status == 200
                await r.settled()
                assert [record.outcome for record in r.records].count("cancelled") == 2

        run(main)


class TestFairness:
    def test_a_flood_of_requests_in_one_read_does_not_hold_up_the_loop(self, run: Run) -> None:
        ping, total = b"GET /ping HTTP/1.1\r\n\r\n", 40_000

        async def main() -> None:
            async with rig(silent) as r, r.client() as client:
                (connection,) = await connections(r)
                counts, held = [0], [0]

                def each_turn() -> None:
                    counts.append(len(r.records))
                    held.append(len(connection._backlog))
                    if counts[-1] < total:
                        loop.call_soon(each_turn)

                loop = asyncio.get_running_loop()
                loop.call_soon(each_turn)
                client.writer.write(ping * total)
                for _ in range(total):
                    assert (await client.answer()).status == 200
                assert max(b - a for a, b in pairwise(counts)) <= TURN_BYTES // len(ping) + 1
                assert max(held) <= BACKLOG_BYTES_MAX + 262_144  # a read is at most that

        run(main)

    def test_a_long_body_in_one_read_is_not_held_up(self, run: Run) -> None:
        async def main() -> None:
            async with rig(always(answer())) as r, r.client() as client:
                wire = post(messages=[{"role": "user", "content": "x" * 150_000}])
                client.writer.write(wire + get() + wire + get() * 1000)
                assert [(await client.answer()).status for _ in range(1003)] == [200] * 1003
                assert len(r.upstream.requests[1].body) > 150_000

        run(main)


class Broken:
    """A policy with a bug."""

    name = "broken"
    follows_prompts = False

    def choose(self, candidates: object, need: object, *, now: float, explains: bool = False) -> Decision:
        raise ZeroDivisionError("broken on purpose")

    def sent(self, *_: object) -> None:
        raise AssertionError("nothing was chosen")

    def ended(self, *_: object) -> None:
        """Of requests that another policy sent."""


def route_by(r: Rig, policy: Policy) -> None:
    r.gateway.core.flow.configure(queue=r.gateway.config.queue, policy=policy)


@pytest.mark.parametrize("is_behind", [False, True])
def test_a_bug_of_ours_is_500_and_harms_nobody_else(
    run: Run, caplog: pytest.LogCaptureFixture, is_behind: bool
) -> None:
    async def main() -> None:
        async with rig(always(answer())) as r, r.client() as client:
            policy = r.gateway.core.policy
            if is_behind:
                await client.send(post())
                await r.ended()
                await client.answer()
            route_by(r, Broken())
            await client.send(get() + post() + get() if is_behind else post())
            if is_behind:
                assert (await client.answer()).status == 200
            got = await client.answer()
            assert (got.status, got.code) == (500, "internal_error")
            assert "broken on purpose" not in got.body.decode()
            assert await client.rest() == b""
            route_by(r, policy)
            assert (await r.ask(post())).status == 200

    run(main)
    assert "broken on purpose" in caplog.text
    caplog.clear()


def test_a_bug_of_ours_in_a_request_that_waited_is_500_too(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        may_answer = asyncio.Event()

        async def script(link: Link) -> None:
            await link.request()
            await may_answer.wait()
            await link.send(answer())
            await link.gone()

        async with rig(script) as r, r.client() as client:
            await client.send(post() + post())
            await eventually(lambda: bool(r.upstream.requests))
            route_by(r, Broken())
            may_answer.set()
            assert (await client.answer()).status == 200
            assert (await client.answer()).code == "internal_error"
            assert await client.rest() == b""

    run(main)
    assert "broken on purpose" in caplog.text
    caplog.clear()
