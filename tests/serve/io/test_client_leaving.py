"""Clients that go away, stop reading, or close one half: the engine is freed at once, and nobody who waits is lost."""

from __future__ import annotations

import asyncio
import socket
from time import monotonic

import pytest

from fakes.upstream import Link, eventually, silent
from penstock.serve.exchange import HELD_BYTES_MAX
from penstock.serve.io.client import PROBE_DELAYS_S, ClientConnection
from penstock.serve.io.gateway import Gateway
from serve.exchanges import ANSWER, DONE, END, SSE_HEAD, TOKEN, answer, chunk, head
from serve.gateways import TENANTS, config
from serve.io.rig import Rig, Run, get, post, rig

BIG = b"x" * 65_536
PATIENT = "    timeouts: {clientWriteS: 50, readS: 50, idleS: 50}\n"


async def one_token(link: Link) -> None:
    """Begins a stream and goes on when told by nobody."""
    await link.request()
    await link.send(SSE_HEAD + chunk(TOKEN))
    await link.gone()


async def flowing(link: Link) -> None:
    """Begins a plain answer that is too long to be held, and never ends it."""
    await link.request()
    await link.send(head(b"x" * (HELD_BYTES_MAX + 1)) + ANSWER[:5])
    await link.gone()


class TestVanishing:
    @pytest.mark.parametrize("is_reset", [False, True])
    @pytest.mark.parametrize(
        ("script", "is_stream", "mark"), [(silent, False, b""), (silent, True, b""), (one_token, True, b"\n\n")]
    )
    def test_the_endpoint_is_cut_promptly(
        self, run: Run, script: object, is_stream: bool, mark: bytes, is_reset: bool
    ) -> None:
        async def main() -> None:
            async with rig(script) as r:  # type: ignore[arg-type]
                async with r.client() as client:
                    await client.send(post(stream=is_stream))
                    await eventually(lambda: bool(r.upstream.requests))
                    if mark:
                        await client.until(mark)
                    if is_reset:
                        client.reset()
                    else:
                        client.writer.close()
                    await r.upstream.links[0].gone()
                record = await r.ended()
                assert (record.outcome, record.reason) == ("cancelled", "client_disconnected")
                assert record.is_stream is is_stream
                assert r.gateway.endpoints.all()[0].failures_total == 0

        run(main)

    def test_a_client_that_resets_in_a_plain_answer_frees_the_endpoint(self, run: Run) -> None:
        async def main() -> None:
            async with rig(flowing) as r, r.client() as client:
                await client.send(post())
                await client.until(ANSWER[:5])
                client.reset()
                await r.upstream.links[0].gone()
                assert (await r.ended()).outcome == "cancelled"

        run(main)

    @pytest.mark.parametrize("is_reset", [False, True])
    def test_a_client_that_goes_in_the_middle_of_its_body_is_cancelled(self, run: Run, is_reset: bool) -> None:
        async def main() -> None:
            async with rig(silent) as r:
                async with r.client() as client:
                    await client.send(post()[:-5])
                    await eventually(lambda: r.gateway.core.in_flight == 1)
                    client.reset() if is_reset else client.writer.close()
                    record = await r.ended()
                    assert (record.outcome, record.status) == ("cancelled", 0)
                await r.settled()
                assert r.upstream.links == []

        run(main)

    def test_a_client_that_goes_before_the_endpoint_is_connected_leaves_nothing(self, run: Run) -> None:
        async def main() -> None:
            async with rig(silent) as r:
                with socket.socket() as full:  # a listener whose backlog is full: a connection that never comes
                    full.bind(("127.0.0.1", 0))
                    full.listen(0)
                    fillers = [socket.socket() for _ in range(4)]
                    for filler in fillers:
                        filler.setblocking(False)
                        filler.connect_ex(full.getsockname())
                    endpoint = r.gateway.endpoints.all()[0]
                    endpoint.port = full.getsockname()[1]
                    async with r.client() as client:
                        await client.send(post())
                        await eventually(lambda: endpoint.in_flight == 1)
                        client.reset()
                        assert (await r.ended()).outcome == "cancelled"
                    await eventually(lambda: len(asyncio.all_tasks()) <= 2)
                    for filler in fillers:
                        filler.close()

        run(main)

    def test_a_client_that_goes_while_others_wait_on_its_connection_is_one_cancelled_request(self, run: Run) -> None:
        async def main() -> None:
            async with rig(silent) as r, r.client() as client:
                await client.send(post() + get() + post() + get())
                await eventually(lambda: bool(r.upstream.requests))
                client.reset()
                assert (await r.ended()).outcome == "cancelled"
                await r.settled()
                assert len(r.records) == 1

        run(main)


