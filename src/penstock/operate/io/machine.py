"""What this machine has for a fleet's models: the `vllm` command, sources that are folders on disk, GPUs."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from penstock.operate.engines import EngineFacts
from penstock.spec import ModelSpec

__all__ = ["find_gpus", "survey"]


def survey(model: ModelSpec, folder: Path) -> EngineFacts:
    """Looks on this machine. Relative paths are meant from `folder`, where the fleet file lies."""
    command, absence = _find_vllm(model, folder)
    source = folder / Path(model.source_or_name).expanduser()
    return EngineFacts(
        python=sys.executable,
        vllm_command=command,
        vllm_absence=absence,
        source_path=os.path.normpath(source.absolute()) if source.exists() else None,
        is_model_folder=(source / "config.json").is_file(),
    )


def find_gpus(devices: Path = Path("/dev")) -> list[str]:
    """NVIDIA GPUs as CUDA_VISIBLE_DEVICES names them: those that it names already, else all there are."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for part in visible.split(",") if (name := part.strip()) and name != "-1"]
    numbers = (node.name.removeprefix("nvidia") for node in devices.glob("nvidia[0-9]*"))
    return sorted((n for n in numbers if n.isdecimal()), key=int)


def _find_vllm(model: ModelSpec, folder: Path) -> tuple[str | None, str]:
    """The `vllm` command: of the named environment; else of ours, else of PATH. Or why there is none."""
    if model.engine.venv is not None:
        venv = (folder / Path(model.engine.venv).expanduser()).absolute()
        if not venv.is_dir():
            return None, f"engine.venv {venv} does not exist: python3 -m venv {venv} && {venv}/bin/pip install vllm"
        command = venv / "bin" / "vllm"
        if _is_command(command):
            return str(command), ""
        return None, f"vllm is not installed in {venv}: {venv}/bin/pip install vllm"
    ours = Path(sys.prefix) / "bin"
    if _is_command(ours / "vllm"):
        return str(ours / "vllm"), ""
    if (found := shutil.which("vllm")) is not None:
        return os.path.abspath(found), ""
    return None, f"vllm is not installed in {sys.prefix} or on PATH: {ours}/pip install 'penstock[vllm]'"


def _is_command(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
