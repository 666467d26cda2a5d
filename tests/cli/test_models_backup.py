"""`penstock models backup` and `restore`: what they print, and where they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.models_place import filled
from penstock.cli.main import main


def test_a_backup_tells_what_it_copied_and_a_second_one_copies_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [done] = filled(tmp_path / "s")
    words = ["models", "backup", "org/tiny", str(tmp_path / "bak"), f"--to={tmp_path / 's'}", "-o", "json"]

    assert main(words) == 0
    first = json.loads(capsys.readouterr().out)
    assert main(words) == 0
    second = json.loads(capsys.readouterr().out)

    assert (first["copied_bytes"], first["copied_files"]) == (done.bytes, done.files)
    assert (second["copied_bytes"], second["present_files"]) == (0, done.files)


def test_the_newest_of_several_is_taken_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled(tmp_path / "s", "r1", "r2")

    assert main(["models", "backup", "org--tiny", str(tmp_path / "bak"), f"--to={tmp_path / 's'}"]) == 0
    out, err = capsys.readouterr()

    assert "org--tiny has 2 revisions: taking the newest" in err
    assert "read back and compared: the backup is whole" in err
    assert "org--tiny" in out


def test_a_drill_says_that_it_passed_and_names_no_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled(tmp_path / "s")
    main(["models", "backup", "org/tiny", str(tmp_path / "bak"), f"--to={tmp_path / 's'}"])
    words = ["models", "restore", "org/tiny", "--from", str(tmp_path / "bak"), f"--to={tmp_path / 's'}", "--drill"]

    assert main(words) == 0
    assert "the drill passed" in capsys.readouterr().err
    assert main([*words, "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["is_drill"], found["path"], found["name"]) == (True, None, "org--tiny")


def test_a_hub_is_no_place_for_a_backup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled(tmp_path / "s")

    assert main(["models", "backup", "org/tiny", "hf://org/tiny", f"--to={tmp_path / 's'}"]) == 2
    assert "cannot hold a backup" in capsys.readouterr().err
    assert main(["models", "backup", "org/tiny", " ", f"--to={tmp_path / 's'}"]) == 2
    assert main(["models", "backup", "nope", "bak", f"--to={tmp_path / 's'}"]) == 2
