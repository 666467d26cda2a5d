"""The gateway as a whole: it starts or says why not, changes without a lost request, and stops in an orderly way."""

from __future__ import annotations

import asyncio
import gc
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from fakes.upstream import Link, always, eventually, silent
from penstock.errors import StartError
from penstock.serve.answer import Answer
from penstock.serve.exchange import HELD_BYTES_MAX, Exchange
from penstock.serve.io.client import ClientConnection
from penstock.serve.io.gateway import Gateway, tune_process
from penstock.serve.io.request_reader import RequestReader
from penstock.serve.io.upstream import UpstreamConnection
from penstock.serve.routing import EndpointAddress
from serve.exchanges import ANSWER, DONE, END, SSE_HEAD, TOKEN, answer, chunk, head
from serve.gateways import KEY, TENANTS, config
from serve.io.rig import Run, get, post, rig

OFF = "    accessLog: 'off'\n" + TENANTS


class TestStart:
    def test_a_port_in_use_is_said_with_what_to_do(self, run: Run) -> None:
        async def main() -> None:
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", 0))
                taken.listen()
                port = taken.getsockname()[1]
                gateway = Gateway(config(OFF, file_listen=f"127.0.0.1:{port}"))
                with pytest.raises(StartError, match="another program has that port") as raised:
                    await gateway.start()
                assert str(port) in str(raised.value)
                assert "--listen" in str(raised.value)
                await gateway.stop()

        run(main)

    @pytest.mark.parametrize("listen", ["192.0.2.1:0", "nowhere.invalid:0"])
    def test_an_address_that_is_not_ours_is_said(self, run: Run, listen: str) -> None:
        async def main() -> None:
            gateway = Gateway(config(OFF, file_listen=listen))
            with pytest.raises(StartError, match="can't listen on " + listen.partition(":")[0]):
                await gateway.start()
            await gateway.stop()

        run(main)

    def test_an_access_log_that_can_not_be_opened_is_said_before_anything_listens(self, run: Run) -> None:
        async def main() -> None:
            gateway = Gateway(config("    accessLog: /dev/null/x/access.log\n" + TENANTS))
            with pytest.raises(StartError, match="access log"):
                await gateway.start()
            await gateway.stop()

        run(main)

    def test_the_port_that_was_taken_is_told(self, run: Run) -> None:
        async def main() -> None:
            async with rig(silent) as r:
                assert r.gateway.listen_port > 0
                assert r.gateway.listen_host == "127.0.0.1"

        run(main)

    def test_ipv6_is_listened_on(self, run: Run) -> None:
        if not has_ipv6():
            pytest.skip("this machine has no IPv6 loopback")

        async def main() -> None:
            async with rig(always(answer()), listen="[::1]:0") as r:
                assert r.gateway.listen_host == "::1"
                assert (await r.ask(post())).status == 200

        run(main)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


