"""`penstock diff`: 0 nothing, 1 something, 2 it cannot be said; and it changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.cluster_command import ARGS, FLEET, Command, command, penstock


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    with command(tmp_path, monkeypatch) as found:
        yield found


def test_what_would_be_made_is_a_difference(here: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert penstock("diff", here.file()) == 1

    assert "+++ wanted/Deployment/demo-chat" in capsys.readouterr().out
    assert here.writes() == []


def test_what_is_as_the_file_says_is_none(here: Command, capsys: pytest.CaptureFixture[str]) -> None:
    penstock("apply", here.file(), *ARGS)
    capsys.readouterr()

    assert penstock("diff", here.file()) == 0
    assert capsys.readouterr().out == ""

    assert penstock("diff", here.file(replicas=3), "--output", "json") == 1
    steps = json.loads(capsys.readouterr().out)["steps"]
    changed = {step["name"]: step["fields"] for step in steps if step["action"] == "change"}
    assert changed["demo-chat"] == [".spec.replicas"]


def test_a_cluster_that_cannot_be_asked_and_a_wrong_file_are_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with command(tmp_path, monkeypatch) as found:
        file = found.file()
        assert penstock("diff", found.file(text=FLEET.replace("spec:", "specs:"))) == 2
        file = found.file()
    assert penstock("diff", file) == 2


def test_a_refusal_is_two(here: Command, capsys: pytest.CaptureFixture[str]) -> None:
    text = FLEET.replace("  kubernetes:", "  monitoring: {}\n  kubernetes:")

    assert penstock("diff", here.file(text=text)) == 2
    assert "Prometheus operator" in capsys.readouterr().err
