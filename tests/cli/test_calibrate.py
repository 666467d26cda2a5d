"""`penstock calibrate`: a file that plan takes, figures on stdout, mistakes in words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.test_engine import engine_process
from fakes.engine import FakeEngine, serving
from penstock.cli.main import main
from penstock.perf import Calibration


def test_a_live_engine_becomes_a_calibration_that_plan_uses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "ours.json"
    options = ("--speed", "4", "--gpu", "H100", "--max-model-len", "2000")
    with engine_process(tmp_path / "ready", *options) as (_, url):
        assert (
            main(["calibrate", url, "--gpu", "H100", "--source", "Qwen/Qwen3-0.6B", "--out", str(out), "-o", "json"])
            == 0
        )

    record = json.loads(capsys.readouterr().out)
    calibration = Calibration.from_json(out.read_text(encoding="utf-8"))
    assert calibration.name == record["name"]
    assert calibration.engine == record["engine"] == "vLLM 0.32.0"
    assert any(row["round"].startswith("decode step, 1 at once") for row in record["rounds"])
    assert 0.1 < record["slowness"] < 2.7
    assert not any("slower than the data sheet" in words for words in record["doubts"])

    assert main(["plan", "--model", "Qwen/Qwen3-0.6B", "--gpu", "H100", "--calibration", str(out), "-o", "json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["models"][0]["calibration"]["name"] == calibration.name


def test_an_unknown_model_wants_to_be_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(FakeEngine(models=["mystery"])) as engine:
        assert main(["calibrate", engine.origin, "--gpu", "H100", "--out", str(tmp_path / "c.json")]) == 2

    assert "--source" in capsys.readouterr().err
    assert not (tmp_path / "c.json").exists()


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("127.0.0.1:1", "--gpu", "H900"), 2, "did you mean"),
        (("127.0.0.1:1", "--gpu", "CPU"), 2, "calibrated as the nearest GPU"),
        (("127.0.0.1:1", "--gpu", "H100", "--out", "/nowhere/at/all.json"), 2, "there is no folder"),
        (("127.0.0.1:1", "--gpu", "H100"), 1, "does not list its models"),
    ],
)
def test_mistakes_are_told_before_anything_is_measured(
    args: tuple[str, ...], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", *args]) == code

    out, err = capsys.readouterr()
    assert out == ""
    assert words in err.replace("\n", " ")


def test_an_idle_engine_that_is_only_watched_shows_too_little(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with engine_process(tmp_path / "ready", "--gpu", "H100") as (_, url):
        args = ["calibrate", url, "--gpu", "H100", "--source", "Qwen/Qwen3-0.6B", "--watch", "1"]
        assert main([*args, "--out", str(tmp_path / "c.json")]) == 1

    assert "too few to learn from" in capsys.readouterr().err
    assert not (tmp_path / "c.json").exists()
