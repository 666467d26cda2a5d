"""`penstock apply`: what it says, what it writes, how it ends; and that a killed one is taken up again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.cluster_command import ARGS, Command, command, penstock


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    with command(tmp_path, monkeypatch) as found:
        yield found


def actions(text: str) -> dict[str, str]:
    return {f"{step['kind']} {step['name']}": step["action"] for step in json.loads(text)["steps"]}


def test_a_fleet_is_made_and_the_second_time_there_is_nothing_to_change(
    here: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert penstock("apply", here.file(), *ARGS) == 0
    first, words = capsys.readouterr()
    made = actions(first)
    assert set(made.values()) == {"create"}
    assert "Deployment demo-chat" in made
    assert "namespace llm is not there: it is made" in words
    count = len(here.writes())

    assert penstock("apply", here.file(), *ARGS) == 0
    second, words = capsys.readouterr()
    assert actions(second) == dict.fromkeys(made, "unchanged")
    assert "nothing to change" in words
    assert len(here.writes()) == count


def test_a_dry_run_changes_nothing(here: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert penstock("apply", here.file(), "--dry-run") == 0

    assert here.writes() == []
    out, words = capsys.readouterr()
    assert out == ""
    assert "+ create Deployment llm/demo-chat" in words
    assert "would be done" in words


def test_a_change_is_shown_before_it_is_made(here: Command, capsys: pytest.CaptureFixture[str]) -> None:
    penstock("apply", here.file(), *ARGS)
    capsys.readouterr()

    assert penstock("apply", here.file(replicas=3), *ARGS) == 0

    out, words = capsys.readouterr()
    assert actions(out)["Deployment demo-chat"] == "change"
    assert "-  replicas: 2" in words
    assert "+  replicas: 3" in words
    live = here.cluster.get("apps/v1", "Deployment", "demo-chat", "llm")
    assert live is not None
    assert live["spec"]["replicas"] == 3


def test_nothing_is_deleted_that_nobody_agreed_to(here: Command, capsys: pytest.CaptureFixture[str]) -> None:
    penstock("apply", here.file(), *ARGS)
    count = len(here.writes())

    assert penstock("apply", here.file(network=False), *ARGS) == 2
    assert len(here.writes()) == count
    assert "say --yes if it is meant" in capsys.readouterr().err

    assert penstock("apply", here.file(network=False), *ARGS, "--yes") == 0
    assert here.cluster.list("networking.k8s.io/v1", "NetworkPolicy", "llm") == []


def test_a_conflict_is_told_and_nothing_written(here: Command, capsys: pytest.CaptureFixture[str]) -> None:
    penstock("apply", here.file(), *ARGS)
    live = here.cluster.get("apps/v1", "Deployment", "demo-chat", "llm")
    assert live is not None
    here.cluster.update({**live, "spec": {**live["spec"], "replicas": 7}}, manager="kubectl-edit")
    count = len(here.writes())
    capsys.readouterr()

    assert penstock("apply", here.file(), *ARGS) == 1
    assert "'kubectl-edit' owns .spec.replicas" in capsys.readouterr().err
    assert len(here.writes()) == count

    assert penstock("apply", here.file(), *ARGS, "--force-conflicts") == 0


def test_a_wait_that_is_up_says_what_is_missing(here: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert penstock("apply", here.file(), "--timeout", "0.2") == 1

    words = capsys.readouterr().err
    assert "Deployment demo-chat is not ready" in words
    assert "the time is up" in words


def test_a_file_that_is_wrong_is_wrong_use_and_no_cluster_is_asked(here: Command, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("kind: Fleet\n", encoding="utf-8")
    before = len(here.server.requests)

    assert penstock("apply", str(path)) == 2
    assert len(here.server.requests) == before


def test_a_cluster_that_is_away_is_told_with_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with command(tmp_path, monkeypatch) as found:
        file, url = found.file(), found.server.url

    assert penstock("apply", file) == 1
    assert f"cannot be reached at {url}" in capsys.readouterr().err


def test_killed_in_the_middle_and_run_again_it_comes_to_the_same_end(
    here: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    here.server.faults.hold(1, method="PATCH", path="/services/")
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock", "apply", here.file(), "--no-wait"],
        env=os.environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:  # it says what it wrote, until a Service is held back
        if "ConfigMap demo-fleet created" in line:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    here.server.faults.clear()

    assert penstock("apply", here.file(), *ARGS) == 0
    found = actions(capsys.readouterr().out)
    assert {"unchanged", "create"} == set(found.values())

    assert penstock("apply", here.file(), *ARGS) == 0
    assert set(actions(capsys.readouterr().out).values()) == {"unchanged"}
