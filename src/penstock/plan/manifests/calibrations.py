"""Measured times in a cluster: the files that `hardware.calibrations` names go beside the fleet file. Pure.

They are entries of the same ConfigMap, mounted where the fleet file names them, relative to it: the gateway finds them
as it would on any machine. Guarantees: what cannot be read there is told at its place in the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from penstock.errors import UsageError
from penstock.facts import find_gpu
from penstock.perf import Calibration
from penstock.spec import Fleet
from penstock.spec.base import FieldPath, Finding

__all__ = ["calibration_findings", "calibrations_from", "config_items", "config_texts"]

_AT: FieldPath = ("spec", "hardware", "calibrations")


def calibration_findings(fleet: Fleet, files: Mapping[str, str]) -> Iterator[Finding]:
    """What is wrong with them; `files` are the texts that were found, by the path that the file says."""
    for gpu, path in fleet.spec.hardware.calibrations.items():
        at = (*_AT, gpu)
        if fleet.spec.kubernetes.controller:
            message = "is a file beside this one, and the controller has the Fleet object alone: it could not make it"
            yield Finding(at=at, message=message, hint="leave calibrations out, or render without the controller")
        elif path not in files:
            message = f"there is no file {path!r} beside the fleet file"
            yield Finding(at=at, message=message, hint="`penstock calibrate --out FILE` writes one")
        else:
            try:
                find_gpu(gpu)
                Calibration.from_json(files[path])
            except UsageError as error:
                yield Finding(at=at, message=error.message, hint=error.hint)


def calibrations_from(fleet: Fleet, files: Mapping[str, str]) -> dict[str, Calibration]:
    """By the GPU's name in the facts table: those that can be read."""
    found: dict[str, Calibration] = {}
    for gpu, path in fleet.spec.hardware.calibrations.items():
        try:
            found[find_gpu(gpu).name] = Calibration.from_json(files[path])
        except (KeyError, UsageError):
            continue  # told by `calibration_findings`
    return found


def config_texts(files: Mapping[str, str]) -> dict[str, str]:
    """Entries of the ConfigMap, on one line each, as reviews read a fleet and not its numbers."""
    texts = [json.dumps(json.loads(files[path]), sort_keys=True) for path in sorted(files)]
    return dict(zip(_keys(files), texts, strict=True))


def config_items(files: Mapping[str, str]) -> list[dict[str, str]]:
    """Where each entry is mounted."""
    return [{"key": key, "path": path} for key, path in zip(_keys(files), sorted(files), strict=True)]


def _keys(files: Mapping[str, str]) -> list[str]:
    """A key has no slashes, and two paths never the same key."""
    return [f"calibration-{number}.json" for number in range(len(files))]