class TestStop:
    def test_idle_connections_are_closed_and_new_ones_refused(self, run: Run) -> None:
        async def main() -> None:
            async with rig(silent) as r, r.client() as client:
                await client.send(get())
                await client.answer()
                await r.gateway.stop(drain_s=5)
                assert await client.rest() == b""
                with pytest.raises(OSError):
                    async with r.client():
                        pass

        run(main)

    def test_a_request_under_way_is_finished_and_then_its_connection_closed(self, run: Run) -> None:
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
                stopping = asyncio.gather(r.gateway.stop(drain_s=10))
                await eventually(lambda: r.gateway.core.is_leaving)
                may_end.set()
                assert await client.rest() == chunk(DONE) + END
                await stopping
                assert r.records[0].outcome == "ok"

        run(main)

    @pytest.mark.parametrize("drain_s", [0.0, 0.05])
    def test_a_stream_that_does_not_end_in_time_is_ended_with_an_error_event(self, run: Run, drain_s: float) -> None:
        async def main() -> None:
            async def script(link: Link) -> None:
                await link.request()
                await link.send(SSE_HEAD + chunk(TOKEN))
                await link.gone()

            async with rig(script) as r, r.client() as client:
                await client.send(post(stream=True))
                await client.until(chunk(TOKEN))
                await r.gateway.stop(drain_s=drain_s)
                last = await client.rest()
                assert b"shut down" in last
                assert last.endswith(b"\r\n" + END)
                assert (r.records[0].outcome, r.gateway.core.in_flight) == ("shed", 0)

        run(main)

    def test_what_has_not_begun_is_told_to_come_again(self, run: Run) -> None:
        async def main() -> None:
            async with rig(silent) as r, r.client() as client:
                await client.send(post())
                await eventually(lambda: bool(r.upstream.requests))
                await r.gateway.stop(drain_s=0)
                got = await client.answer()
                assert (got.status, got.code, got.headers["retry-after"]) == (503, "shutting_down", "1")

        run(main)

    def test_an_answer_on_its_way_to_a_slow_client_leaves_before_the_gateway_does(self, run: Run) -> None:
        body = b"x" * 3_000_000

        async def main() -> None:
            async with rig(always(answer(body, kind="audio/wav"))) as r, r.client(takes_little=True) as client:
                await client.send(post())
                await r.ended()
                stopping = asyncio.gather(r.gateway.stop(drain_s=0))
                assert (await client.answer()).body == body
                await stopping

        run(main)

    def test_a_client_that_never_reads_does_not_hold_up_the_stop(self, run: Run) -> None:
        body = b"x" * 20_000_000

        async def main() -> None:
            async with rig(always(answer(body, kind="audio/wav"))) as r, r.client(takes_little=True) as client:
                await client.send(post())
                await eventually(lambda: bool(r.upstream.requests))
                await r.gateway.stop(drain_s=0.05)
                assert r.gateway.connections == 0

        run(main)

    def test_half_a_request_does_not_hold_up_the_stop(self, run: Run) -> None:
        async def main() -> None:
            async with rig(silent) as r, r.client() as head_only, r.client() as half_body:
                await head_only.send(b"GET /he")
                await half_body.send(post()[:-4])
                await eventually(lambda: r.gateway.core.in_flight == 1)
                await r.gateway.stop(drain_s=0.05)
                assert await head_only.rest() == await half_body.rest() == b""
                assert [record.outcome for record in r.records] == ["cancelled"]

        run(main)

    def test_a_connection_that_lies_idle_may_bring_one_more_request(self, run: Run) -> None:
        async def main() -> None:
            async with rig(always(answer())) as r, r.client() as used, r.client() as fresh:
                await used.send(post())
                assert "connection" not in (await used.answer()).headers
                stopping = asyncio.gather(r.gateway.stop(drain_s=30))
                await eventually(lambda: r.gateway.core.is_leaving)
                for client in (used, fresh):
                    await client.send(post())
                    got = await client.answer()
                    assert (got.status, got.headers["connection"]) == (200, "close")
                    assert await client.rest() == b""
                await stopping

        run(main)

    def test_an_answer_that_said_keep_alive_is_followed_by_one_more(self, run: Run) -> None:
        async def main() -> None:
            may_end = asyncio.Event()

            async def script(link: Link) -> None:
                await link.request()
                await link.send(SSE_HEAD + chunk(TOKEN))
                await may_end.wait()
                await link.send(chunk(DONE) + END)
                await link.request()
                await link.send(answer())

            async with rig(script) as r, r.client() as client:
                await client.send(post(stream=True))
                assert b"connection: close" not in await client.until(chunk(TOKEN))
                stopping = asyncio.gather(r.gateway.stop(drain_s=30))
                await eventually(lambda: r.gateway.core.is_leaving)
                may_end.set()
                await client.until(END)
                await client.send(post())
                assert (await client.answer()).headers["connection"] == "close"
                await stopping

        run(main)

    def test_a_request_that_waits_for_its_answer_is_told_that_the_connection_ends(self, run: Run) -> None:
        async def main() -> None:
            may_answer = asyncio.Event()

            async def script(link: Link) -> None:
                await link.request()
                await may_answer.wait()
                await link.send(answer())

            async with rig(script) as r, r.client() as client:
                await client.send(post())
                await eventually(lambda: bool(r.upstream.requests))
                stopping = asyncio.gather(r.gateway.stop(drain_s=30))
                await eventually(lambda: r.gateway.core.is_leaving)
                may_answer.set()
                got = await client.answer()
                assert (got.status, got.headers["connection"]) == (200, "close")
                await stopping

        run(main)

    def test_until_proxies_have_heard_of_it_new_connections_are_served(self, run: Run) -> None:
        async def main() -> None:
            async with rig(always(answer()), gateway="    timeouts: {closeDelayS: 600}\n") as r:
                stopping = asyncio.gather(r.gateway.stop(drain_s=30))
                await eventually(lambda: r.gateway.core.is_leaving)
                assert (await r.ask(get("/health"))).status == 503
                assert (await r.ask(post())).status == 200
                stopping.cancel()  # hurried
                await asyncio.gather(stopping, return_exceptions=True)

        run(main)

    def test_who_comes_last_is_waited_for_also_when_nobody_was_there_before(self, run: Run) -> None:
        async def main() -> None:
            may_end = asyncio.Event()

            async def script(link: Link) -> None:
                await link.request()
                await link.send(SSE_HEAD + chunk(TOKEN))
                await may_end.wait()
                await link.send(chunk(DONE) + END)

            async with rig(script) as r:
                port, may_close = r.gateway._listener, asyncio.Event()
                assert port is not None
                close = port.close

                async def closes_when_allowed(grace_s: float) -> None:
                    await may_close.wait()
                    await close(grace_s)

                port.close = closes_when_allowed  # type: ignore[method-assign, assignment]
                async with r.client() as first:
                    await first.send(get())
                    await first.answer()
                    stopping = asyncio.gather(r.gateway.stop(drain_s=30))
                    await eventually(lambda: r.gateway.core.is_leaving)
                await r.settled()
                async with r.client() as last:
                    await last.send(post(stream=True))
                    await last.until(chunk(TOKEN))
                    may_close.set()
                    await eventually(lambda: r.gateway._quiet.is_set() is False)
                    assert not r.gateway.core.is_draining
                    may_end.set()
                    await last.until(END)
                await stopping
                assert [record.outcome for record in r.records] == ["ok", "ok"]

        run(main)

    def test_stopping_twice_is_once(self, run: Run) -> None:
        async def main() -> None:
            async with rig(silent) as r:
                await r.gateway.stop()
                await r.gateway.stop()

        run(main)


