"""`penstock models list` and `gc`: what they show, and that gc asks."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.models_place import filled, fleet_file
from penstock.cli.main import app, main
from penstock.cli.models_store import seconds_of
from penstock.errors import UsageError


def revisions(store: Path) -> list[str]:
    return sorted(p.name for p in (store / "org--tiny").iterdir())


def test_a_list_has_every_revision(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [one, _] = filled(tmp_path, "r1", "r2")

    assert main(["models", "list", f"--to={tmp_path}", "-o", "json"]) == 0

    found = json.loads(capsys.readouterr().out)["models"]
    assert [(m["name"], m["revision"], m["source"], m["bytes"]) for m in found] == [
        ("org--tiny", "r1", "org/tiny", one.bytes),
        ("org--tiny", "r2", "org/tiny", one.bytes),
    ]
    assert found[0]["verified_at"].endswith("Z")


def test_an_empty_store_says_what_fills_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list", f"--to={tmp_path}"]) == 0
    assert "penstock models pull SOURCE" in capsys.readouterr().err


def test_a_damaged_record_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (Path(filled(tmp_path)[0].path) / ".penstock-model.json").write_text("{")

    assert main(["models", "list", f"--to={tmp_path}"]) == 0
    assert "cannot be read as a model's record" in capsys.readouterr().err


def test_gc_shows_and_asks_and_no_means_no(tmp_path: Path) -> None:
    filled(tmp_path, "r1", "r2")

    refused = CliRunner().invoke(app, ["models", "gc", "--keep", "1", f"--to={tmp_path}"], input="n\n")

    assert "not among the newest 1" in refused.output
    assert "Remove 1 of them" in refused.output
    assert refused.exit_code == 1
    assert revisions(tmp_path) == ["r1", "r2"]


def test_gc_removes_when_told_to(tmp_path: Path) -> None:
    filled(tmp_path, "r1", "r2")

    agreed = CliRunner().invoke(app, ["models", "gc", "--keep", "1", f"--to={tmp_path}"], input="y\n")

    assert agreed.exit_code == 0
    assert len(revisions(tmp_path)) == 1


def test_gc_keeps_what_the_fleet_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "s"
    filled(store, "r1", "r2")

    assert main(["models", "gc", fleet_file(tmp_path), "--yes", "-o", "json", f"--to={store}"]) == 0

    entries = {e["path"]: (e["is_removed"], e["reason"]) for e in json.loads(capsys.readouterr().out)["entries"]}
    assert entries["org--tiny/r1"] == (False, f"wanted by {tmp_path}/fleet.yaml")
    assert entries["org--tiny/r2"] == (True, "no fleet file given wants it")
    assert revisions(store) == ["r1"]


def test_a_dry_run_removes_nothing(tmp_path: Path) -> None:
    filled(tmp_path, "r1")

    assert main(["models", "gc", "--keep", "0", "--dry-run", f"--to={tmp_path}"]) == 0
    assert revisions(tmp_path) == ["r1"]


def test_without_a_fleet_or_a_number_only_what_was_left_behind_goes(tmp_path: Path) -> None:
    filled(tmp_path, "r1")
    left = tmp_path / "org--tiny" / ".partial-r0"
    left.mkdir()
    os.utime(left, (0, 0))
    (tmp_path / "org--tiny" / ".partial-r9").mkdir()

    assert main(["models", "gc", "--yes", "--older-than", "2h", f"--to={tmp_path}"]) == 0

    assert revisions(tmp_path) == [".partial-r9", "r1"]


def test_what_cannot_be_removed_is_told_and_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled(tmp_path, "r1")
    (tmp_path / "org--tiny" / ".lock-r1").mkdir()  # no lock can be taken there

    assert main(["models", "gc", "--keep", "0", "--yes", f"--to={tmp_path}"]) == 1
    assert revisions(tmp_path) == [".lock-r1", "r1"]


@pytest.mark.parametrize(
    ("age", "seconds"), [("30m", 1800), ("12h", 43_200), ("7d", 604_800), ("2w", 1_209_600), ("5s", 5)]
)
def test_an_age_is_read(age: str, seconds: float) -> None:
    assert seconds_of(age) == seconds


@pytest.mark.parametrize("age", ["", "7", "d", "-1d", "1y", "9999999d"])
def test_what_is_no_age_is_refused(age: str) -> None:
    with pytest.raises(UsageError, match="no age"):
        seconds_of(age)
