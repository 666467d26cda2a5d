"""What `penstock calibrate` measured, by GPU: of `--calibration GPU=FILE`, and of the fleet file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.cli.files import read_text
from penstock.errors import UsageError
from penstock.spec import Fleet

if TYPE_CHECKING:  # the performance model is imported where one is given
    from penstock.perf import Calibration

__all__ = ["calibration_texts", "calibrations_of"]


def calibrations_of(
    given: Sequence[str], gpus: Sequence[str] = (), *, fleet: Fleet | None = None, folder: Path | None = None
) -> dict[str, Calibration]:
    """Reads calibrations; the GPU may be left out where `gpus` names one. Those of the fleet file, which is in
    `folder`, hold where none is `given` for their GPU.

    Raises:
        UsageError: there is no such GPU, it can't be told which is meant, or a file is not what `calibrate` writes.
    """
    named = fleet.spec.hardware.calibrations if fleet is not None else {}
    if not given and not named:
        return {}
    from penstock.facts import find_gpu  # noqa: PLC0415 — start-up time
    from penstock.perf import Calibration  # noqa: PLC0415 — start-up time

    found: dict[str, Calibration] = {}
    for name, path in named.items():
        try:
            found[find_gpu(name).name] = Calibration.from_json(read_text(str((folder or Path()) / path)))
        except UsageError as error:
            where = f"spec.hardware.calibrations.{name}"
            is_there = ((folder or Path()) / path).exists()
            hint = error.hint if is_there else f"`penstock calibrate URL --gpu {name} --out {path}` writes one"
            raise UsageError(f"{where}: {error.message}", hint=hint) from error
    for text in given:
        name, is_named, path = text.partition("=")
        if not is_named:
            if len(gpus) != 1:
                raise UsageError(f"--calibration {text}: for which GPU?", hint=f"as in --calibration H100={text}")
            name, path = gpus[0], text
        found[find_gpu(name).name] = Calibration.from_json(read_text(path))
    return found


def calibration_texts(fleet: Fleet, folder: Path) -> Mapping[str, str]:
    """Text of each file that the fleet file names, by its path; those that are not there are left out."""
    paths = sorted(set(fleet.spec.hardware.calibrations.values()))
    return {path: read_text(str(folder / path)) for path in paths if (folder / path).is_file()}