class TestReload:
    def test_a_request_under_way_keeps_what_it_began_with(self, run: Run) -> None:
        async def main() -> None:
            may_end = asyncio.Event()

            async def script(link: Link) -> None:
                await link.request()
                await link.send(SSE_HEAD + chunk(TOKEN))
                await may_end.wait()
                await link.send(chunk(DONE) + END)
                await link.gone()

            async with rig(script) as r, r.client() as client:
                await client.send(post(stream=True))
                await client.until(chunk(TOKEN))
                other = config(
                    "    accessLog: 'off'\n    tenants: [{name: new, keys: [{value: new-key-1}]}]\n",
                    models="    - {name: other, endpoints: ['http://127.0.0.1:1']}\n",
                )
                assert r.gateway.reload(other) == []
                may_end.set()
                assert await client.until(END) == chunk(DONE) + END
                await client.send(post(key=KEY) + post(key="new-key-1") + get("/v1/models", key="new-key-1"))
                assert [(await client.answer()).status for _ in range(2)] == [401, 404]
                assert [m["id"] for m in (await client.answer()).json["data"]] == ["other"]
                assert r.records[0].outcome == "ok"
                assert r.gateway.endpoints.pools.keys() == {"other"}

        run(main)

    def test_new_limits_hold_for_the_next_request_of_an_open_connection(self, run: Run) -> None:
        chunked = post(raw=b"").replace(b"content-length: 0", b"transfer-encoding: chunked") + chunk(b"x" * 3000) + END

        async def main() -> None:
            async with rig(always(answer())) as r, r.client() as client:
                await client.send(post())
                await client.answer()
                r.gateway.reload(config(OFF + "    limits: {bodyBytesMax: 2048}\n"))
                await client.send(chunked)
                assert (await client.answer()).status == 413

        run(main)

    def test_what_needs_a_restart_is_said(self, run: Run) -> None:
        async def main() -> None:
            async with rig(silent) as r:
                notes = r.gateway.reload(config("    accessLog: stderr\n" + TENANTS, file_listen="127.0.0.1:1"))
                assert [note.split(" ")[0] for note in notes] == ["spec.gateway.listen", "spec.gateway.accessLog"]

        run(main)

    def test_a_hundred_reloads_under_load_lose_nothing(self, run: Run) -> None:
        async def main() -> None:
            async with rig(always(answer())) as r, r.client() as client:
                endpoints = [EndpointAddress(id="chat-0", host="127.0.0.1", port=r.upstream.port)]
                for _ in range(100):
                    await client.send(post())
                    r.gateway.reload(config(OFF))
                    r.gateway.endpoints.set_pool("chat", endpoints)
                    assert (await client.answer()).body == ANSWER

        run(main)

    def test_requests_that_wait_in_the_queue_outlast_changes_of_everything(self, run: Run) -> None:
        policies = ("cost", "least-load", "round-robin", "prefix-hash", "session")

        async def main() -> None:
            async with rig(always(answer())) as r:
                r.gateway.core.brings_endpoints = True
                endpoints = [EndpointAddress(id="chat-0", host="127.0.0.1", port=r.upstream.port)]
                r.gateway.endpoints.set_pool("chat", [])
                async with asyncio.TaskGroup() as clients:
                    asked = [clients.create_task(r.ask(post())) for _ in range(20)]
                    await eventually(lambda: sum(line.waiting for line in r.gateway.core.flow.snapshot()) == 20)
                    for n in range(100):
                        changing = (
                            f"    queue: {{requestsMax: {5 + n}}}\n"
                            f"    routing: {{policy: {policies[n % 5]}}}\n"
                            f"    rules: [{{name: r{n}, match: {{headers: {{x-n: '{n}'}}}}, to: [{{model: embed}}]}}]\n"
                            f"    limits: {{inFlightMax: {1 + n}}}\n"
                        )
                        r.gateway.reload(config(changing + OFF))
                        r.gateway.endpoints.set_pool("chat", [])
                    r.gateway.endpoints.set_pool("chat", endpoints)
                assert [(await task).body for task in asked] == [ANSWER] * 20

        run(main)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the openssl command makes the certificate of this test, and is not there")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return cert, key


