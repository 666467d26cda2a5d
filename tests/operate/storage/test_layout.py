"""Names of a store: ours are told apart, and no name from outside leaves its folder."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import UsageError
from penstock.operate.storage.layout import (
    EntryKind,
    check_paths,
    entry_kind,
    lock_name,
    model_folder,
    partial_name,
    path_trouble,
    safe_revision,
)


@pytest.mark.parametrize(
    ("name", "is_folder", "kind"),
    [
        ("0123abc", True, EntryKind.REVISION),
        (".partial-0123abc", True, EntryKind.PARTIAL),
        (".lock-0123abc", False, EntryKind.LOCK),
        (".in-use-pod-1", False, EntryKind.IN_USE),
        (".trash-77", True, EntryKind.TRASH),
        ("notes.txt", False, EntryKind.OTHER),
        (".lock-0123abc", True, EntryKind.OTHER),
        (".hidden", True, EntryKind.OTHER),
    ],
)
def test_an_entry_is_told_by_its_name(name: str, is_folder: bool, kind: EntryKind) -> None:
    assert entry_kind(name, is_folder=is_folder) is kind


def test_a_revision_names_its_folder_its_partial_and_its_lock() -> None:
    digest = "sha256:" + "a" * 64

    assert model_folder("org--name", digest) == "org--name/sha256-" + "a" * 64
    assert partial_name("abc") == ".partial-abc"
    assert lock_name("abc") == ".lock-abc"


@pytest.mark.parametrize("revision", ["", ".", "..", "a/b", ".hidden", "x" * 129, "current"])
def test_a_revision_that_cannot_name_a_folder_is_refused(revision: str) -> None:
    with pytest.raises(UsageError, match="cannot name a folder"):
        safe_revision(revision)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../b",
        "a//b",
        "a\\b",
        "a\x00b",
        "./a",
        ".penstock-model.json",
        "a/.lock-1",
        "x.part",
    ],
)
def test_a_file_name_that_could_harm_is_told(path: str) -> None:
    assert path_trouble(path)
    with pytest.raises(UsageError, match="nothing was written"):
        check_paths(["config.json", path], "a source")


@given(st.text())
def test_a_path_that_passes_stays_inside(path: str) -> None:
    if path_trouble(path) is None:
        assert not PurePosixPath(path).is_absolute()
        assert ".." not in PurePosixPath(path).parts
        assert PurePosixPath("/m", path).is_relative_to("/m")
