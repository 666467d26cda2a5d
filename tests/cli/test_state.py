"""One folder for all that a fleet keeps, decided in one place. That every command has it: `test_up_run`."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.cli.state import STATE_VARIABLE, state_folder


def test_the_command_line_comes_before_the_environment_and_that_before_the_files_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(tmp_path / "fleet.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(STATE_VARIABLE, raising=False)
    assert state_folder(file, "demo") == tmp_path / ".penstock" / "demo"
    assert state_folder("-", "demo") == tmp_path / ".penstock" / "demo"
    monkeypatch.setenv(STATE_VARIABLE, "elsewhere")
    assert state_folder(file, "demo") == tmp_path / "elsewhere"
    assert state_folder(file, "demo", Path("named")) == tmp_path / "named"
    monkeypatch.setenv(STATE_VARIABLE, "")
    assert state_folder(file, "demo") == tmp_path / ".penstock" / "demo"
    assert list(tmp_path.iterdir()) == []