class TestTls:
    def settings(self, certificate: tuple[Path, Path]) -> str:
        return f"    tls: {{certFile: {certificate[0]}, keyFile: {certificate[1]}}}\n"

    def test_requests_and_streams_are_served(self, run: Run, certificate: tuple[Path, Path]) -> None:
        context = ssl.create_default_context(cafile=str(certificate[0]))

        async def main() -> None:
            stream = SSE_HEAD + chunk(TOKEN) + chunk(DONE) + END

            async with rig(always(stream), gateway=self.settings(certificate)) as r, r.client(tls=context) as client:
                for _ in range(2):
                    await client.send(post(stream=True))
                    assert (await client.answer()).body == TOKEN + DONE
                await client.send(b"garbage\r\n\r\n")
                assert (await client.answer()).status == 400

        run(main)

    def test_a_client_that_leaves_frees_the_endpoint(self, run: Run, certificate: tuple[Path, Path]) -> None:
        context = ssl.create_default_context(cafile=str(certificate[0]))

        async def main() -> None:
            async with rig(silent, gateway=self.settings(certificate)) as r:
                async with r.client(tls=context) as client:
                    await client.send(post())
                    await eventually(lambda: bool(r.upstream.requests))
                await r.upstream.links[0].gone()
                assert (await r.ended()).outcome == "cancelled"

        run(main)

    def test_a_client_without_tls_harms_nobody(self, run: Run, certificate: tuple[Path, Path]) -> None:
        context = ssl.create_default_context(cafile=str(certificate[0]))

        async def main() -> None:
            async with rig(always(answer()), gateway=self.settings(certificate)) as r:
                async with r.client() as plain:
                    await plain.send(get())
                    await plain.rest()
                async with r.client(tls=context) as client:
                    await client.send(post())
                    assert (await client.answer()).status == 200

        run(main)

    @pytest.mark.parametrize("is_there", [False, True])
    def test_a_certificate_that_can_not_be_used_is_said(self, run: Run, tmp_path: Path, is_there: bool) -> None:
        path = tmp_path / "cert.pem"
        if is_there:
            path.write_text("not a certificate")

        async def main() -> None:
            gateway = Gateway(config(self.settings((path, path)) + OFF))
            with pytest.raises(StartError, match="certificate") as raised:
                await gateway.start()
            assert str(path) in str(raised.value)
            await gateway.stop()

        run(main)


