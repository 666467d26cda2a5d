"""Generated folders: what is ours is kept in step, what is not is never touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.cli.folder import write_folder
from penstock.errors import UsageError

HEADER = "made by us"
A = f"# {HEADER}\na\n"
B = f"# {HEADER}\nb\n"


def test_files_are_written_with_their_folders(tmp_path: Path) -> None:
    change = write_folder(tmp_path / "out", {"x/a.yaml": A, "b.yaml": B}, header=HEADER)

    assert (change.added, change.removed) == (("b.yaml", "x/a.yaml"), ())
    assert (tmp_path / "out" / "x" / "a.yaml").read_text() == A


def test_a_second_run_changes_what_changed_and_removes_what_is_gone(tmp_path: Path) -> None:
    write_folder(tmp_path, {"x/a.yaml": A, "b.yaml": B, "c.yaml": A}, header=HEADER)
    change = write_folder(tmp_path, {"b.yaml": A, "c.yaml": A}, header=HEADER)

    assert (change.changed, change.same, change.removed) == (("b.yaml",), ("c.yaml",), ("x/a.yaml",))
    assert not (tmp_path / "x").exists()


def test_files_of_others_stay(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("kind: Mine\n")
    write_folder(tmp_path, {"a.yaml": A}, header=HEADER)
    write_folder(tmp_path, {}, header=HEADER)

    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_a_file_of_others_in_the_way_stops_everything(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("kind: Mine\n")
    with pytest.raises(UsageError, match=r"b\.yaml"):
        write_folder(tmp_path, {"a.yaml": A, "b.yaml": B}, header=HEADER)

    assert not (tmp_path / "a.yaml").exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text(A)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link.yaml").symlink_to(tmp_path / "elsewhere")
    write_folder(tmp_path / "out", {"a.yaml": A}, header=HEADER)

    assert (tmp_path / "elsewhere").exists()
    assert (tmp_path / "out" / "link.yaml").is_symlink()


def test_a_part_leaves_the_rest(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a.yaml": A, "b.yaml": B}, header=HEADER)
    change = write_folder(tmp_path, {"a.yaml": A}, header=HEADER, removes_others=False)

    assert change.removed == ()
    assert (tmp_path / "b.yaml").exists()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(UsageError, match="not a folder"):
        write_folder(tmp_path / "out", {}, header=HEADER)
