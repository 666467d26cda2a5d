"""`--calibration`: each file goes with its GPU, and what can't be read is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.cli.calibrations import calibrations_of
from penstock.errors import UsageError
from penstock.facts import find_gpu
from penstock.perf import default_calibration


def written(tmp_path: Path) -> str:
    path = tmp_path / "measured.json"
    path.write_text(default_calibration(find_gpu("H100")).to_json())
    return str(path)


def test_each_file_goes_with_its_gpu_whatever_its_case(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert list(calibrations_of([f"h100={path}", f"L4={path}"])) == ["H100", "L4"]
    assert calibrations_of([]) == {}


def test_the_gpu_may_be_left_out_where_one_is_named(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert list(calibrations_of([path], ["H200"])) == ["H200"]
    with pytest.raises(UsageError, match="for which GPU"):
        calibrations_of([path])


def test_what_is_no_calibration_is_told(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text("{}")
    with pytest.raises(UsageError):
        calibrations_of([f"H100={wrong}"])
    with pytest.raises(UsageError):
        calibrations_of([f"no-such-gpu={written(tmp_path)}"])
