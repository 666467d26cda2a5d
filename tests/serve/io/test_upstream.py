"""Connections to endpoints: kept while they may be, never carrying one answer into another, whatever engines send."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

import pytest

from fakes.upstream import Link, always, eventually, once, silent
from penstock.serve.exchange import HELD_BYTES_MAX, Dispatch
from penstock.serve.io.inbox import Inbox
from penstock.serve.io.outbox import Outbox
from penstock.serve.io.tasks import Tasks
from penstock.serve.io.upstream import IDLE_MAX, IDLE_S_MAX, UpstreamConnection, Upstreams
from penstock.serve.routing import Endpoint
from serve.exchanges import ANSWER, DONE, END, SSE_HEAD, TOKEN, answer, chunk, head
from serve.io.rig import MESSAGES, Run, get, post, rig

GOOD = always(answer())


@dataclass
class User:
    """Whoever a connection serves."""

    ready: list[UpstreamConnection] = field(default_factory=list)
    got: bytes = b""
    lost: list[tuple[str, bool, bool]] = field(default_factory=list)

    def upstream_ready(self, connection: UpstreamConnection) -> None:
        self.ready.append(connection)

    def upstream_data(self, data: bytes) -> None:
        self.got += data

    def upstream_lost(self, reason: str, *, was_reused: bool = False, is_end: bool = False) -> None:
        self.lost.append((reason, was_reused, is_end))


class FakeTransport(asyncio.Transport):
    """A transport that remembers what was done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.unsent = 0
        self.is_aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def writelines(self, data: object) -> None:
        self.written += b"".join(data)  # type: ignore[call-overload]

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.is_aborted

    def abort(self) -> None:
        self.is_aborted = True


def at_once() -> tuple[Inbox, Outbox]:
    """Hold nothing."""
    outbox = Outbox(lambda act: act())
    return Inbox(outbox, lambda act: act()), outbox


def dispatch(port: int = 9, *, body: bytes = b"{}", is_fresh: bool = False) -> Dispatch:
    endpoint = Endpoint(id="chat-0", model="chat", host="127.0.0.1", port=port, url="", authority="")
    return Dispatch(endpoint, (b"POST / HTTP/1.1\r\n\r\n", body), is_fresh)


def idle(upstreams: Upstreams, now: float = 100.0) -> tuple[UpstreamConnection, FakeTransport]:
    """A connection that was used once and idles since `now`."""
    connection, transport = UpstreamConnection(upstreams, ("127.0.0.1", 9, None)), FakeTransport()
    connection.connection_made(transport)
    upstreams.release(connection, is_kept=True, now=now)
    return connection, transport


