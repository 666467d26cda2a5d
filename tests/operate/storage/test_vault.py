"""Backups: one content once, and the record that says what belongs together."""

from __future__ import annotations

import pytest

from penstock.errors import UsageError
from penstock.operate.storage import FileRecord, ModelRecord, plan_backup
from penstock.operate.storage.vault import blob_key, choose_backup, listing_of, record_key, recorded

A, B = "a" * 64, "b" * 64
RECORD = ModelRecord(
    name="org--m",
    source="org/m",
    revision="sha256:" + "c" * 64,
    files=(
        FileRecord(path="x", size=5, sha256=A),
        FileRecord(path="y", size=5, sha256=A),
        FileRecord(path="z", size=7, sha256=B),
    ),
    published_at="t",
    verified_at="t",
)


def test_one_content_is_copied_once() -> None:
    plan = plan_backup(RECORD, {})

    assert [file.path for file in plan.copies] == ["x", "z"]
    assert plan.bytes_to_copy == 12


def test_what_is_there_is_not_copied_and_what_is_cut_short_is() -> None:
    plan = plan_backup(RECORD, {blob_key(A): 5, blob_key(B): 6})

    assert [file.path for file in plan.copies] == ["z"]
    assert [file.path for file in plan.present] == ["x"]


def test_keys_are_plain() -> None:
    assert blob_key(A) == f"blobs/sha256/aa/{A}"
    assert record_key("org--m", RECORD.revision) == "models/org--m/sha256-" + "c" * 64 + ".json"


def test_what_a_backup_holds_is_read_from_its_keys() -> None:
    keys = {"models/m/r1.json", "models/m/r0.json", "models/n/x.json", "blobs/sha256/aa/1", "models/m/.tmp", "other"}

    assert recorded(keys) == {"m": ["r0", "r1"], "n": ["x"]}


def test_a_revision_is_chosen_or_asked_for() -> None:
    found = {"m": ["0123456789"], "n": ["r0", "r1"]}

    assert choose_backup(found, "m", None, "/b") == ("m", "0123456789")
    assert choose_backup(found, "m", "0123456", "/b") == ("m", "0123456789")
    assert choose_backup(found, "n", "r1", "/b") == ("n", "r1")
    for name, revision, said in (
        ("x", None, "no model 'x'"),
        ("n", None, "2 revisions"),
        ("n", "r2", "no revision 'r2'"),
    ):
        with pytest.raises(UsageError, match=said):
            choose_backup(found, name, revision, "/b")


def test_a_record_is_a_source_of_its_contents() -> None:
    listing = listing_of(RECORD)

    assert listing.revision == RECORD.revision
    assert [(f.path, f.key, f.sha256) for f in listing.files] == [
        ("x", blob_key(A), A),
        ("y", blob_key(A), A),
        ("z", blob_key(B), B),
    ]
