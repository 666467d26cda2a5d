"""The command line of `gateway`."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.cli.main import main


def test_a_file_that_is_not_there_is_a_mistake_of_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gateway", str(tmp_path / "fleet.yaml")]) == 2
    assert "there is no file" in capsys.readouterr().err


def test_its_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gateway", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(option in shown for option in ("--listen", "--admin", "--output", "--no-watch"))
