"""The container image's recipe keeps what it promises, as far as that can be read without a container engine.

`make wheel` runs its install steps and serves a chat from what they made.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
CONSTRAINTS = (ROOT / "image" / "constraints.txt").read_text(encoding="utf-8")


def canonical(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_both_stages_stand_on_one_base_pinned_by_digest() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)

    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.\d+-slim@sha256:[0-9a-f]{64}", bases[0])


def test_the_image_runs_as_a_user_that_kubernetes_can_tell_is_not_root() -> None:
    (user,) = re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE)

    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def test_the_last_stage_installs_nothing() -> None:
    last = DOCKERFILE.rsplit("\nFROM ", 1)[1]

    assert "\nRUN " not in last


def test_every_dependency_has_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {canonical(re.split(r"[\s<>=!\[;]", entry, maxsplit=1)[0]) for entry in project["dependencies"]}
    pinned = {canonical(line.split("==")[0]) for line in CONSTRAINTS.splitlines() if "==" in line}

    assert wanted - pinned == set()


@pytest.mark.parametrize("script", ["install.sh", "check.sh"])
def test_a_script_is_one_that_sh_reads(script: str) -> None:
    assert subprocess.run(["sh", "-n", ROOT / "image" / script], check=False).returncode == 0


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("kept", encoding="utf-8")

    done = subprocess.run([ROOT / "image" / "install.sh", tmp_path], check=False, capture_output=True, text=True)

    assert done.returncode == 2
    assert "is not empty" in done.stderr
    assert (tmp_path / "mine").read_text(encoding="utf-8") == "kept"
