"""Making, replacing and ending keys: the key is given once, and only its digest arrives in the store."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from penstock.errors import UsageError
from penstock.serve.io.stores import KeyDesk, KeyStore
from penstock.serve.keys import KeyForm, KeyRequest, form_of
from serve.io.stores.databases import address

REQUEST = KeyRequest(tenant="acme", name="laptop", models=("chat",))


class Desk(KeyDesk):
    """A desk over a file, with a clock that is set by hand."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "state" / "keys.db"
        self.now = 1000.9
        store = KeyStore(address("sqlite:state/keys.db", folder, is_asked=False), "demo")
        super().__init__(store, served=lambda: ["chat"], clock=lambda: self.now)


def test_a_key_is_given_once_and_the_store_has_its_digest(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    made = asyncio.run(desk.create(REQUEST))

    assert form_of(made.key) is KeyForm.WHOLE
    assert made.key not in repr(made)
    assert made.record.created == 1000
    (kept,) = asyncio.run(desk.records())
    assert kept == made.record
    assert kept.digest == hashlib.sha256(made.key.encode()).digest()
    assert made.key[4:-4].encode() not in desk.file.read_bytes()


def test_each_key_is_another(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    keys = {asyncio.run(desk.create(KeyRequest(tenant="acme", name=f"n{n}"))).key for n in range(3)}

    assert len(keys) == 3


@pytest.mark.parametrize("wrong", [KeyRequest(tenant="NO", name="a"), KeyRequest(tenant="a", name="a", models=("x",))])
def test_a_wrong_request_makes_no_store(tmp_path: Path, wrong: KeyRequest) -> None:
    desk = Desk(tmp_path)

    with pytest.raises(UsageError):
        asyncio.run(desk.create(wrong))
    assert not desk.file.exists()
    assert asyncio.run(desk.records()) == []


def test_a_name_is_given_once_for_as_long_as_its_key_is_valid(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    made = asyncio.run(desk.create(REQUEST))

    with pytest.raises(UsageError, match=made.record.id):
        asyncio.run(desk.create(REQUEST))
    asyncio.run(desk.revoke(made.record.id))
    asyncio.run(desk.create(REQUEST))


def test_a_rotation_writes_both_and_gives_the_new_key(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    old = asyncio.run(desk.create(REQUEST))

    new = asyncio.run(desk.rotate(old.record.id, overlap_s=60))

    assert new.replaced is not None
    assert (new.replaced.expires, new.replaced.successor) == (1060, new.record.id)
    assert {r.id: r for r in asyncio.run(desk.records())} == {
        old.record.id: new.replaced,
        new.record.id: new.record,
    }
    assert form_of(new.key) is KeyForm.WHOLE


def test_revoking_twice_keeps_the_first_time(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    made = asyncio.run(desk.create(REQUEST))
    first = asyncio.run(desk.revoke(made.record.id))
    desk.now = 5000.0

    assert asyncio.run(desk.revoke(made.record.id)) == first
    assert first.revoked == 1000


def test_an_unknown_id_is_told_and_a_key_in_its_place_is_not_repeated(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    made = asyncio.run(desk.create(REQUEST))

    with pytest.raises(UsageError, match="no key 'key_0'"):
        asyncio.run(desk.revoke("key_0"))
    with pytest.raises(UsageError, match="named by its id") as refusal:
        asyncio.run(desk.rotate(made.key, overlap_s=0))
    assert made.key not in str(refusal.value)
