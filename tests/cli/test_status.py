"""`penstock status`: models with ready and desired replicas, by the fleet's file or its name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.cluster_command import ARGS, T0, Command, command, penstock
from penstock.cli.status import _age


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    with command(tmp_path, monkeypatch) as found:
        yield found


def test_a_fleet_that_waits_says_why(here: Command, capsys: pytest.CaptureFixture[str]) -> None:
    file = here.file()
    penstock("apply", file, *ARGS)
    here.cluster.step(T0)  # no nodes: pods are made and wait
    capsys.readouterr()

    assert penstock("status", file) == 1

    out = capsys.readouterr().out
    assert "chat" in out
    assert "0/2" in out
    assert "no node takes it" in out


def test_by_its_name_the_models_are_called_as_in_the_file(here: Command, capsys: pytest.CaptureFixture[str]) -> None:
    penstock("apply", here.file(), *ARGS)
    capsys.readouterr()

    assert penstock("status", "demo", "--namespace", "llm", "--output", "json") == 1

    told = json.loads(capsys.readouterr().out)
    assert [(model["name"], model["ready"], model["desired"]) for model in told["models"]] == [("chat", 0, 2)]
    assert [part["component"] for part in told["parts"]] == ["gateway"]


def test_a_fleet_that_is_not_there_is_told(here: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert penstock("status", "other", "-n", "llm") == 1
    assert "there is no fleet other in namespace llm" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_wrong_use(here: Command) -> None:
    assert penstock("status", "nowhere.yaml") == 2
    assert penstock("status", "demo", "--cluster", "eu") == 2


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (172_800, "2d"), (-5, "0s")]
)
def test_an_age_is_in_its_largest_unit(seconds: int, shown: str) -> None:
    now = datetime(2026, 1, 10, tzinfo=UTC)
    since = datetime.fromtimestamp(now.timestamp() - seconds, UTC).isoformat().replace("+00:00", "Z")

    assert _age(since, now) == shown
    assert _age("", now) == "?"