class TestPool:
    """Pure enough to be told the time; only making a connection needs a loop."""

    def test_an_idle_connection_is_used_again_and_told_to_be_used(self) -> None:
        upstreams, user = Upstreams(Tasks(), *at_once()), User()
        connection, transport = idle(upstreams)
        assert upstreams.send(dispatch(), user, 1.0, 101.0) is None
        assert (user.ready, transport.written) == ([connection], b"POST / HTTP/1.1\r\n\r\n{}")
        connection.connection_lost(None)
        assert user.lost == [("closed the connection", True, True)]

    def test_the_connection_that_idled_least_is_used_first(self) -> None:
        upstreams, user = Upstreams(Tasks(), *at_once()), User()
        idle(upstreams, 100.0)
        latest, _ = idle(upstreams, 101.0)
        upstreams.send(dispatch(), user, 1.0, 102.0)
        assert user.ready == [latest]

    def test_a_large_body_is_not_joined_to_its_head(self) -> None:
        upstreams, user = Upstreams(Tasks(), *at_once()), User()
        _, transport = idle(upstreams)
        upstreams.send(dispatch(body=b"x" * 100_000), user, 1.0, 101.0)
        assert transport.written.endswith(b"\r\n\r\n" + b"x" * 100_000)

    def test_a_connection_that_idled_too_long_is_closed(self) -> None:
        upstreams = Upstreams(Tasks(), *at_once())
        old, old_transport = idle(upstreams, 100.0)
        _, new_transport = idle(upstreams, 103.0)
        upstreams.sweep(100.0 + IDLE_S_MAX + 0.1)
        assert (old_transport.is_aborted, new_transport.is_aborted) == (True, False)
        old.connection_lost(None)

    @pytest.mark.parametrize("is_kept", [False, True])
    def test_a_connection_with_a_request_still_on_its_way_is_not_kept(self, is_kept: bool) -> None:
        upstreams, user = Upstreams(Tasks(), *at_once()), User()
        connection, transport = idle(upstreams)
        upstreams.send(dispatch(), user, 1.0, 101.0)
        transport.unsent = 5
        upstreams.release(connection, is_kept=is_kept, now=102.0)
        assert transport.is_aborted

    def test_a_connection_whose_request_is_still_held_is_not_kept(self) -> None:
        outbox = Outbox(lambda _: None)
        upstreams, user = Upstreams(Tasks(), at_once()[0], outbox), User()
        connection, transport = idle(upstreams)
        upstreams.send(dispatch(), user, 1.0, 101.0)
        upstreams.release(connection, is_kept=True, now=102.0)  # something answered before it was asked
        outbox.flush()
        assert (transport.is_aborted, transport.written) == (True, b"")

    def test_what_one_turn_brought_is_told_as_one_before_the_end_is(self) -> None:
        soon: list[Callable[[], None]] = []
        outbox = Outbox(soon.append)
        upstreams, user = Upstreams(Tasks(), Inbox(outbox, soon.append), outbox), User()
        connection, _ = idle(upstreams)
        upstreams.send(dispatch(), user, 1.0, 101.0)
        connection.data_received(b"HTTP/1.1 200 OK\r\n")
        connection.data_received(b"\r\n")
        assert user.got == b""
        connection.connection_lost(None)
        assert (user.got, user.lost) == (b"HTTP/1.1 200 OK\r\n\r\n", [("closed the connection", True, True)])

    def test_a_connection_on_which_more_came_than_was_dealt_with_is_not_kept(self) -> None:
        outbox = Outbox(lambda act: act())
        upstreams, user = Upstreams(Tasks(), Inbox(outbox, lambda _: None), outbox), User()
        connection, transport = idle(upstreams)
        upstreams.send(dispatch(), user, 1.0, 101.0)
        connection.data_received(b"HTTP/1.1 200 OK\r\n\r\n")
        upstreams.release(connection, is_kept=True, now=102.0)
        connection.take_read()
        assert (transport.is_aborted, user.got) == (True, b"")

    def test_a_connection_that_is_not_to_be_kept_is_cut(self) -> None:
        upstreams, user = Upstreams(Tasks(), *at_once()), User()
        connection, transport = idle(upstreams)
        upstreams.send(dispatch(), user, 1.0, 101.0)
        upstreams.release(connection, is_kept=False, now=102.0)
        assert transport.is_aborted
        connection.data_received(b"late")
        connection.connection_lost(None)
        assert (user.got, user.lost) == (b"", [])

    def test_a_byte_that_nobody_asked_for_closes_the_connection(self) -> None:
        upstreams = Upstreams(Tasks(), *at_once())
        connection, transport = idle(upstreams)
        connection.data_received(b"HTTP/1.1 200 OK\r\n\r\n")
        assert transport.is_aborted
        connection.connection_lost(None)

    def test_idle_connections_are_bounded(self) -> None:
        upstreams = Upstreams(Tasks(), *at_once())
        made = [idle(upstreams) for _ in range(IDLE_MAX + 3)]
        assert sum(transport.is_aborted for _, transport in made) == 3

    def test_closing_closes_what_idles_and_what_comes_back(self) -> None:
        upstreams, user = Upstreams(Tasks(), *at_once()), User()
        used, used_transport = idle(upstreams)
        upstreams.send(dispatch(), user, 1.0, 101.0)
        _, idle_transport = idle(upstreams)
        upstreams.close()
        assert (idle_transport.is_aborted, used_transport.is_aborted) == (True, False)
        upstreams.release(used, is_kept=True, now=102.0)
        assert used_transport.is_aborted


