"""A provider over TLS answers when its certificate holds; when it doesn't the client hears why, and it gets no key."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic

import pytest

from fakes.upstream import Link, Script, ScriptedUpstream, always, eventually
from penstock.serve.config import GatewayConfig
from serve.exchanges import ANSWER, DONE, END, SSE_HEAD, TOKEN, answer, chunk, event, head
from serve.gateways import TENANTS, config
from serve.io.rig import Rig, Run, post, rig

PROVIDER_KEY = "provider-key-0123456789"
BROKEN = always(head(b"", status="500 Internal Server Error"))
STREAM = SSE_HEAD + chunk(TOKEN) + chunk(DONE) + END


@dataclass(frozen=True)
class Certificates:
    """A CA of nobody's, and what it signed. Each holds for `localhost` but where its name says otherwise."""

    folder: Path

    @property
    def authority(self) -> str:
        return str(self.folder / "ca.pem")

    def server(self, name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / f"{name}.pem", self.folder / "key.pem")
        return context


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the openssl command makes the certificates of this test, and is not there")
    folder = tmp_path_factory.mktemp("tls")

    def call(*words: str) -> None:
        subprocess.run([openssl, *words], check=True, capture_output=True, cwd=folder)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    call("req", "-x509", *key, "-days", "2", "-subj", "/CN=nobody's CA", "-keyout", "ca.key", "-out", "ca.pem")
    call("req", *key, "-subj", "/CN=provider", "-keyout", "key.pem", "-out", "request.pem")
    for name, host, days in (("good", "localhost", "2"), ("other", "example.org", "2"), ("expired", "localhost", "-1")):
        (folder / "names").write_text(f"subjectAltName=DNS:{host}\n")
        signs = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", days, "-extfile", "names")
        call("x509", "-req", "-in", "request.pem", *signs, "-out", f"{name}.pem")
    return Certificates(folder)


