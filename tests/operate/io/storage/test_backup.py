"""Backups are whole when they say so, hold each content once, and come back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fakes.models import sha256, small_model
from fakes.s3 import FakeS3
from fakes.stores import Memory, QuickStop, flip, pull
from penstock.errors import PenstockError, UsageError
from penstock.operate.io.storage import BackedUp, Progress, Pulled, Stored, backup, open_vault, read_marker, restore
from penstock.operate.io.storage.files import tree_sizes
from penstock.operate.io.storage.folders import FolderVault
from penstock.operate.storage import parse_source
from penstock.operate.storage.vault import blob_key

FILES = small_model()
SHARD = "model-00001-of-00002.safetensors"


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    return stored_at(pull(Memory(), tmp_path / "store"))


def stored_at(pulled: Pulled) -> Stored:
    record = read_marker(Path(pulled.path))
    assert record is not None
    return Stored(folder=Path(pulled.path), record=record)


def backed_up(stored: Stored, vault: Any, *, checks_all: bool = False) -> BackedUp:
    return backup(stored, vault, checks_all=checks_all, progress=Progress(), stop=QuickStop())


def restored(vault: Any, store: Path, *, name: str = "org--tiny", is_drill: bool = False) -> Pulled:
    return restore(vault, name, None, store, is_drill=is_drill, progress=Progress(), stop=QuickStop())


def test_a_backup_comes_back_as_it_was(stored: Stored, tmp_path: Path) -> None:
    vault = FolderVault(tmp_path / "bak")
    backed_up(stored, vault)

    done = restored(vault, tmp_path / "new")

    assert {p: (Path(done.path) / p).read_bytes() for p in FILES} == FILES
    assert (done.revision, done.source) == ("r1", "org/tiny")


def test_a_bucket_keeps_a_backup_too(stored: Stored, tmp_path: Path, the_bucket: FakeS3) -> None:
    vault = open_vault(parse_source("s3://models/bak"))

    assert backed_up(stored, vault).copied_files == len(FILES)
    assert backed_up(stored, vault, checks_all=True).copied_files == 0
    assert restored(vault, tmp_path / "new").files == len(FILES)


def test_one_content_is_copied_once_across_revisions(stored: Stored, tmp_path: Path) -> None:
    vault = FolderVault(tmp_path / "bak")
    backed_up(stored, vault)
    newer = {**FILES, "generation_config.json": b"{}"}
    second = stored_at(pull(Memory(newer, revision="r2"), tmp_path / "store"))

    done = backed_up(second, vault)

    assert (done.copied_files, done.copied_bytes, done.present_files) == (1, 2, len(FILES) - 1)


def test_a_copy_that_the_destination_spoils_is_found_and_no_record_is_written(
    stored: Stored, the_bucket: FakeS3
) -> None:
    key = f"bak/{blob_key(sha256(FILES[SHARD]))}"
    the_bucket.rots.add(key)

    with pytest.raises(PenstockError, match=f"{SHARD} in the backup is not the file that was published"):
        backed_up(stored, open_vault(parse_source("s3://models/bak")))

    assert not [k for k in the_bucket.objects if k.startswith("bak/models/")]


def test_a_content_that_has_gone_bad_is_found_when_all_is_checked_and_copied_again(
    stored: Stored, tmp_path: Path
) -> None:
    vault = FolderVault(tmp_path / "bak")
    backed_up(stored, vault)
    blob = tmp_path / "bak" / blob_key(sha256(FILES[SHARD]))
    flip(blob)

    backed_up(stored, vault, checks_all=True)

    assert blob.read_bytes() == FILES[SHARD]


def test_a_damaged_original_is_not_backed_up(stored: Stored, tmp_path: Path) -> None:
    flip(stored.folder / SHARD)
    with pytest.raises(PenstockError, match="its hash differs"):
        backed_up(stored, FolderVault(tmp_path / "bak"))

    (stored.folder / SHARD).unlink()
    with pytest.raises(PenstockError, match="is damaged, and a backup of it would be too"):
        backed_up(stored, FolderVault(tmp_path / "bak"))

    assert not (tmp_path / "bak" / "models").exists()


def test_a_drill_proves_and_leaves_nothing(stored: Stored, tmp_path: Path) -> None:
    vault = FolderVault(tmp_path / "bak")
    backed_up(stored, vault)
    before = tree_sizes(tmp_path / "store")

    done = restored(vault, tmp_path / "store", is_drill=True)

    assert done.fetched_bytes == stored.record.size
    assert tree_sizes(tmp_path / "store") == before
    assert [p.name for p in (tmp_path / "store").iterdir()] == ["org--tiny"]


@pytest.mark.parametrize("how", ["flip", "gone"])
def test_a_drill_on_a_spoiled_backup_fails_and_leaves_nothing(stored: Stored, tmp_path: Path, how: str) -> None:
    vault = FolderVault(tmp_path / "bak")
    backed_up(stored, vault)
    blob = tmp_path / "bak" / blob_key(sha256(FILES[SHARD]))
    if how == "flip":
        flip(blob)
    else:
        blob.unlink()

    with pytest.raises(PenstockError):
        restored(vault, tmp_path / "store", is_drill=True)

    assert [p.name for p in (tmp_path / "store").iterdir()] == ["org--tiny"]


def test_what_is_not_in_the_backup_is_told(stored: Stored, tmp_path: Path) -> None:
    vault = FolderVault(tmp_path / "bak")
    backed_up(stored, vault)

    with pytest.raises(UsageError, match="no model 'other'") as refusal:
        restored(vault, tmp_path / "new", name="other")

    assert "it has org--tiny" in (refusal.value.hint or "")


def test_a_record_under_another_name_is_refused(stored: Stored, tmp_path: Path) -> None:
    vault = FolderVault(tmp_path / "bak")
    backed_up(stored, vault)
    (tmp_path / "bak" / "models" / "org--tiny").rename(tmp_path / "bak" / "models" / "evil")

    with pytest.raises(UsageError, match="is the record of org--tiny"):
        restored(vault, tmp_path / "new", name="evil")
