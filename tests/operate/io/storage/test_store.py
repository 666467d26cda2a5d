"""A store is listed, watched over, and cleared, and never left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fakes.stores import Memory, pull
from penstock.errors import PenstockError, UsageError
from penstock.operate.io.storage import Stored, published, remove, scan, server_now
from penstock.operate.io.storage.lock import RevisionLock, this_process
from penstock.operate.storage import MARKER, Entry, EntryKind


def age(path: Path, seconds: float) -> None:
    now = path.stat().st_mtime
    os.utime(path, (now - seconds, now - seconds))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    place = tmp_path / "store"
    for revision in ("r1", "r2"):
        pull(Memory(revision=revision), place)
    return place


def found(store: Path) -> dict[str, Entry]:
    return {entry.path: entry for entry in scan(store, now=server_now(store))}


def test_what_is_published_is_listed(store: Path) -> None:
    assert [s.record.revision for s in published(store) if isinstance(s, Stored)] == ["r1", "r2"]


def test_a_damaged_record_is_told_and_the_others_listed(store: Path) -> None:
    (store / "org--tiny" / "r1" / MARKER).write_text("{")

    kinds = [type(s).__name__ for s in published(store)]

    assert kinds == ["UsageError", "Stored"]


def test_a_store_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        list(published(tmp_path / "nope"))


def test_every_entry_is_seen_as_what_it_is(store: Path) -> None:
    model = store / "org--tiny"
    (model / ".partial-r3").mkdir()
    (model / ".partial-r3" / "x.part").write_bytes(b"12345")
    (model / ".trash-1").mkdir()
    (model / "mine").mkdir()
    (model / "current").symlink_to("r2")
    (store / ".drill-1").mkdir()
    entries = found(store)

    assert {p: e.kind for p, e in entries.items()} == {
        "./.drill-1": EntryKind.PARTIAL,
        "org--tiny/.partial-r3": EntryKind.PARTIAL,
        "org--tiny/.trash-1": EntryKind.TRASH,
        "org--tiny/mine": EntryKind.REVISION,
        "org--tiny/r1": EntryKind.REVISION,
        "org--tiny/r2": EntryKind.REVISION,
    }
    assert entries["org--tiny/.partial-r3"].size == 5
    assert not entries["org--tiny/mine"].is_published
    assert [p for p, e in entries.items() if e.is_current] == ["org--tiny/r2"]


@pytest.mark.parametrize(
    ("content", "used"),
    [('{"revision": "r1"}', ["r1"]), ("r1", ["r1"]), ("", ["r1", "r2"]), ('{"revision": "r9"}', [])],
)
def test_a_fresh_sign_of_use_counts_for_what_it_names(store: Path, content: str, used: list[str]) -> None:
    (store / "org--tiny" / ".in-use-pod-1").write_text(content)

    assert [e.name for e in found(store).values() if e.used_by and e.kind is EntryKind.REVISION] == used


def test_a_sign_that_is_no_longer_renewed_does_not_count(store: Path) -> None:
    sign = store / "org--tiny" / ".in-use-pod-1"
    sign.write_text("r1")
    age(sign, 3600)

    assert [e.name for e in found(store).values() if e.used_by] == []


def test_a_process_that_names_the_folder_uses_it(store: Path) -> None:
    folder = store / "org--tiny" / "r1"
    words = [sys.executable, "-c", "print(flush=True); input()", "--model", str(folder)]
    engine = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert engine.stdout is not None
    engine.stdout.readline()  # it runs
    try:
        assert found(store)["org--tiny/r1"].used_by == (f"process {engine.pid}",)
        assert found(store)["org--tiny/r2"].used_by == ()
    finally:
        engine.communicate("\n")


def test_a_lock_counts_while_its_owner_beats(store: Path) -> None:
    lock = store / "org--tiny" / ".lock-r1"
    elsewhere = replace(this_process(), place="another-boot")
    lock.write_text(elsewhere.to_json())
    assert found(store)["org--tiny/r1"].is_locked
    assert not found(store)["org--tiny/r2"].is_locked

    age(lock, 120)
    assert not found(store)["org--tiny/r1"].is_locked

    lock.write_text(replace(this_process(), pid=2**22 + 1, started="7").to_json())
    assert not found(store)["org--tiny/r1"].is_locked


def test_links_are_not_entries_and_not_models(store: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    pull(Memory(), outside)
    (store / "linked").symlink_to(outside / "org--tiny")
    (store / "org--tiny" / "r9").symlink_to(outside / "org--tiny" / "r1")

    assert sorted(found(store)) == ["org--tiny/r1", "org--tiny/r2"]


def test_a_removed_revision_is_gone_and_the_rest_stays(store: Path) -> None:
    remove(store, found(store)["org--tiny/r1"])

    assert sorted(p.name for p in (store / "org--tiny").iterdir()) == ["r2"]


def test_nothing_is_removed_through_a_link_that_came_meanwhile(store: Path, tmp_path: Path) -> None:
    entry = found(store)["org--tiny/r1"]
    (store / "org--tiny").rename(tmp_path / "elsewhere")
    (store / "org--tiny").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(PenstockError, match="through a link"):
        remove(store, entry)

    assert (tmp_path / "elsewhere" / "r1").exists()


def test_an_entry_that_would_lead_out_is_not_removed(store: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    entry = Entry(model="org--tiny", name="../../kept", kind=EntryKind.REVISION, size=0, age_s=0)

    with pytest.raises(PenstockError, match="through a link"):
        remove(store, entry)

    assert kept.exists()


def test_what_a_pull_works_on_is_not_removed(store: Path) -> None:
    entry = found(store)["org--tiny/r1"]
    with RevisionLock(store / "org--tiny" / ".lock-r1") as lock:
        lock.take()

        with pytest.raises(PenstockError, match="a pull works on"):
            remove(store, entry)

    assert (store / "org--tiny" / "r1").exists()


def test_a_drill_and_a_sign_are_removed_too(store: Path) -> None:
    (store / ".drill-1" / "x").mkdir(parents=True)
    (store / "org--tiny" / ".in-use-old").write_text(json.dumps({"revision": "r1"}))

    for path in ("./.drill-1", "org--tiny/.in-use-old"):
        remove(store, found(store)[path])

    assert sorted(p.name for p in store.iterdir()) == ["org--tiny"]