@pytest.fixture
def trusted(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Certificates:
    monkeypatch.setenv("SSL_CERT_FILE", certificates.authority)
    return certificates


@dataclass
class Outside:
    """A gateway whose engine is broken, and the provider that its model falls back to."""

    rig: Rig
    provider: ScriptedUpstream
    configured: Callable[[str], GatewayConfig]
    """The gateway's configuration where the provider has these CAs."""

    def trust(self, authorities: str) -> None:
        """The fleet file is read again, and the provider's CAs are these."""
        self.rig.gateway.reload(self.configured(authorities), profiles={})

    @property
    def failures(self) -> int:
        return next(e.failures_total for e in self.rig.gateway.endpoints.all() if e.is_external)


@asynccontextmanager
async def outside(
    script: Script, tls: ssl.SSLContext | None, *, more: str = "", access_log: str = "off", authorities: str = ""
) -> AsyncIterator[Outside]:
    async with ScriptedUpstream(script, tls=tls) as provider:
        gateway = f"""\
    providers:
      - {{name: far, url: "https://localhost:{provider.port}/v1", keyFrom: {{env: FAR_KEY}}}}
{more}"""
        models = """\
    - name: chat
      endpoints: ["http://127.0.0.1:1"]
      fallbacks: [{provider: far, providerModel: big}]
    - name: embed
      endpoints: ["http://127.0.0.1:1"]
"""
        env = {"FAR_KEY": PROVIDER_KEY}
        cas = {"far": authorities} if authorities else {}
        async with rig(
            BROKEN, gateway=gateway, models=models, env=env, access_log=access_log, authorities=cas
        ) as running:
            again = partial(config, gateway + TENANTS, models, env=env)
            yield Outside(running, provider, lambda pem: again(authorities={"far": pem}))


def test_a_provider_answers_over_tls_on_one_connection_that_is_kept(run: Run, trusted: Certificates) -> None:
    async def main() -> None:
        async with outside(always(answer()), trusted.server("good")) as o:
            for _ in range(3):
                got = await o.rig.ask(post())
                assert (got.status, got.body) == (200, ANSWER)
                assert got.headers["x-penstock-model"] == "far/big"
            assert len(o.provider.links) == 1
            sent = o.provider.requests[0]
            assert (sent.line, sent.headers["authorization"]) == (
                "POST /v1/chat/completions HTTP/1.1",
                f"Bearer {PROVIDER_KEY}",
            )
            assert sent.headers["host"] == f"localhost:{o.provider.port}"
            assert json.loads(sent.body)["model"] == "big"
            assert o.failures == 0

    run(main)


def test_a_stream_of_a_provider_arrives_whole_over_tls(run: Run, trusted: Certificates) -> None:
    async def main() -> None:
        async with outside(always(STREAM), trusted.server("good")) as o:
            for _ in range(2):
                assert (await o.rig.ask(post(stream=True))).body == TOKEN + DONE
            assert len(o.provider.links) == 1

    run(main)


def test_an_answer_of_many_records_arrives_whole(run: Run, trusted: Certificates) -> None:
    """TLS tells at most 16 KiB at a time."""
    text = json.dumps({"choices": [{"message": {"content": "x" * 300_000}}]}).encode()

    async def main() -> None:
        async with outside(always(answer(text)), trusted.server("good")) as o:
            assert (await o.rig.ask(post(messages=[{"role": "user", "content": "y" * 200_000}]))).body == text

    run(main)


def test_a_kept_connection_that_the_provider_has_closed_costs_no_request(run: Run, trusted: Certificates) -> None:
    async def script(link: Link) -> None:
        await link.request()
        await link.send(answer())
        link.close()

    async def main() -> None:
        async with outside(script, trusted.server("good")) as o:
            for count in (1, 2, 3):
                assert (await o.rig.ask(post())).status == 200
                assert len(o.provider.links) == count
            assert o.failures == 0

    run(main)


def test_a_provider_that_breaks_off_ends_the_stream_honestly(run: Run, trusted: Certificates) -> None:
    async def script(link: Link) -> None:
        await link.request()
        await link.send(SSE_HEAD + chunk(TOKEN))
        link.reset()

    async def main() -> None:
        async with outside(script, trusted.server("good")) as o:
            got = await o.rig.ask(post(stream=True))
            assert got.body.startswith(TOKEN)
            assert b"stream_interrupted" in got.body
            assert (await o.rig.ended()).outcome == "upstream_error"

    run(main)


def test_what_a_provider_still_writes_for_a_client_that_left_reaches_no_other(run: Run, trusted: Certificates) -> None:
    async def script(link: Link) -> None:
        await link.request()
        await link.send(SSE_HEAD)
        if len(links) == 0:
            links.append(link)
            await link.request()  # the connection must not be used again
            await link.send(chunk(event(choices=[{"index": 0, "delta": {"content": "of another"}}])))
        await link.send(chunk(TOKEN) + chunk(DONE) + END)

    links: list[Link] = []

    async def main() -> None:
        async with outside(script, trusted.server("good")) as o:
            async with o.rig.client() as client:
                await client.send(post(stream=True))
                await eventually(lambda: bool(links))
            await o.rig.ended()
            assert (await o.rig.ask(post(stream=True))).body == TOKEN + DONE

    run(main)


def test_a_client_that_leaves_ends_the_call_at_the_provider(run: Run, trusted: Certificates) -> None:
    async def script(link: Link) -> None:
        await link.request()
        await link.send(SSE_HEAD + chunk(TOKEN))
        await link.gone()

    async def main() -> None:
        async with outside(script, trusted.server("good")) as o:
            async with o.rig.client() as client:
                await client.send(post(stream=True))
                await client.until(b"hel")
                counts = dict(o.rig.gateway.telemetry.tallies())
                assert counts["chat"].in_flight == 0  # or it would be scaled for what others do
            async with asyncio.timeout(2):  # an idle connection is closed after four
                await o.provider.links[0].gone()
            assert (await o.rig.ended()).outcome == "cancelled"

    run(main)


@pytest.mark.parametrize("is_platform", [False, True], ids=["gateway", "up"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("other", "Hostname mismatch, certificate is not valid for 'localhost'"),
        ("expired", "certificate has expired"),
    ],
)
def test_a_certificate_that_does_not_hold_is_refused_in_words(
    run: Run, trusted: Certificates, name: str, words: str, *, is_platform: bool
) -> None:
    async def main() -> None:
        async with outside(always(answer()), trusted.server(name)) as o:
            await refused(o, words, is_platform=is_platform)

    run(main)


@pytest.mark.parametrize("is_platform", [False, True], ids=["gateway", "up"])
def test_a_certificate_of_a_ca_that_nobody_trusts_is_refused_in_words(
    run: Run, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, *, is_platform: bool
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)

    async def main() -> None:
        async with outside(always(answer()), certificates.server("good")) as o:
            await refused(o, "unable to get local issuer certificate", is_platform=is_platform)

    run(main)


def test_a_provider_is_trusted_by_the_cas_that_the_file_gives_it(
    run: Run, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    own = Path(certificates.authority).read_text()

    async def main() -> None:
        async with outside(always(answer()), certificates.server("good"), authorities=own) as o:
            for _ in range(2):
                assert (await o.rig.ask(post())).status == 200
            assert len(o.provider.links) == 1

    run(main)


def test_the_cas_of_the_machine_are_none_of_a_provider_that_has_its_own(
    run: Run, trusted: Certificates, tmp_path: Path
) -> None:
    """Else anybody whom the machine trusts could stand where a private service should."""
    others = other_authority(tmp_path)

    async def main() -> None:
        async with outside(always(answer()), trusted.server("good"), authorities=others) as o:
            await refused(o, "", is_platform=False)

    run(main)


def test_cas_that_are_replaced_hold_from_the_next_request_on(
    run: Run, certificates: Certificates, tmp_path: Path
) -> None:
    own, others = Path(certificates.authority).read_text(), other_authority(tmp_path)

    async def main() -> None:
        async with outside(always(answer()), certificates.server("good"), authorities=own) as o:
            assert (await o.rig.ask(post())).status == 200
            o.trust(others)
            assert (await o.rig.ask(post())).status == 502

    run(main)


@pytest.mark.parametrize(
    ("text", "words"), [(None, "No such file or directory"), ("no certificate", "NO_CERTIFICATE_OR_CRL_FOUND")]
)
def test_a_file_of_authorities_that_can_not_be_used_is_said(
    run: Run,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    tmp_path: Path,
    text: str | None,
    words: str,
) -> None:
    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))

    async def main() -> None:
        async with outside(always(answer()), certificates.server("good")) as o:
            await refused(o, "unable to get local issuer certificate", is_platform=False)

    run(main)
    assert [r.getMessage() for r in caplog.records if str(path) in r.getMessage()] == [
        f"SSL_CERT_FILE names {path}, which can't be used ({words}): no CA of it is trusted"
    ]