class TestHalfClosing:
    def test_a_client_that_has_said_all_and_waits_gets_its_answer(self, run: Run) -> None:
        async def main() -> None:
            may_answer = asyncio.Event()

            async def script(link: Link) -> None:
                await link.request()
                await may_answer.wait()
                await link.send(answer())

            async with rig(script) as r, r.client() as client:
                await client.send(post())
                client.writer.write_eof()
                for _ in PROBE_DELAYS_S:
                    assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
                may_answer.set()
                assert (await client.answer()).body == ANSWER
                assert await client.rest() == b""
                assert (await r.ended()).outcome == "ok"

        run(main)

    def test_a_client_that_has_said_all_and_listens_gets_its_stream(self, run: Run) -> None:
        async def main() -> None:
            may_end = asyncio.Event()

            async def script(link: Link) -> None:
                await link.request()
                await link.send(SSE_HEAD + chunk(TOKEN))
                await may_end.wait()
                await link.send(chunk(DONE) + END)

            async with rig(script) as r, r.client() as client:
                await client.send(post(stream=True))
                await client.until(chunk(TOKEN))
                client.writer.write_eof()
                for _ in PROBE_DELAYS_S:
                    assert await client.until(b"\n\n\r\n") == chunk(b":\n\n")
                may_end.set()
                assert await client.rest() == chunk(DONE) + END
                assert (await r.ended()).outcome == "ok"

        run(main)

    def test_every_pipelined_request_before_the_end_is_answered(self, run: Run) -> None:
        async def main() -> None:
            async def script(link: Link) -> None:
                while True:
                    await link.request()
                    await link.send(answer())

            async with rig(script) as r, r.client() as client:
                await client.send(post() + get() + post())
                client.writer.write_eof()
                assert [(await client.answer()).body == ANSWER for _ in range(3)] == [True, False, True]
                assert await client.rest() == b""

        run(main)

    def test_half_a_request_before_the_end_is_dropped(self, run: Run) -> None:
        async def main() -> None:
            async with rig(silent) as r, r.client() as client:
                await client.send(get() + post()[:-5])
                client.writer.write_eof()
                assert (await client.answer()).status == 200
                assert await client.rest() == b""
                assert [record.outcome for record in r.records] == ["ok", "cancelled"]

        run(main)


