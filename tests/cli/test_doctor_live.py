"""`penstock doctor --live`: a cluster is looked at, alone or beside files; what is wrong decides the exit code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.cluster_command import ARGS, T0, Command, command, penstock
from operate.io.kubernetes.clusters import machines
from operate.io.kubernetes.troubled import pod, put

CRASHES = {"ready": False, "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    with command(tmp_path, monkeypatch) as found:
        yield found


def test_our_own_fleet_in_a_cluster_has_no_finding(here: Command, capsys: pytest.CaptureFixture[str]) -> None:
    machines(here.cluster)
    penstock("apply", here.file(), *ARGS)
    for turn in range(20):
        here.server.run(lambda turn=turn: here.cluster.step(T0 + turn))  # type: ignore[misc]
    before = len(here.writes())
    capsys.readouterr()

    assert penstock("doctor", "--live", "--namespace", "llm", "--fleet", "demo", "--fail-on", "info") == 0

    assert "nothing found" in capsys.readouterr().err
    assert len(here.writes()) == before


def test_findings_are_told_at_their_objects_and_fail(here: Command, capsys: pytest.CaptureFixture[str]) -> None:
    put(here.cluster, pod("ill", namespace="default", **CRASHES))

    assert penstock("doctor", "--live") == 1

    out, err = capsys.readouterr()
    assert "default/Pod/ill status.containerStatuses[0].state.waiting.reason  error  PS227-crash-loop" in out
    assert err.startswith("1 error (0 files, ")
    assert penstock("doctor", "--live", "--fail-on", "never") == 0
    assert penstock("doctor", "--live", "-n", "llm") == 0
    assert penstock("doctor", "--live", "--all-namespaces") == 1
    assert penstock("doctor", "--live", "--ignore", "PS227") == 0


def test_files_and_a_cluster_are_judged_together(here: Command, capsys: pytest.CaptureFixture[str]) -> None:
    put(here.cluster, pod("ill", namespace="default", **CRASHES))
    file = here.folder / "a.yaml"
    file.write_text("args:\n  - --max-num-seqs=4\n  - --disable-log-requests\n", encoding="utf-8")

    assert penstock("doctor", str(file), "--live", "--output", "json") == 1

    told = json.loads(capsys.readouterr().out)
    assert [(f["file"], f["object"] and f["object"].split(" ")[0]) for f in told["findings"]] == [
        (None, "default/Pod/ill"),
        (str(file), None),
    ]
    assert told["unread"] == []


def test_sarif_names_objects(here: Command, capsys: pytest.CaptureFixture[str]) -> None:
    put(here.cluster, pod("ill", namespace="default", **CRASHES))

    assert penstock("doctor", "--live", "-o", "sarif") == 1

    (result,) = json.loads(capsys.readouterr().out)["runs"][0]["results"]
    (location,) = result["locations"]
    assert list(location) == ["logicalLocations"]
    assert location["logicalLocations"][0]["fullyQualifiedName"].startswith("default/Pod/ill ")


def test_what_may_not_be_read_is_in_the_answer(here: Command, capsys: pytest.CaptureFixture[str]) -> None:
    here.server.faults.fail(99, code=503, path="/api/v1/namespaces/default/services")

    assert penstock("doctor", "--live", "--output", "json") == 0

    (problem,) = json.loads(capsys.readouterr().out)["unread"]
    assert problem["file"] == "cluster fake"
    assert problem["message"].startswith("Service: ")


@pytest.mark.parametrize(
    "options",
    [
        ["--context", "fake", "a.yaml"],
        ["--namespace", "llm", "a.yaml"],
        ["--all-namespaces"],
        ["--fleet", "demo", "a.yaml"],
        ["--live", "--namespace", "llm", "--all-namespaces"],
        ["--live", "--fix"],
        ["--live", "--context", "nowhere"],
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(here: Command, options: list[str]) -> None:
    assert penstock("doctor", *options) == 2


def test_a_cluster_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))

    assert penstock("doctor", "--live") == 2