def other_authority(folder: Path) -> str:
    """A CA that has signed nothing."""
    words = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    openssl = shutil.which("openssl") or ""
    files = ("-subj", "/CN=another CA", "-keyout", "other.key", "-out", "other.pem")
    subprocess.run([openssl, *words, *files], check=True, capture_output=True, cwd=folder)
    return (folder / "other.pem").read_text()


async def refused(o: Outside, words: str, *, is_platform: bool) -> None:
    """The client hears why at once, it is counted, and the provider has heard neither key nor request."""
    o.rig.gateway.core.brings_endpoints = is_platform  # as `up` and a cluster have it: more engines may come
    for _ in range(8):  # till it is out of use, and after
        began = monotonic()
        got = await o.rig.ask(post())
        assert monotonic() - began < 5  # the queue would hold it for a minute
        assert (got.status, got.code) == (502, "upstream_error")
        assert f"far/big can't be trusted ({words}" in got.json["error"]["message"]
        assert PROVIDER_KEY not in repr(got)
    record = await o.rig.ended(8)
    assert record.outcome == "upstream_error"
    assert o.failures >= 1
    assert o.provider.requests == []
    assert PROVIDER_KEY not in repr(o.rig.records)


def test_a_provider_that_speaks_plain_http_is_told_apart(run: Run, trusted: Certificates) -> None:
    async def script(link: Link) -> None:
        await link.send(answer())

    async def main() -> None:
        async with outside(script, None) as o:
            got = await o.rig.ask(post())
            assert got.status == 502
            assert "does not speak TLS" in got.json["error"]["message"]

    run(main)


def test_a_handshake_that_never_ends_takes_no_longer_than_connecting_may(run: Run, trusted: Certificates) -> None:
    async def script(link: Link) -> None:
        await link.gone()

    async def main() -> None:
        async with outside(script, None, more="    timeouts: {connectS: 0.1}\n") as o:
            got = await o.rig.ask(post())
            assert got.status == 502
            assert "did not accept a connection within 0.1 s" in got.json["error"]["message"]
            assert o.failures == 1

    run(main)


def test_a_client_that_leaves_during_the_handshake_leaves_nothing_behind(run: Run, trusted: Certificates) -> None:
    async def script(link: Link) -> None:
        await link.gone()

    async def main() -> None:
        async with outside(script, None) as o:
            async with o.rig.client() as client:
                await client.send(post())
                await eventually(lambda: bool(o.provider.links))
            assert (await o.rig.ended()).outcome == "cancelled"
            await o.provider.links[0].gone()

    run(main)


@pytest.mark.parametrize("name", ["good", "other"])
def test_the_key_of_a_provider_is_in_no_log(
    run: Run, trusted: Certificates, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    log = tmp_path / "access.log"
    caplog.set_level(0)

    async def main() -> None:
        async with outside(always(answer()), trusted.server(name), access_log=str(log)) as o:
            await o.rig.ask(post())
            assert PROVIDER_KEY not in json.dumps(o.rig.gateway.telemetry.recent(10))

    run(main)
    assert "model=far/big" in log.read_text()
    assert PROVIDER_KEY not in log.read_text()
    assert PROVIDER_KEY not in caplog.text
