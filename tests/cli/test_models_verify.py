"""`penstock models verify`: what is meant, what is wrong, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.models_place import filled, fleet_file
from fakes.models import small_model, write
from fakes.stores import Memory, flip, pull
from penstock.cli.main import main
from penstock.cli.models_verify import find_stored
from penstock.errors import UsageError
from penstock.operate.io.storage import read_marker

SHARD = "model-00001-of-00002.safetensors"


def test_a_model_as_published_is_ok_and_the_date_moves_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(filled(tmp_path)[0].path)
    marker = folder / ".penstock-model.json"
    marker.write_text(marker.read_text().replace('"verifiedAt": "2', '"verifiedAt": "1'))

    assert main(["models", "verify", f"--to={tmp_path}"]) == 0

    assert "ok       org--tiny r1: all as published" in capsys.readouterr().out
    record = read_marker(folder)
    assert record is not None
    assert record.verified_at.startswith("2")


def test_damage_ends_with_1_and_names_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip(Path(filled(tmp_path)[0].path) / SHARD)

    assert main(["models", "verify", f"--to={tmp_path}", "--quick"]) == 0
    assert main(["models", "verify", f"--to={tmp_path}"]) == 1

    out = capsys.readouterr().out
    assert "damaged  org--tiny r1: 1 error" in out
    assert f"  error    {SHARD}: is not what was published: sha256" in out


def test_json_has_the_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (Path(filled(tmp_path)[0].path) / SHARD).unlink()

    assert main(["models", "verify", f"--to={tmp_path}", "-o", "json"]) == 1

    found = json.loads(capsys.readouterr().out)
    assert not found["is_ok"]
    assert {(f["severity"], f["file"]) for m in found["models"] for f in m["findings"]} == {("error", SHARD)}


def test_a_name_a_source_a_folder_and_a_fleet_mean_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "s"
    folder = filled(store)[0].path
    filled(store, "r2")

    for what in ("org--tiny", "org/tiny", folder, fleet_file(tmp_path)):
        capsys.readouterr()
        assert main(["models", "verify", what, f"--to={store}", "--revision", "r1"]) == 0
        assert capsys.readouterr().out == "ok       org--tiny r1: all as published\n"


def test_a_fleets_model_is_found_under_whatever_name_it_was_pulled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pull(Memory(), tmp_path / "s", name="org--tiny--prod")

    assert main(["models", "verify", fleet_file(tmp_path), f"--to={tmp_path / 's'}"]) == 0
    assert "org--tiny--prod r1" in capsys.readouterr().out


def test_a_store_may_be_named_instead_of_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled(tmp_path, "r1", "r2")

    assert main(["models", "verify", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("ok ") == 2


def test_a_folder_that_nobody_published_is_looked_at_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(small_model(), tmp_path / "plain")

    assert main(["models", "verify", str(folder)]) == 0
    assert "not published by `penstock models pull`" in capsys.readouterr().out


def test_a_damaged_record_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(filled(tmp_path)[0].path)
    (folder / ".penstock-model.json").write_text("{")

    assert main(["models", "verify", str(folder)]) == 1
    assert "cannot be read as a model's record" in capsys.readouterr().out


def test_what_is_not_there_is_wrong_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled(tmp_path / "s")
    (tmp_path / "empty").mkdir()

    for words, said in (
        (["other", f"--to={tmp_path / 's'}"], "has no model 'other'"),
        (["org/tiny", f"--to={tmp_path / 's'}", "--revision", "r9"], "no revision r9"),
        ([f"--to={tmp_path / 'empty'}"], "has no published model"),
        ([f"--to={tmp_path / 'nope'}"], "there is no folder"),
    ):
        assert main(["models", "verify", *words]) == 2
        assert said in capsys.readouterr().err


def test_the_newest_revision_comes_first_and_a_short_commit_will_do(tmp_path: Path) -> None:
    long = "0123456789abcdef0123456789abcdef01234567"
    filled(tmp_path, long)

    assert find_stored(tmp_path, "org/tiny", "0123456")[0].record.revision == long
    with pytest.raises(UsageError, match="no revision"):
        find_stored(tmp_path, "org/tiny", "0123")
