"""`--calibration GPU=FILE`: what `penstock calibrate` measured, by GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock.cli.files import read_text
from penstock.errors import UsageError

if TYPE_CHECKING:  # the performance model is imported where one is given
    from penstock.perf import Calibration

__all__ = ["calibrations_of"]


def calibrations_of(given: Sequence[str], gpus: Sequence[str] = ()) -> dict[str, Calibration]:
    """Reads calibrations; the GPU may be left out where `gpus` names one.

    Raises:
        UsageError: there is no such GPU, it can't be told which is meant, or a file is not what `calibrate` writes.
    """
    if not given:
        return {}
    from penstock.facts import find_gpu  # noqa: PLC0415 — start-up time
    from penstock.perf import Calibration  # noqa: PLC0415 — start-up time

    found: dict[str, Calibration] = {}
    for text in given:
        name, is_named, path = text.partition("=")
        if not is_named:
            if len(gpus) != 1:
                raise UsageError(f"--calibration {text}: for which GPU?", hint=f"as in --calibration H100={text}")
            name, path = gpus[0], text
        found[find_gpu(name).name] = Calibration.from_json(read_text(path))
    return found
