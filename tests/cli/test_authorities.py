"""The CAs of providers are read from beside the fleet file, and a file that can't be used is told with its line."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from penstock.cli.front_door import Listeners, LoadedFleet, load
from penstock.errors import SpecError

FLEET = """\
apiVersion: penstock.dev/v1alpha1
kind: Fleet
metadata: {name: demo}
spec:
  models:
    - {name: chat, endpoints: ["http://127.0.0.1:1"], fallbacks: [{provider: far}, {provider: near}]}
  gateway:
    auth: {anonymous: true}
    providers:
      - name: near
        url: https://near.example/v1
      - name: far
        url: https://far.example/v1
        caFile: FILE
"""


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> str:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the openssl command makes the certificate of this test, and is not there")
    folder = tmp_path_factory.mktemp("ca")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "ca.key")
    words = ("req", "-x509", *key, "-days", "2", "-subj", "/CN=a CA", "-out", "ca.pem")
    subprocess.run([openssl, *words], check=True, capture_output=True, cwd=folder)
    return (folder / "ca.pem").read_text()


def loaded(folder: Path, file: str = "corp/ca.pem") -> LoadedFleet:
    path = folder / "fleet.yaml"
    path.write_text(FLEET.replace("FILE", file))
    return load(str(path), Listeners(listen=None, admin=None))


def write(folder: Path, content: bytes) -> None:
    (folder / "corp").mkdir(exist_ok=True)
    (folder / "corp" / "ca.pem").write_bytes(content)


def test_a_path_is_relative_to_the_fleet_file_and_the_file_is_watched(
    tmp_path: Path, pem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, pem.encode())
    monkeypatch.chdir("/")

    it = loaded(tmp_path)

    far, near = (fallback.provider for fallback in it.config.fallbacks["chat"])
    assert far is not None
    assert far.tls_host is not None
    assert far.tls_host.authorities == pem
    assert near is not None
    assert near.tls_host is not None
    assert near.tls_host.authorities == ""
    assert it.watched_files == [str(tmp_path / "fleet.yaml"), str(tmp_path / "corp" / "ca.pem")]


def test_an_absolute_path_is_taken_as_it_is(tmp_path: Path, pem: str) -> None:
    write(tmp_path, pem.encode())
    assert loaded(tmp_path, str(tmp_path / "corp" / "ca.pem")).config.fallbacks


def test_words_around_the_certificates_do_no_harm(tmp_path: Path, pem: str) -> None:
    write(tmp_path, f"# Prüfstelle, 2026\n{pem}\n# the same once more\n{pem}".encode())
    assert loaded(tmp_path).config.fallbacks


def test_no_certificate_of_a_provider_is_in_what_is_logged_of_it(tmp_path: Path, pem: str) -> None:
    write(tmp_path, pem.encode())
    assert "BEGIN" not in repr(loaded(tmp_path).config.fallbacks)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no file {path}"),
        (b"", "{path} holds no certificate, or one that can't be read"),
        (b"corp", "{path} holds no certificate, or one that can't be read"),
        (b"\xff\xfe\x00\x30\x82", "{path} holds no certificate, or one that can't be read"),
        (b"-----BEGIN CERTIFICATE-----\nMIIB\n", "{path} holds no certificate, or one that can't be read"),
        (b"x" * (1024 * 1024 + 1), "{path} is larger than 1024 KiB: that is no file of CAs"),
    ],
)
def test_a_file_that_can_not_be_used_is_told_with_its_line(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        write(tmp_path, content)

    with pytest.raises(SpecError) as caught:
        loaded(tmp_path)

    (problem,) = caught.value.problems
    assert problem.field == "spec.gateway.providers[1].caFile"
    assert problem.line == 1 + FLEET.splitlines().index("        caFile: FILE")
    assert problem.message == message.format(path=tmp_path / "corp" / "ca.pem")
    assert problem.hint


def test_a_folder_is_no_file_of_cas(tmp_path: Path) -> None:
    (tmp_path / "corp" / "ca.pem").mkdir(parents=True)

    with pytest.raises(SpecError) as caught:
        loaded(tmp_path)

    assert caught.value.problems[0].message == f"{tmp_path / 'corp' / 'ca.pem'} can't be read: Is a directory"


def test_an_address_in_plain_http_has_no_certificate_to_check(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET.replace("https://far", "http://far"))

    with pytest.raises(SpecError) as caught:
        load(str(path), Listeners(listen=None, admin=None))

    (problem,) = caught.value.problems
    assert problem.field == "spec.gateway.providers[1].caFile"
    assert "plain HTTP" in problem.message
