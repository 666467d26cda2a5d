"""What a database's failure is called: real ones, each told with the store's name and without a trace."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.errors import PenstockError
from penstock.serve.io.stores import KeyStore
from penstock.serve.io.stores.failures import told
from penstock.serve.keys import KeyRequest, key_text, new_record
from serve.io.stores.databases import PostgresServer, address

RECORD = new_record(KeyRequest(tenant="acme", name="laptop"), key_text(bytes(32)), now=0)
ROOT = Path(__file__).resolve().parents[4]


def failure(url: str, folder: Path) -> PenstockError:
    with pytest.raises(PenstockError) as raised:
        asyncio.run(KeyStore(address(url, folder), "demo").change(lambda _: [RECORD]))
    return raised.value


def test_a_file_that_is_no_database_is_told_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "keys.db").write_text("hello, I am a text file and not a database at all" * 30)
    before = (tmp_path / "keys.db").read_bytes()

    error = failure("sqlite:keys.db", tmp_path)

    assert error.message == f"The store {tmp_path}/keys.db is no SQLite file."
    assert (tmp_path / "keys.db").read_bytes() == before


def test_a_folder_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "keys.db").mkdir()

    assert "can't be opened" in failure("sqlite:keys.db", tmp_path).message


def test_a_writer_that_waits_in_vain_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(KeyStore(address("sqlite:keys.db", tmp_path), "demo").change(lambda _: []))
    monkeypatch.setattr("penstock.serve.io.stores.address.ANSWER_S", 0.05)
    other = sqlite3.connect(tmp_path / "keys.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        assert "is held by another writer" in failure("sqlite:keys.db", tmp_path).message
    finally:
        other.close()


CROWDED = """
import asyncio, resource, signal, sys
from pathlib import Path
from penstock.errors import PenstockError
from penstock.serve.io.stores import KeyStore, StoreAddress
from penstock.serve.keys import KeyRequest, key_text, new_record

async def main(folder):
    store = KeyStore(StoreAddress(url="sqlite:keys.db", folder=Path(folder), is_asked=True), "demo")
    await store.change(lambda _: [])
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    size = Path(folder, "keys.db").stat().st_size + 8192
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    for number in range(10_000):
        key = key_text(number.to_bytes(32))
        try:
            await store.change(lambda _: [new_record(KeyRequest(tenant="a", name=f"{number}"), key, now=0)])
        except PenstockError as error:
            print(error.message)
            print(number == len(await store.records()))
            return

asyncio.run(main(sys.argv[1]))
"""


def test_a_disk_that_takes_no_more_is_told_and_what_was_there_stays(tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: writing fails in the same place."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    words = [sys.executable, "-c", CROWDED, str(tmp_path)]
    told_, kept = subprocess.run(words, env=env, capture_output=True, text=True, check=True).stdout.splitlines()

    assert told_.startswith(f"The store {tmp_path}/keys.db can't be ")
    assert "disk" in told_
    assert kept == "True"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (sqlite3.SQLITE_READONLY_DBMOVED, "is read-only"),
        (sqlite3.SQLITE_FULL, "its disk is full"),
        (sqlite3.SQLITE_IOERR_WRITE, "its disk fails"),
        (sqlite3.SQLITE_CORRUPT_INDEX, "is damaged"),
    ],
)
def test_extended_codes_of_sqlite_are_told_by_their_kind(tmp_path: Path, code: int, words: str) -> None:
    error = sqlite3.OperationalError("x")
    error.sqlite_errorcode = code

    with pytest.raises(PenstockError, match=words), told(address("sqlite:keys.db", tmp_path)):
        raise error


@pytest.mark.skipif(os.getuid() == 0, reason="root writes where it may not")
def test_a_read_only_file_is_told(tmp_path: Path) -> None:
    asyncio.run(KeyStore(address("sqlite:keys.db", tmp_path), "demo").change(lambda _: []))
    (tmp_path / "keys.db").chmod(0o400)
    tmp_path.chmod(0o500)
    try:
        assert asyncio.run(KeyStore(address("sqlite:keys.db", tmp_path), "demo").records()) == []
        assert "is read-only" in failure("sqlite:keys.db", tmp_path).message
        assert "can't be opened: Permission denied" in failure("sqlite:other.db", tmp_path).message
    finally:
        tmp_path.chmod(0o700)


def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    error = failure("postgresql://penstock@127.0.0.1:1/penstock", tmp_path)

    assert error.message.startswith("The store postgresql://penstock@127.0.0.1:1/penstock can't be reached")


def test_what_postgresql_refuses_is_told(postgres: PostgresServer, tmp_path: Path) -> None:
    url = postgres.database()
    name = url.rpartition("/")[2]

    assert "has no such database" in failure(f"{url}x", tmp_path).message
    postgres.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert "is read-only" in failure(url, tmp_path).message
    postgres.sql("CREATE ROLE reader LOGIN PASSWORD 'not-the-default-1'")
    postgres.sql(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    assert "does not let the user do that" in failure(url.replace("penstock@", "reader@"), tmp_path).message