class TestConnecting:
    def test_an_engine_that_closes_an_idle_connection_costs_nothing(self, run: Run) -> None:
        async def main() -> None:
            async with rig(once(answer())) as r:
                for number in range(3):
                    assert (await r.ask(post())).status == 200
                    await eventually(lambda: not any(r.gateway.upstreams._idle.values()))
                    assert len(r.upstream.links) == number + 1
                assert r.gateway.endpoints.all()[0].failures_total == 0

        run(main)

    def test_a_request_on_a_connection_that_the_engine_is_just_closing_goes_there_again(self, run: Run) -> None:
        async def main() -> None:
            async def script(link: Link) -> None:
                await link.request()
                await link.send(answer())
                if len(r.upstream.links) == 1:
                    await link.request()
                    link.close()  # as if the FIN and the second request had crossed
                else:
                    await link.gone()

            async with rig(script) as r:
                assert (await r.ask(post())).status == 200
                assert (await r.ask(post())).status == 200
                assert len(r.upstream.links) == 2
                assert (r.records[1].retries, r.gateway.endpoints.all()[0].failures_total) == (0, 0)

        run(main)

    def test_an_endpoint_that_refuses_is_passed_by(self, run: Run) -> None:
        async def main() -> None:
            async with rig(GOOD, GOOD) as r:
                for endpoint in r.gateway.endpoints.all():
                    endpoint.health = "ready"
                r.gateway.endpoints.all()[0].port = free_port()
                for _ in range(4):
                    assert (await r.ask(post())).status == 200
                assert r.gateway.endpoints.all()[0].last_error == "refused the connection"

        run(main)

    def test_without_an_endpoint_that_connects_it_is_502_and_says_why(self, run: Run) -> None:
        async def main() -> None:
            async with rig(GOOD) as r:
                r.gateway.endpoints.all()[0].port = free_port()
                got = await r.ask(post())
                assert (got.status, got.headers["retry-after"]) == (502, "1")
                assert "chat-0 refused the connection" in got.json["error"]["message"]

        run(main)

    def test_a_host_that_does_not_resolve_is_502_and_says_why(self, run: Run) -> None:
        async def main() -> None:
            async with rig(GOOD) as r:
                r.gateway.endpoints.all()[0].host = "nowhere.invalid"
                got = await r.ask(post())
                assert got.status == 502
                assert "chat-0" in got.json["error"]["message"]

        run(main)

    def test_an_endpoint_that_does_not_accept_in_time_is_502(self, run: Run) -> None:
        async def main() -> None:
            with socket.socket() as full:
                full.bind(("127.0.0.1", 0))
                full.listen(0)
                fillers = [socket.socket() for _ in range(4)]
                for filler in fillers:
                    filler.setblocking(False)
                    filler.connect_ex(full.getsockname())
                async with rig(GOOD, gateway="    timeouts: {connectS: 0.05}\n") as r:
                    r.gateway.endpoints.all()[0].port = full.getsockname()[1]
                    got = await r.ask(post())
                    assert got.status == 502
                    assert "within 0.05 s" in got.json["error"]["message"]
                for filler in fillers:
                    filler.close()

        run(main)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def greets(link: Link) -> None:
    link.writer.write(b"220 welcome\r\n")
    await link.gone()


async def hangs_up(link: Link) -> None:
    link.close()


async def resets(link: Link) -> None:
    await link.request()
    link.reset()


