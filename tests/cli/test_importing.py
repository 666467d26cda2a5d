"""`penstock import`: the fleet on stdout, the account on stderr."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from penstock.cli.main import main
from penstock.spec.loader import load_fleet

VALUES = """\
servingEngineSpec:
  modelSpec:
    - name: chat
      repository: vllm/vllm-openai
      tag: latest
      modelURL: Qwen/Qwen3-8B
      requestGPU: 1
      vllmConfig:
        extraArgs: ["--disable-log-requests"]
"""


@pytest.fixture
def values(tmp_path: Path) -> Path:
    path = tmp_path / "values.yaml"
    path.write_text(VALUES, encoding="utf-8")
    return path


def test_the_fleet_goes_to_stdout_and_the_account_to_stderr(values: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(values), "--fix"]) == 0

    out, err = capsys.readouterr()
    assert load_fleet(out, "out").metadata.name == "values"
    assert f"{values}:9: servingEngineSpec.modelSpec[0].vllmConfig.extraArgs" in err
    assert "1 fixed" in err


def test_what_is_wrong_is_proposed_without_fix(values: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(values), "--gpu", "h200", "--name", "prod"]) == 0

    out, err = capsys.readouterr()
    fleet = load_fleet(out, "out")
    assert (fleet.metadata.name, fleet.spec.models[0].hardware.gpu) == ("prod", "H200")  # type: ignore[union-attr]
    assert "1 proposed" in err


def test_json_holds_the_fleet_and_every_note(values: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(values), "--output", "json"]) == 0

    record = json.loads(capsys.readouterr().out)
    assert load_fleet(record["fleet"], "out").spec.models[0].name == "chat"
    assert {
        "path": "servingEngineSpec.modelSpec[0].name",
        "line": 3,
        "outcome": "carried",
        "message": "`name`",
    } in record["notes"]


def test_a_file_is_written_and_not_written_over(values: Path, tmp_path: Path) -> None:
    target = tmp_path / "fleet.yaml"

    assert main(["import", str(values), "--to", str(target)]) == 0
    assert load_fleet(target.read_text(encoding="utf-8"), "x").spec.models[0].name == "chat"
    assert main(["import", str(values), "--to", str(target)]) == 2
    assert main(["import", str(values), "--to", str(target), "--force"]) == 0


def test_another_file_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("kind: Pod\n", encoding="utf-8")

    assert main(["import", str(other)]) == 2
    assert "no values file of the vLLM production stack" in capsys.readouterr().err
