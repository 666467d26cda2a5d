"""The file system: whole or not at all, in words, and never through a link."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from penstock.errors import PenstockError
from penstock.operate.io.storage.files import (
    disk_words,
    file_sha256,
    free_bytes,
    put_text,
    remove_tree,
    set_link,
    sync_folder,
    sync_tree,
    tree_sizes,
)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "make room"),
        (errno.EACCES, "fsGroup"),
        (errno.EROFS, "mounted read-only"),
        (errno.EIO, "run the same command again"),
    ],
)
def test_the_disks_refusals_are_words(number: int, said: str) -> None:
    with (
        pytest.raises(PenstockError, match="writing into /models failed") as refusal,
        disk_words("writing into /models"),
    ):
        raise OSError(number, "reason", "/models/x")

    assert said in (refusal.value.hint or "")
    assert refusal.value.exit_code == 1


def test_a_librarys_error_that_is_no_disks_passes() -> None:
    with pytest.raises(OSError, match="mine"), disk_words("x"):
        raise OSError("mine")


def test_free_bytes_of_a_folder_that_is_not_there_yet_are_its_parents(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "a" / "b") > 0


def test_a_text_replaces_the_old_one_and_leaves_nothing_beside(tmp_path: Path) -> None:
    put_text(tmp_path / "x", "old")
    put_text(tmp_path / "x", "new")

    assert (tmp_path / "x").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_link_moves_from_one_target_to_the_next(tmp_path: Path) -> None:
    set_link(tmp_path / "current", "r1")
    set_link(tmp_path / "current", "r2")

    assert (tmp_path / "current").readlink() == Path("r2")
    assert [p.name for p in tmp_path.iterdir()] == ["current"]


def test_what_is_no_link_is_not_made_one(tmp_path: Path) -> None:
    (tmp_path / "current").mkdir()

    with pytest.raises(FileExistsError):
        set_link(tmp_path / "current", "r1")

    assert (tmp_path / "current").is_dir()


def test_sizes_are_of_plain_files_only(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "f").write_bytes(b"123")
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "loop").symlink_to(tmp_path)
    sync_tree(tmp_path)
    sync_folder(tmp_path)

    assert tree_sizes(tmp_path) == {"a/b/f": 3}


def test_a_hash_is_of_the_content_and_tells_how_far_it_is(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    counts: list[int] = []

    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
    assert file_sha256(tmp_path / "x", on_bytes=counts.append) == known
    assert counts == [3]


def test_removing_a_link_removes_the_link_only(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "x").touch()
    (tmp_path / "link").symlink_to(kept)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inner").symlink_to(kept)

    remove_tree(tmp_path / "link")
    remove_tree(tmp_path / "folder")

    assert [p.name for p in tmp_path.iterdir()] == ["kept"]
    assert (kept / "x").exists()
