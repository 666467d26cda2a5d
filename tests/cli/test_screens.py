"""What `up` tells people and programs."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from penstock.cli.screens import JsonScreen, PeopleScreen
from penstock.errors import UsageError
from penstock.operate.engines import EnginePlan
from penstock.operate.events import ModelTarget, ReplicaChanged
from penstock.operate.replicas import Phase
from penstock.serve.routing import EndpointAddress
from penstock.spec import Fleet

LOG = Path("/state/logs/chat-0.log")
PLAN = EnginePlan(
    kind="simulated", reason="vllm is not installed: pip install vllm", notes=("x: dropped",), argv=(), env=()
)
ANNOUNCED = {"fleet": "demo", "url": "http://127.0.0.1:8080/v1", "dashboard": "http://127.0.0.1:8081/"}


def fleet() -> Fleet:
    tenants = [{"name": "demo", "keys": [{"value": "penstock-demo"}]}]
    spec = {"models": [{"name": "chat"}], "gateway": {"tenants": tenants}}
    head = {"apiVersion": "penstock.dev/v1alpha1", "kind": "Fleet", "metadata": {"name": "demo"}}
    return Fleet.model_validate({**head, "spec": spec})


def changed(phase: Phase, reason: str = "why", **fields: Any) -> ReplicaChanged:
    return ReplicaChanged(id="chat-0", model="chat", phase=phase, reason=reason, attempt=1, **fields)


def people(*, is_terminal: bool = False) -> tuple[PeopleScreen, io.StringIO]:
    words = io.StringIO()
    return PeopleScreen(Console(file=words, force_terminal=is_terminal, soft_wrap=True, no_color=True)), words


def test_people_get_words_on_stderr_and_what_they_paste_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    screen, words = people()
    screen.listening(ANNOUNCED, fleet())
    screen.close()
    out = capsys.readouterr().out
    assert "url        http://127.0.0.1:8080/v1\nkey        penstock-demo\ndashboard  http://127.0.0.1:8081/\n" in out
    assert "curl http://127.0.0.1:8080/v1/chat/completions" in out
    assert "fleet demo: the gateway listens" in words.getvalue()


def test_the_engine_and_the_reason_are_said_once_for_each_model() -> None:
    screen, words = people()
    far = EndpointAddress(id="far-0", host="10.0.0.1", port=9001)
    screen.engines_chosen(
        [ModelTarget(name="chat", replicas=2, plan=PLAN), ModelTarget(name="far", addresses=(far, far))]
    )
    screen.close()
    assert words.getvalue().splitlines() == [
        "chat: 2 replicas of the simulated engine: vllm is not installed: pip install vllm",
        "chat: x: dropped",
        "far: 2 endpoints that run elsewhere; nothing is started",
    ]


def test_trouble_is_told_with_the_last_lines_once_the_log_and_when_it_starts_again() -> None:
    screen, words = people()
    for wait_s in (1.0, 2.0):
        died = changed(
            Phase.BACKOFF, "exited with code 3", restart_in_s=wait_s, last_lines=("loading", "ValueError: no")
        )
        screen.replica_changed(died, LOG)
    screen.replica_changed(changed(Phase.BACKOFF, "exited", restart_in_s=4.0, is_crash_looping=True), LOG)
    screen.close()
    assert words.getvalue().splitlines() == [
        "chat-0: backoff: exited with code 3; starts again in 1 s; log: /state/logs/chat-0.log",
        "    loading",
        "    ValueError: no",
        "chat-0: backoff: exited with code 3; starts again in 2 s; log: /state/logs/chat-0.log",
        "chat-0: crash loop: exited; starts again in 4 s; log: /state/logs/chat-0.log",
    ]


def test_an_engine_that_never_becomes_ready_is_told_with_what_to_do() -> None:
    screen, words = people()
    screen.replica_changed(changed(Phase.RECYCLING, "not ready 600 s after its start (engine.startTimeoutS)"), LOG)
    screen.close()
    assert "not ready 600 s after its start" in words.getvalue()
    assert "raise engine.startTimeoutS" in words.getvalue()


def test_what_the_table_shows_is_not_said_on_a_terminal_but_trouble_is() -> None:
    screen, words = people(is_terminal=True)
    screen.replica_changed(changed(Phase.READY, "answers after 1.0 s"), LOG)
    screen.replica_changed(changed(Phase.BACKOFF, "exited with code 3"), LOG)
    screen.close()
    assert "answers" not in words.getvalue()
    assert "exited with code 3" in words.getvalue()


def test_markup_in_an_engines_words_is_left_as_it_is() -> None:
    screen, words = people()
    screen.replica_changed(changed(Phase.BACKOFF, "[red]x[/nope]", last_lines=("[bold]",)), LOG)
    screen.close()
    assert "[red]x[/nope]" in words.getvalue()
    assert "[bold]" in words.getvalue()


def test_programs_get_one_object_a_line_the_announcement_first(capsys: pytest.CaptureFixture[str]) -> None:
    screen = JsonScreen()
    screen.listening(ANNOUNCED, fleet())
    screen.engines_chosen([ModelTarget(name="chat", replicas=2, plan=PLAN)])
    screen.replica_changed(changed(Phase.BACKOFF, restart_in_s=1.0, last_lines=("a",)), LOG)
    screen.all_ready(1.23456)
    screen.file_taken(["listen has changed"])
    screen.file_refused(UsageError("bad", hint="mend it"))
    screen.stopping(is_hurried=True)
    screen.stopped()
    screen.close()
    first, *events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert first == ANNOUNCED
    names = [event["event"] for event in events]
    assert names == ["engine", "replica", "ready", "file", "file", "stopping", "stopped"]
    assert events[1]["last_lines"] == ["a"]
    assert events[4] == {**events[4], "is_taken": False, "error": "bad\n  hint: mend it"}
    assert all(event["at"].endswith("Z") for event in events)


def test_a_key_is_never_in_what_programs_get(capsys: pytest.CaptureFixture[str]) -> None:
    screen = JsonScreen()
    screen.listening(ANNOUNCED, fleet())
    screen.close()
    assert "penstock-demo" not in capsys.readouterr().out
