"""Where a store is: paths from the fleet file's folder, and a password that no text ever shows."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from penstock.errors import PenstockError
from penstock.serve.io.stores import KeyStore, StoreAddress
from serve.io.stores.databases import PostgresServer, address


@pytest.mark.parametrize(("url", "path"), [("sqlite:a/b.db", "here/a/b.db"), ("sqlite:///var/b.db", "/var/b.db")])
def test_a_relative_file_is_meant_from_the_fleets_folder(url: str, path: str) -> None:
    assert address(url, Path("here")).path == Path(path)


def test_a_password_is_shown_nowhere() -> None:
    place = StoreAddress(
        url="postgresql://u@db/p?sslmode=require", folder=Path(), is_asked=True, password=lambda: "hunter2"
    )

    assert (place.kind, place.path, place.shown) == ("postgresql", None, "postgresql://u@db/p")
    assert "hunter2" not in repr(place) + repr(place.engine().url)


@pytest.mark.parametrize("name", ["with space.db", "per%20cent.db", "ünï.db"])
def test_any_name_of_a_file_is_that_file(tmp_path: Path, name: str) -> None:
    asyncio.run(KeyStore(address(f"sqlite:{name}", tmp_path), "demo").change(lambda _: []))

    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_password_is_asked_at_each_connection(postgres: PostgresServer, tmp_path: Path) -> None:
    given = ["wrong-one", "not-the-default-1"]

    def password() -> str:
        return given.pop(0) if len(given) > 1 else given[0]

    place = StoreAddress(url=postgres.database(), folder=tmp_path, is_asked=True, password=password)

    with pytest.raises(PenstockError, match="refuses the password") as refusal:
        asyncio.run(KeyStore(place, "demo").records())
    assert "wrong-one" not in str(refusal.value)
    assert asyncio.run(KeyStore(place, "demo").records()) == []
