"""Files named on the command line: each way in which one cannot be read is told in words."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from penstock.cli.files import load_fleet_file, read_text
from penstock.errors import SpecError, UsageError

FLEET = "apiVersion: penstock.dev/v1alpha1\nkind: Fleet\nmetadata: {name: a}\nspec: {models: [{name: m}]}\n"


def test_a_file_is_read_without_its_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbf" + "ключ: 1\n".encode())

    assert read_text(str(tmp_path / "a.yaml")) == "ключ: 1\n"


def test_a_dash_is_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(FLEET.encode())))

    assert load_fleet_file("-").metadata.name == "a"


def test_a_wrong_file_is_told_by_the_name_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("- 1\n", encoding="utf-8")

    with pytest.raises(SpecError) as caught:
        load_fleet_file(str(path))

    assert caught.value.problems[0].file == str(path)


def test_a_missing_file_is_told_with_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").touch()

    with pytest.raises(UsageError, match="there is no file") as caught:
        read_text(str(tmp_path / "flete.yaml"))

    assert caught.value.hint == f"did you mean {tmp_path / 'fleet.yaml'}?"


def test_a_missing_file_is_told_with_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").touch()

    with pytest.raises(UsageError) as caught:
        read_text(str(tmp_path / "zzz"))

    assert caught.value.hint == "YAML files there: fleet.yaml"


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_text(str(tmp_path / "no" / "fleet.yaml"))

    assert caught.value.hint == f"there is no folder {tmp_path / 'no'} either"


def test_a_folder_is_told_with_the_files_in_it(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").touch()

    with pytest.raises(UsageError, match="is a folder, not a file") as caught:
        read_text(str(tmp_path))

    assert caught.value.hint == "name a file in it: fleet.yaml"


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"a: 1\nb: \xff\n", "is not UTF-8 text: byte 0xFF on line 2"),
        ("a: 1\n".encode("utf-16"), "is UTF-16 text"),
        (b"#" * (4 * 1024 * 1024 + 1), "larger than 4 MiB"),
    ],
)
def test_what_is_no_fleet_file_at_all_is_told(tmp_path: Path, raw: bytes, words: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(raw)

    with pytest.raises(UsageError, match=words):
        read_text(str(path))


def test_a_name_that_no_file_can_have_is_told() -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_text("a\x00b")
    with pytest.raises(UsageError, match="cannot be read"):
        read_text("x" * 5000)


def test_a_file_in_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").touch()

    with pytest.raises(UsageError, match="cannot be read: Not a directory"):
        read_text(str(tmp_path / "a.yaml" / "b.yaml"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_is_not_ours_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.touch(mode=0o000)

    with pytest.raises(UsageError, match="permission denied"):
        read_text(str(path))
