"""How long and how often an API server is asked, and that nothing secret stays behind."""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from operate.io.kubernetes.clusters import FAST, run, serving
from penstock.operate.apply.failures import Asked
from penstock.operate.io.kubernetes.session import Patience, open_session


@given(st.integers(0, 30), st.floats(0, 1e6))
def test_a_pause_grows_and_never_passes_the_longest(tried: int, asked_s: float) -> None:
    patience = Patience()

    pause_s = patience.pause_s(tried, asked_s)

    assert 0 < pause_s <= patience.longest_s
    assert pause_s >= min(patience.first_s, patience.longest_s)
    assert patience.pause_s(tried + 1, asked_s) >= pause_s


def test_what_the_server_asks_for_is_waited_within_reason() -> None:
    assert Patience().pause_s(0, 2.0) == 2.0
    assert Patience().pause_s(0, 3600.0) == 5.0


def test_all_tries_together_give_a_restarting_server_some_seconds() -> None:
    patience = Patience()

    whole_s = sum(patience.pause_s(tried) for tried in range(patience.tries - 1))

    assert 8 < whole_s < 20


def test_key_files_that_were_written_for_the_connection_are_removed(tmp_path: Path) -> None:
    async def work() -> None:
        async with serving() as (server, _):
            path = server.kubeconfig(tmp_path / "config")
            config = json.loads(path.read_text(encoding="utf-8"))
            secret = base64.b64encode(_certificate(tmp_path)).decode()
            config["clusters"][0]["cluster"]["certificate-authority-data"] = secret
            path.write_text(json.dumps(config), encoding="utf-8")
            before = _files()

            async with open_session(kubeconfig=str(path), patience=FAST) as session:
                await session.request("GET", "/version", Asked(verb="get", resource="the version"))
                assert _files() - before

            left = _files() - before
            assert [p for p in left if p.is_file() and p.read_bytes() == _certificate(tmp_path)] == []

    run(work)


def _files() -> set[Path]:
    return set(Path(tempfile.gettempdir()).iterdir())


def _certificate(folder: Path) -> bytes:
    """A certificate that any TLS library ships."""
    import certifi

    text = Path(certifi.where()).read_text(encoding="utf-8")
    end = "-----END CERTIFICATE-----"
    return (text[text.index("-----BEGIN") : text.index(end)] + end + "\n").encode()