def test_deadlines_are_looked_at_by_the_gateway_itself(run: Run) -> None:
    async def main() -> None:
        async with rig(silent, gateway="    timeouts: {firstByteS: 0.05}\n") as r:
            assert (await r.ask(post())).status == 504

    run(main)


def test_the_date_is_that_of_today(run: Run) -> None:
    async def main() -> None:
        async with rig(silent) as r:
            got = await r.ask(get())
            assert "1970" not in got.headers["date"]
            assert got.headers["date"].endswith("GMT")

    run(main)


def test_an_answer_without_an_end_is_not_kept_open_by_a_stop(run: Run) -> None:
    async def main() -> None:
        async def script(link: Link) -> None:
            await link.request()
            await link.send(head(b"x" * (HELD_BYTES_MAX + 1)) + ANSWER[:5])
            await link.gone()

        async with rig(script) as r, r.client() as client:
            await client.send(post())
            await client.until(ANSWER[:5])
            await r.gateway.stop(drain_s=0)
            assert await client.rest() == b""

    run(main)


def alive(*kinds: type) -> list[str]:
    return sorted(type(o).__name__ for o in gc.get_objects() if type(o) in kinds)


def test_what_is_over_is_freed_without_the_collector(run: Run) -> None:
    """The collector is tuned to look rarely: a cycle in every request would be memory that only grows."""
    upgrade = "connection: upgrade\r\nupgrade: h2c\r\n"

    async def main() -> None:
        stream = SSE_HEAD + chunk(TOKEN) + chunk(DONE) + END
        async with rig(always(answer()), always(stream)) as r:
            gc.collect()
            gc.disable()
            try:
                for _ in range(4):
                    async with r.client() as client:
                        wire = post() + get() + post(stream=True) + post(key="x") + post(extra=upgrade) + post("/x")
                        await client.send(wire)
                        for _ in range(6):
                            await client.answer()
                        await client.send(post()[:-3])
                await r.settled()
                await eventually(lambda: not alive(ClientConnection, RequestReader, Exchange, Answer))
                assert alive(UpstreamConnection).count("UpstreamConnection") <= 4
            finally:
                gc.enable()

    run(main)


def test_the_process_is_tuned_for_many_files_and_few_collections() -> None:
    thresholds = gc.get_threshold()
    try:
        tune_process()
        assert gc.get_threshold()[0] >= 10_000
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
