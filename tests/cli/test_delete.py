"""`penstock delete`: takes a fleet out by its file or its name, and asks first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.cluster_command import ARGS, Command, command, penstock


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    with command(tmp_path, monkeypatch) as found:
        yield found


@pytest.mark.parametrize("by_name", [False, True])
def test_a_fleet_is_deleted_when_it_is_meant(here: Command, capsys: pytest.CaptureFixture[str], by_name: bool) -> None:
    file = here.file()
    penstock("apply", file, *ARGS)
    what = ("demo", "-n", "llm") if by_name else (file,)
    capsys.readouterr()

    assert penstock("delete", *what) == 2
    assert here.cluster.get("apps/v1", "Deployment", "demo-chat", "llm") is not None
    assert "- delete Deployment llm/demo-chat" in capsys.readouterr().err

    assert penstock("delete", *what, "--yes", "--output", "json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["left"] == []
    assert here.cluster.list("apps/v1", "Deployment", "llm") == []
    assert here.cluster.get("v1", "Namespace", "llm") is not None


def test_what_is_not_there_is_told(here: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert penstock("delete", "other", "-n", "llm", "--yes") == 0

    assert "there is nothing of fleet other in namespace llm" in capsys.readouterr().err


def test_what_stays_is_told_with_its_finalizer(here: Command, capsys: pytest.CaptureFixture[str]) -> None:
    penstock("apply", here.file(), *ARGS)
    live = here.cluster.get("v1", "ConfigMap", "demo-fleet", "llm")
    assert live is not None
    here.cluster.update({**live, "metadata": {**live["metadata"], "finalizers": ["example.com/keep"]}})

    assert penstock("delete", "demo", "-n", "llm", "--yes", "--timeout", "0.3") == 1
    assert "example.com/keep" in capsys.readouterr().err
