"""The snapshot: its owner's alone, whole, of one store and fleet, with digests and no key."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from penstock.serve.io.stores import Snapshot
from penstock.serve.io.stores.snapshot import KnownKeys
from penstock.serve.keys import KeyRequest, key_text, new_record

KEY = key_text(bytes(range(32)))
RECORD = new_record(KeyRequest(tenant="acme", name="laptop", models=("chat",), expires=99), KEY, now=1)
KEYS = KnownKeys(records=(RECORD, replace(RECORD, id="key_2", models=None, expires=None)), has_keys=True)
URL = "sqlite:keys.db"


def snapshot(folder: Path, *, url: str = URL, fleet: str = "demo") -> Snapshot:
    return Snapshot(folder / "state" / "keys.snapshot", url=url, fleet=fleet)


@pytest.mark.parametrize("keys", [KEYS, KnownKeys(records=(), has_keys=True), KnownKeys(records=(), has_keys=False)])
def test_what_is_saved_is_loaded(tmp_path: Path, keys: KnownKeys) -> None:
    snapshot(tmp_path).save(KEYS)
    snapshot(tmp_path).save(keys)

    assert snapshot(tmp_path).load() == keys


def test_it_is_its_owners_alone_and_holds_no_key(tmp_path: Path) -> None:
    snapshot(tmp_path).save(KEYS)

    (path,) = (tmp_path / "state").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert KEY[4:-4] not in path.read_text()


def test_of_another_store_or_fleet_it_is_not_taken(tmp_path: Path) -> None:
    snapshot(tmp_path).save(KEYS)

    assert snapshot(tmp_path, url="postgresql://a@b/c").load() is None
    assert snapshot(tmp_path, fleet="other").load() is None


@pytest.mark.parametrize("text", ["", "{}", "[]", "nonsense", '{"format": 2}', "\0", None])
def test_a_damaged_one_is_not_taken(tmp_path: Path, text: str | None) -> None:
    snapshot(tmp_path).save(KEYS)
    path = tmp_path / "state" / "keys.snapshot"
    path.write_text(path.read_text()[:-30] if text is None else text)

    assert snapshot(tmp_path).load() is None


def test_one_that_can_not_be_written_leaves_the_former_one(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")

    with pytest.raises(OSError, match="state"):
        snapshot(tmp_path).save(KEYS)
    assert snapshot(tmp_path).load() is None