class TestSlowReaders:
    def test_the_endpoint_is_not_read_faster_than_the_client_reads(self, run: Run) -> None:
        total = 300 * len(BIG)

        async def main() -> None:
            pushed = 0

            async def script(link: Link) -> None:
                nonlocal pushed
                await link.request()
                await link.send(head(b"x" * total, kind="audio/wav"))
                for _ in range(300):
                    await link.send(BIG)
                    pushed += len(BIG)
                await link.request()
                await link.send(answer())

            async with rig(script) as r, r.client(takes_little=True) as client:
                await client.send(post())
                (connection,) = await connected(r)
                await eventually(lambda: bool(connection._paused_at))
                held = connection._transport.get_write_buffer_size()
                assert held < 2_000_000
                await eventually(lambda: r.upstream.links[0].writer.transport.get_write_buffer_size() > 0)
                assert pushed < total
                got = await client.answer()
                assert len(got.body) == total
                await client.send(post())  # the endpoint's connection is read again
                assert (await client.answer()).body == ANSWER
                assert len(r.upstream.links) == 1

        run(main)

    def test_who_reads_slowly_is_kept_and_who_reads_nothing_is_cut(self, run: Run) -> None:
        async def main() -> None:
            async def script(link: Link) -> None:
                await link.request()
                await link.send(SSE_HEAD)
                while True:
                    await link.send(chunk(b"data: " + BIG + b"\n\n"))

            async with rig(script, gateway=PATIENT) as r, r.client(takes_little=True) as client:
                await client.send(post(stream=True))
                (connection,) = await connected(r)
                await eventually(lambda: bool(connection._paused_at))
                now = monotonic()
                connection.sweep(now)
                connection.sweep(now + 49)
                unsent = connection._transport.get_write_buffer_size()
                while connection._paused_at and connection._transport.get_write_buffer_size() >= unsent:
                    assert await client.reader.read(16_384)
                await eventually(lambda: bool(connection._paused_at))
                connection.sweep(now + 60)
                connection.sweep(now + 105)
                assert r.records == []
                connection.sweep(now + 160)
                connection.sweep(now + 240)
                assert (await r.ended()).outcome == "cancelled"
                await r.upstream.links[0].gone()

        run(main)

    def test_every_byte_that_is_taken_counts_as_reading(self, run: Run) -> None:
        class Transport(asyncio.Transport):
            unsent = 100
            is_cut = False

            def get_write_buffer_size(self) -> int:
                return self.unsent

            def abort(self) -> None:
                self.is_cut = True

        async def main() -> None:
            gateway = Gateway(config(f"{PATIENT}    accessLog: 'off'\n{TENANTS}"))
            connection, transport = ClientConnection(gateway, asyncio.get_running_loop()), Transport()
            connection.connection_made(transport)
            connection.pause_writing()
            now = monotonic()
            for seconds, transport.unsent in ((0, 100), (45, 90), (90, 80), (135, 79), (180, 79)):
                connection.sweep(now + seconds)
                assert not transport.is_cut
            connection.sweep(now + 186)
            assert transport.is_cut
            connection.connection_lost(None)

        run(main)

    def test_a_slow_client_is_not_the_endpoints_fault(self, run: Run) -> None:
        async def main() -> None:
            async def script(link: Link) -> None:
                await link.request()
                await link.send(SSE_HEAD)
                for _ in range(300):
                    await link.send(chunk(b"data: " + BIG + b"\n\n"))
                await link.send(chunk(DONE) + END)

            timeouts = "    timeouts: {clientWriteS: 500, readS: 5}\n"
            async with rig(script, gateway=timeouts) as r, r.client(takes_little=True) as client:
                await client.send(post(stream=True))
                (connection,) = await connected(r)
                await eventually(lambda: bool(connection._paused_at))
                connection.sweep(monotonic() + 100)
                assert (await client.answer()).body.endswith(DONE)
                assert (await r.ended()).outcome == "ok"

        run(main)

    def test_answers_that_nobody_reads_are_not_made(self, run: Run) -> None:
        async def main() -> None:
            async with rig(silent, gateway=PATIENT) as r, r.client(takes_little=True) as client:
                requests = get("/v1/models") * 20_000
                client.writer.write(requests)
                (connection,) = await connected(r)
                await eventually(lambda: bool(connection._paused_at))
                await eventually(lambda: bool(connection._backlog) or len(r.records) < 20_000)
                assert connection._transport.get_write_buffer_size() < 1_000_000
                assert len(r.records) < 20_000
                for _ in range(20_000):
                    assert (await client.answer()).status == 200
                assert len(r.records) == 20_000

        run(main)

    @pytest.mark.parametrize("extra", ["", "connection: close\r\n"])
    def test_an_answer_that_nobody_reads_does_not_hold_its_connection_for_ever(self, run: Run, extra: str) -> None:
        body = BIG * 200

        async def main() -> None:
            async def script(link: Link) -> None:
                await link.request()
                await link.send(answer(body, kind="audio/wav"))

            async with rig(script, gateway=PATIENT) as r, r.client(takes_little=True) as client:
                await client.send(post(extra=extra))
                (connection,) = await connected(r)
                await eventually(lambda: bool(connection._paused_at))
                now = monotonic()
                for at in (1, 60, 120):
                    connection.sweep(now + at)
                await r.settled()
                await r.ended()

        run(main)


async def connected(r: Rig) -> list[ClientConnection]:
    await eventually(lambda: r.gateway.connections == 1)
    return list(r.gateway._clients)
