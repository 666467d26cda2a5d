"""`penstock wait`: until it is ready, rolled out or gone; else why not."""

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


def serve(here: Command) -> None:
    """What the controllers say once every replica serves."""
    for live in here.cluster.list("apps/v1", "Deployment", "llm"):
        count = live["spec"]["replicas"]
        names = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        status = {"observedGeneration": live["metadata"]["generation"], **dict.fromkeys(names, count)}
        here.cluster.update({**live, "status": status}, subresource="status")


@pytest.mark.parametrize("what", ["ready", "rolled-out"])
def test_what_serves_is_ready(here: Command, capsys: pytest.CaptureFixture[str], what: str) -> None:
    file = here.file()
    penstock("apply", file, *ARGS)
    serve(here)

    assert penstock("wait", file, "--for", what, "--timeout", "5") == 0
    assert f"it is {what}" in capsys.readouterr().err


def test_what_does_not_is_told_with_the_reason(here: Command, capsys: pytest.CaptureFixture[str]) -> None:
    file = here.file()
    penstock("apply", file, *ARGS)
    capsys.readouterr()

    assert penstock("wait", file, "--timeout", "0", "--output", "json") == 1

    out, words = capsys.readouterr()
    assert json.loads(out)["is_timeout"] is True
    assert "Deployment demo-chat is not ready: waiting" in words


def test_a_fleet_that_is_gone_is_deleted(here: Command) -> None:
    file = here.file()
    penstock("apply", file, *ARGS)

    assert penstock("wait", file, "--for", "deleted", "--timeout", "0") == 1
    assert penstock("delete", file, "--yes") == 0
    assert penstock("wait", file, "--for", "deleted", "--timeout", "5") == 0
