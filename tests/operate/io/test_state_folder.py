"""One fleet, one `up`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.errors import StartError
from penstock.operate.io.state_folder import StateFolder


def test_it_is_made_where_it_is_named_and_kept_out_of_git(tmp_path: Path) -> None:
    with StateFolder(tmp_path / "some" / "where", "demo") as state:
        assert state.path == tmp_path / "some" / "where"
        assert state.logs.is_dir()
        assert state.ready.is_dir()
        assert (state.path / ".gitignore").read_text() == "*\n"


def test_a_second_up_of_the_same_fleet_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with StateFolder(tmp_path / "s", "demo"):
        with pytest.raises(StartError, match=f"fleet 'demo' is already up: process {os.getpid()} holds") as caught:
            StateFolder(tmp_path / "s", "demo").__enter__()
        assert caught.value.hint is not None
        assert "--state-dir" in caught.value.hint
    with StateFolder(tmp_path / "s", "demo"):
        pass


def test_the_lock_goes_with_the_process_however_it_ends(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from penstock.operate.io.state_folder import StateFolder\n"
        "StateFolder(Path(sys.argv[1]), 'demo').__enter__(); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "s")], check=False).returncode == -9
    with StateFolder(tmp_path / "s", "demo"):
        pass


def test_a_folder_that_cannot_be_made_is_said_with_the_option(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="can't be used: Not a directory") as caught:
        StateFolder(tmp_path / "file" / "s", "demo").__enter__()
    assert "--state-dir" in (caught.value.hint or "")