BAD_BEFORE_AN_ANSWER = {
    "greets": greets,
    "hangs up": hangs_up,
    "resets": resets,
    "closes": once(),
    "closes in its head": once(b"HTTP/1.1 200 OK\r\ncontent-le"),
    "sends garbage": once(b"\x00\x01\x02\x03\x04 garbage"),
    "sends an endless head": once(b"HTTP/1.1 200 OK\r\n", *[b"x: " + b"y" * 1000 + b"\r\n"] * 100),
    "contradicts itself": once(head(b"xx", fields="transfer-encoding: chunked\r\n") + b"xx"),
    "sends bad chunks": once(SSE_HEAD + b"zz\r\n"),
    "speaks HTTP/2": once(b"HTTP/2 200\r\n\r\n"),
    "redirects": once(answer(b"", status="307 Temporary Redirect", fields="location: http://evil/\r\n")),
    "is busy": always(answer(b"{}", status="503 Service Unavailable")),
}


@pytest.mark.parametrize("name", list(BAD_BEFORE_AN_ANSWER))
def test_an_engine_that_fails_before_its_answer_is_not_noticed(run: Run, name: str) -> None:
    async def main() -> None:
        async with rig(BAD_BEFORE_AN_ANSWER[name], GOOD) as r, r.client() as client:
            for _ in range(4):
                await client.send(post(stream=True))
                assert (await client.answer()).body == ANSWER
            assert all(record.outcome == "ok" for record in r.records)

    run(main)


@pytest.mark.parametrize("name", [name for name in BAD_BEFORE_AN_ANSWER if name != "is busy"])
def test_the_only_engine_that_fails_before_its_answer_is_502(run: Run, name: str) -> None:
    async def main() -> None:
        async with rig(BAD_BEFORE_AN_ANSWER[name]) as r, r.client() as client:
            await client.send(post(stream=True) + get())
            got = await client.answer()
            assert (got.status, got.code) == (502, "upstream_error")
            assert "chat-0" in got.json["error"]["message"]
            assert (await client.answer()).status == 200

    run(main)


class TestBrokenAnswers:
    def test_a_length_that_is_too_long_is_no_answer(self, run: Run) -> None:
        async def main() -> None:
            async with rig(once(head(ANSWER + b"more"), ANSWER)) as r, r.client() as client:
                await client.send(post())
                assert (await client.answer()).status == 502
                assert (await r.ended()).reason == "upstream_error"

        run(main)

    def test_a_length_that_is_too_long_to_be_held_cuts_the_answer(self, run: Run) -> None:
        async def main() -> None:
            async with rig(once(head(b"x" * (HELD_BYTES_MAX + 1)), ANSWER)) as r, r.client() as client:
                await client.send(post())
                assert (await client.rest()).endswith(ANSWER)
                assert (await r.ended()).reason == "answer_cut"

        run(main)

    @pytest.mark.parametrize("is_at_once", [False, True])
    @pytest.mark.parametrize("more", [b"x", answer(b"another answer")])
    def test_bytes_after_an_answer_reach_nobody(self, run: Run, more: bytes, is_at_once: bool) -> None:
        async def main() -> None:
            async def script(link: Link) -> None:
                await link.request()
                if is_at_once:
                    await link.send(answer() + more)
                else:
                    await link.send(answer())
                    await eventually(lambda: len(r.records) == len(r.upstream.links))
                    await link.send(more)
                await link.gone()

            async with rig(script) as r, r.client() as client:
                for number in range(2):
                    await client.send(post())
                    assert (await client.answer()).body == ANSWER
                    await r.upstream.links[number].gone()

        run(main)

    def test_an_answer_before_the_request_was_read_does_not_spoil_the_next(self, run: Run) -> None:
        messages = [{"role": "user", "content": "x" * 8_000_000}]

        async def main() -> None:
            async def script(link: Link) -> None:
                if len(r.upstream.links) == 1:
                    await link.reader.readuntil(b"\r\n\r\n")
                    await link.send(answer(b'{"detail":"too large"}', status="413 Content Too Large"))
                    await link.gone()
                else:
                    await GOOD(link)

            async with rig(script) as r, r.client() as client:
                await client.send(post(messages=messages))
                assert (await client.answer()).status == 413
                await client.send(post())
                assert (await client.answer()).body == ANSWER

        run(main)

    @pytest.mark.parametrize("is_reset", [False, True])
    def test_a_stream_that_is_cut_ends_with_an_error_event_and_the_client_goes_on(
        self, run: Run, is_reset: bool
    ) -> None:
        async def main() -> None:
            may_end = asyncio.Event()

            async def script(link: Link) -> None:
                await link.request()
                await link.send(SSE_HEAD + chunk(TOKEN) + b"ff\r\nda")
                await may_end.wait()
                link.reset() if is_reset else link.close()

            async with rig(script) as r, r.client() as client:
                await client.send(post(stream=True) + get())
                await client.until(chunk(TOKEN))
                may_end.set()
                last = await client.until(b"\r\n" + END)
                assert b'"code":"stream_interrupted"' in last
                assert (await client.answer()).status == 200
                assert r.records[0].outcome == "upstream_error"
                assert r.gateway.endpoints.all()[0].failures_total == 1

        run(main)

    def test_one_byte_at_a_time_is_the_same_stream(self, run: Run) -> None:
        async def main() -> None:
            async def script(link: Link) -> None:
                link.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await link.request()
                for byte in SSE_HEAD + chunk(TOKEN) + chunk(DONE) + END:
                    await link.send(bytes([byte]))
                    await asyncio.sleep(0)
                await link.gone()

            async with rig(script) as r:
                assert (await r.ask(post(stream=True))).body == TOKEN + DONE

        run(main)

    def test_a_silent_engine_in_mid_stream_ends_it_with_an_error_event(self, run: Run) -> None:
        async def main() -> None:
            async def script(link: Link) -> None:
                await link.request()
                await link.send(SSE_HEAD + chunk(TOKEN))
                await link.gone()

            async with rig(script, gateway="    timeouts: {readS: 7}\n") as r, r.client() as client:
                await client.send(post(stream=True))
                await client.until(chunk(TOKEN))
                (connection,) = r.gateway._clients
                connection.sweep(monotonic() + 6)
                connection.sweep(monotonic() + 8)
                assert b"stream_interrupted" in await client.until(END)
                await r.upstream.links[0].gone()
                assert (await r.ended()).outcome == "timeout"

        run(main)


