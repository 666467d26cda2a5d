"""`penstock preflight`: every question answered, and an exit code that scripts can use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.cluster_command import Command, command, penstock
from operate.io.kubernetes.clusters import machines


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    with command(tmp_path, monkeypatch) as found:
        yield found


def test_a_cluster_without_gpus_fails_and_says_what_to_do(here: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert penstock("preflight", here.file()) == 1

    out, err = capsys.readouterr()
    assert "no node has nvidia.com/gpu" in out
    assert "add nodes with GPUs" in out
    assert "failed" in err


def test_a_cluster_that_can_run_it_is_well_and_unchanged(here: Command, capsys: pytest.CaptureFixture[str]) -> None:
    here.server.run(lambda: machines(here.cluster))

    assert penstock("preflight", here.file(), "--output", "json") == 0

    record = json.loads(capsys.readouterr().out)
    answers = {check["id"]: check["status"] for check in record["checks"]}
    assert answers["gpu-capacity"] == "ok"
    assert answers["kubernetes-version"] == "ok"
    assert here.writes() == []


def test_a_cluster_that_does_not_answer_is_told(
    here: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))

    assert penstock("preflight", here.file()) == 2
    assert "no cluster" in capsys.readouterr().err
