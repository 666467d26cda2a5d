"""The month's file: this fleet's and this month's, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.serve.io.ledger.month import MonthFile

USES = {"t:acme": (100, 7), "k:key_1": (50, 3)}


def test_what_was_saved_is_loaded_in_its_month_by_its_fleet(tmp_path: Path) -> None:
    file = MonthFile(tmp_path / "state" / "usage.month", "demo")

    assert file.load("2026-11-01") == {}
    file.save("2026-11-01", USES)

    assert file.load("2026-11-01") == USES
    assert file.load("2026-12-01") == {}
    assert MonthFile(tmp_path / "state" / "usage.month", "other").load("2026-11-01") == {}
    assert (tmp_path / "state" / "usage.month").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"format": 1}', '{"format": 1, "fleet": "demo", "month": "m", "uses": 1}']
)
def test_what_cant_be_read_is_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "usage.month").write_text(text)

    assert MonthFile(tmp_path / "usage.month", "demo").load("m") == {}


def test_a_folder_that_cant_be_written_is_told_and_leaves_no_litter(tmp_path: Path) -> None:
    (tmp_path / "usage.month").mkdir()

    with pytest.raises(OSError, match="director"):
        MonthFile(tmp_path / "usage.month", "demo").save("m", USES)
    assert [path.name for path in tmp_path.iterdir()] == ["usage.month"]