def test_many_clients_share_few_connections_and_each_gets_its_own_answer(run: Run) -> None:
    async def main() -> None:
        async def echo(link: Link) -> None:
            while True:
                received = await link.request()
                await link.send(answer(received.body))

        async def one(number: int) -> None:
            async with r.client() as client:
                for turn in range(20):
                    await client.send(post(user=f"{number}-{turn}"))
                    assert (await client.answer()).json == {
                        "model": "chat",
                        "messages": MESSAGES,
                        "user": f"{number}-{turn}",
                    }

        async with rig(echo, echo) as r:
            await asyncio.gather(*(one(number) for number in range(20)))
            assert sum(len(upstream.links) for upstream in r.upstreams) <= 20
            assert len(r.records) == 400

    run(main)


def test_a_client_that_leaves_is_never_answered_with_the_next_ones_bytes(run: Run) -> None:
    async def main() -> None:
        async def echo(link: Link) -> None:
            while True:
                received = await link.request()
                await asyncio.sleep(0)
                await link.send(answer(received.body))

        async def one(number: int) -> None:
            for turn in range(15):
                async with r.client() as client:
                    await client.send(post(user=f"{number}-{turn}"))
                    if (number + turn) % 3:
                        got = await client.answer()
                        assert got.json["user"] == f"{number}-{turn}"

        async with rig(echo) as r:
            await asyncio.gather(*(one(number) for number in range(20)))
            await r.settled()
            await r.ended(300)
            assert {record.outcome for record in r.records} <= {"ok", "cancelled"}

    run(main)


def test_silence_is_not_an_answer(run: Run) -> None:
    async def main() -> None:
        async with rig(silent) as r, r.client() as client:
            await client.send(post())
            await eventually(lambda: bool(r.upstream.requests))
            assert r.gateway.endpoints.all()[0].in_flight == 1
            assert r.records == []

    run(main)
