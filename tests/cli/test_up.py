"""The command line of `up`."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.cli.main import main


def test_a_file_that_is_not_there_is_a_mistake_of_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "fleet.yaml").write_text("")
    assert main(["up", str(tmp_path / "flet.yaml")]) == 2
    assert "did you mean" in capsys.readouterr().err


def test_a_listener_that_is_none_is_a_mistake_of_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "fleet.yaml"
    head = "apiVersion: penstock.dev/v1alpha1\nkind: Fleet\nmetadata: {name: demo}\n"
    file.write_text(f"{head}spec: {{models: [{{name: chat}}]}}\n")
    assert main(["up", str(file), "--admin", "here"]) == 2
    assert "--admin here" in capsys.readouterr().err


def test_its_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["up", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(option in shown for option in ("--listen", "--admin", "--output", "--state-dir", "--no-watch"))
