"""`penstock models`: every command is there, and says with its exit code whether another try may help."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fakes.models import small_model, write
from penstock.cli.main import main


@pytest.mark.parametrize("command", ["pull", "verify", "list", "backup", "restore", "gc"])
def test_every_command_has_its_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", command, "--help"]) == 0
    assert "--to" in capsys.readouterr().out


def test_a_models_whole_life(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, store, bak = write(small_model(), tmp_path / "tiny"), f"--to={tmp_path / 'store'}", str(tmp_path / "bak")

    assert main(["models", "pull", str(source), store, "--revision", "v1"]) == 0
    assert main(["models", "pull", str(source), store, "--revision", "v1"]) == 0
    assert "is there and valid" in capsys.readouterr().err
    assert main(["models", "list", store]) == 0
    assert "tiny" in capsys.readouterr().out
    assert main(["models", "verify", store]) == 0
    assert main(["models", "backup", "tiny", bak, store]) == 0
    assert main(["models", "restore", "tiny", "--from", bak, "--drill", store]) == 0
    assert main(["models", "gc", "--keep", "0", "--yes", store]) == 0
    assert not (tmp_path / "store" / "tiny" / "v1").exists()
    assert main(["models", "restore", "tiny", "--from", bak, store]) == 0
    assert main(["models", "verify", "tiny", store]) == 0


def test_the_store_is_taken_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PENSTOCK_MODELS_DIR", str(tmp_path / "s"))

    assert main(["models", "pull", str(write(small_model(), tmp_path / "m")), "-o", "json"]) == 0

    assert json.loads(capsys.readouterr().out)["models"][0]["path"].startswith(str(tmp_path / "s"))


def test_a_wrong_source_is_wrong_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "pull", "https://example.com/x", f"--to={tmp_path}"]) == 2
    assert main(["models", "pull", str(tmp_path / "nope"), f"--to={tmp_path}"]) == 2


def test_a_place_that_cannot_be_written_may_be_mended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()

    assert main(["models", "pull", str(write(small_model(), tmp_path / "m")), f"--to={tmp_path / 'file'}"]) == 1
    assert "Not a directory" in capsys.readouterr().err
