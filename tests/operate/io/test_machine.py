"""What the survey finds on this machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from penstock.operate.io.machine import find_gpus, survey
from penstock.spec import ModelSpec


def model(source: str, venv: str | None = None) -> ModelSpec:
    return ModelSpec.model_validate({"name": "chat", "source": source, "engine": {"venv": venv}})


def install_vllm(venv: Path) -> str:
    command = venv / "bin" / "vllm"
    command.parent.mkdir(parents=True)
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    return str(command)


@pytest.fixture(autouse=True)
def _no_vllm_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "ours"))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))


def test_a_relative_source_is_meant_from_the_fleet_files_folder(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "tiny"
    folder.mkdir(parents=True)
    assert survey(model("./models/tiny"), tmp_path).source_path == str(folder)
    assert not survey(model("./models/tiny"), tmp_path).is_model_folder
    (folder / "config.json").write_text("{}")
    for source in ("./models/tiny", "models/tiny", str(folder), "models/../models/tiny"):
        facts = survey(model(source), tmp_path)
        assert (facts.source_path, facts.is_model_folder) == (str(folder), True)


def test_a_hub_name_is_no_path(tmp_path: Path) -> None:
    facts = survey(model("Qwen/Qwen3-8B"), tmp_path)
    assert (facts.source_path, facts.is_model_folder) == (None, False)


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert survey(model("~/."), Path("/")).source_path == str(tmp_path)


def test_the_named_environment_comes_before_ours_and_ours_before_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path = install_vllm(tmp_path / "elsewhere")
    monkeypatch.setenv("PATH", str(tmp_path / "elsewhere" / "bin"))
    assert survey(model("x"), tmp_path).vllm_command == on_path
    ours = install_vllm(tmp_path / "ours")
    assert survey(model("x"), tmp_path).vllm_command == ours
    named = install_vllm(tmp_path / "named")
    assert survey(model("x", "named"), tmp_path).vllm_command == named


def test_a_named_environment_without_vllm_is_not_replaced_by_another(tmp_path: Path) -> None:
    install_vllm(tmp_path / "ours")
    (tmp_path / "named").mkdir()
    facts = survey(model("x", "named"), tmp_path)
    assert facts.vllm_command is None
    assert facts.vllm_absence == (f"vllm is not installed in {tmp_path}/named: {tmp_path}/named/bin/pip install vllm")
    assert "does not exist" in survey(model("x", "typo"), tmp_path).vllm_absence


def test_without_vllm_it_says_what_installs_it(tmp_path: Path) -> None:
    facts = survey(model("x"), tmp_path)
    assert facts.vllm_command is None
    assert f"{tmp_path}/ours/bin/pip install 'penstock[vllm]'" in facts.vllm_absence


def test_gpus_are_the_device_nodes_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name in ("nvidia10", "nvidia0", "nvidia2", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert find_gpus(tmp_path) == ["0", "2", "10"]


@pytest.mark.parametrize(("named", "found"), [("3,1", ["3", "1"]), ("GPU-a1", ["GPU-a1"]), ("", []), ("-1", [])])
def test_gpus_that_were_named_to_us_are_the_ones_we_give(
    monkeypatch: pytest.MonkeyPatch, named: str, found: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert find_gpus() == found
