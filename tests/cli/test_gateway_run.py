"""`penstock gateway` as a process, in front of a small engine."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from cli.fleet_command import KEY, PATIENCE_S, Command, ended, running
from fakes.engine import FakeEngine, serving


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with serving(FakeEngine(models=["chat"])) as engine:
        yield engine


@pytest.fixture(autouse=True)
def _plain_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")


def write_fleet(folder: Path, *models: dict[str, Any], **gateway: Any) -> Path:
    tenants = [{"name": "demo", "keys": [{"name": "q", "value": KEY}]}]
    head = {"apiVersion": "penstock.dev/v1alpha1", "kind": "Fleet", "metadata": {"name": "test"}}
    draft = folder / "fleet.draft"
    draft.write_text(json.dumps({**head, "spec": {"models": models, "gateway": {"tenants": tenants, **gateway}}}))
    return draft.replace(folder / "fleet.yaml")


def test_it_announces_serves_logs_each_request_and_ends_with_0(tmp_path: Path, engine: FakeEngine) -> None:
    file = write_fleet(tmp_path, {"name": "chat", "endpoints": [engine.origin]})
    with running("gateway", file) as gateway:
        assert gateway.announced["models"] == ["chat"]
        assert gateway.announced["url"] == f"http://{gateway.announced['listen']}/v1"
        assert gateway.ask() == " word" * 16
        assert gateway.process.stdout is not None
        line = gateway.process.stdout.readline()
        assert "chat" in line
        assert KEY not in line
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.end() == 0


def test_the_state_says_that_engines_run_elsewhere(tmp_path: Path, engine: FakeEngine) -> None:
    file = write_fleet(tmp_path, {"name": "chat", "endpoints": [engine.origin], "objectives": {"ttftMs": 500}})
    with running("gateway", file) as gateway:
        (model,) = gateway.state()["models"]
        assert (model["engine"], model["replicas_desired"]) == ("external", 1)
        assert model["endpoints"][0]["url"] == engine.origin
        assert model["objectives"]["ttft_ms"] == 500


def test_a_model_without_endpoints_is_said_at_the_start_and_answered_503(tmp_path: Path) -> None:
    with running("gateway", write_fleet(tmp_path, {"name": "chat"})) as gateway:
        assert gateway.ask() == "503"
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.end() == 0
        assert "model 'chat' is answered 503: the file names no endpoints for it" in gateway.words()


@pytest.mark.parametrize("how", ["signal", "file"])
def test_a_changed_file_is_taken_and_a_wrong_one_is_not(tmp_path: Path, engine: FakeEngine, how: str) -> None:
    engine.models.append("other")
    options = [] if how == "file" else ["--no-watch"]
    with running("gateway", write_fleet(tmp_path, {"name": "other"}), *options) as gateway:
        assert gateway.process.stderr is not None

        def reread() -> str:
            if how == "signal":
                gateway.process.send_signal(signal.SIGHUP)
            while "the fleet file" not in (line := gateway.process.stderr.readline()):  # type: ignore[union-attr]
                assert line
            return line

        assert gateway.ask() == "404"
        (tmp_path / "fleet.yaml").write_text("kind: [")
        assert "is wrong; the last good one still holds" in reread()
        assert gateway.ask() == "404"
        write_fleet(tmp_path, {"name": "chat", "endpoints": [engine.origin]})
        assert "taken" in reread()
        assert gateway.ask() == " word" * 16


NEVER = {
    "unknown class": ({"tenants": [{"name": "demo", "class": "fast", "keys": [{"value": KEY}]}]}, {}),
    "negative weight": ({"tenants": [{"name": "demo", "weight": -1, "keys": [{"value": KEY}]}]}, {}),
    "rules that match alike": ({"rules": [{"name": "a"}, {"name": "b"}]}, {}),
    "rule that never matches": ({"rules": [{"name": "a", "match": {"promptTokensMin": 2, "promptTokensMax": 1}}]}, {}),
    "rule to nobody": ({"rules": [{"name": "a", "to": [{"model": "chad"}]}]}, {}),
    "fallback cycle": ({}, {"fallbacks": [{"model": "other"}]}),
    "unknown provider": ({}, {"fallbacks": [{"provider": "elsewhere"}]}),
    "Redis URL": ({"limits": {"url": "redis.example:6379"}}, {}),
    "Redis password": ({"limits": {"url": "redis://:a-secret@redis.example"}}, {}),
    "budget that never counts": (
        {"tenants": [{"name": "demo", "limits": {"costPerMonth": 5}, "keys": [{"value": KEY}]}]},
        {},
    ),
}
"""Parts of a gateway and of its first model that are refused, by why."""


def test_a_file_whose_limits_rules_or_fallbacks_could_never_hold_leaves_the_last_good_one(
    tmp_path: Path, engine: FakeEngine
) -> None:
    chat = {"name": "chat", "endpoints": [engine.origin]}
    other = {"name": "other", "fallbacks": [{"model": "chat"}]}
    with running("gateway", write_fleet(tmp_path, chat, other), "--no-watch") as gateway:
        assert gateway.process.stderr is not None
        for why, (part, model) in NEVER.items():
            write_fleet(tmp_path, {**chat, **model}, other, **part)
            gateway.process.send_signal(signal.SIGHUP)
            while "the fleet file" not in (line := gateway.process.stderr.readline()):
                assert line, why
                assert "a-secret" not in line
            assert "is wrong; the last good one still holds" in line, why
            assert gateway.ask() == " word" * 16, why


def test_a_port_in_use_is_told_with_the_option_that_changes_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = ended("gateway", write_fleet(tmp_path, {"name": "chat"}), "--listen", f"127.0.0.1:{port}")
    assert result.returncode == 1
    assert f"127.0.0.1:{port}" in result.stderr
    assert "--listen" in result.stderr


def test_a_key_whose_variable_is_not_set_is_told_by_name(tmp_path: Path) -> None:
    tenants = [{"name": "demo", "keys": [{"name": "q", "valueFrom": {"env": "PENSTOCK_TEST_NO_SUCH_KEY"}}]}]
    result = ended("gateway", write_fleet(tmp_path, {"name": "chat"}, tenants=tenants))
    assert result.returncode == 2
    assert "PENSTOCK_TEST_NO_SUCH_KEY" in result.stderr


def test_a_wrong_file_is_told_with_its_place(tmp_path: Path) -> None:
    file = write_fleet(tmp_path, {"name": "chat", "replicsa": 2})
    result = ended("gateway", file)
    assert result.returncode == 2
    assert "fleet.yaml:1:" in result.stderr
    assert "replicas" in result.stderr


TOKEN = "a-token-of-the-admin-port"


def ask_to_reload(gateway: Command) -> tuple[int, Any]:
    with closing(HTTPConnection(gateway.announced["admin"], timeout=PATIENCE_S)) as client:
        client.request("POST", "/api/v1/reload", headers={"authorization": f"Bearer {TOKEN}"})
        answer = client.getresponse()
        return answer.status, json.load(answer)


def test_a_reload_over_the_admin_port_says_what_changed_or_which_line_is_wrong(
    tmp_path: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADMIN_TOKEN", TOKEN)
    reads_token = {"adminTokenFrom": {"env": "ADMIN_TOKEN"}}
    file = write_fleet(tmp_path, {"name": "chat", "endpoints": [engine.origin]}, **reads_token)
    with running("gateway", file, "--no-watch") as gateway:
        assert gateway.ask() == " word" * 16
        assert ask_to_reload(gateway) == (200, {"is_taken": True, "changed": [], "needs_restart": []})
        file.write_text("kind: Fleet\nspec: [")
        status, answer = ask_to_reload(gateway)
        assert status == 400
        assert re.search(r"fleet\.yaml:\d+:\d+: ", answer["error"]["message"])
        assert gateway.ask() == " word" * 16
        write_fleet(tmp_path, {"name": "chat", "endpoints": [engine.origin], "aliases": ["c"]}, **reads_token)
        assert ask_to_reload(gateway)[1]["changed"] == ["spec.models[chat].aliases"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a port passes between processes on Linux")
def test_a_second_gateway_takes_over_on_request_only_and_the_first_one_leaves(
    tmp_path: Path, engine: FakeEngine
) -> None:
    file = write_fleet(tmp_path, {"name": "chat", "endpoints": [engine.origin]})
    with running("gateway", file) as old:
        ports = ["--listen", old.announced["listen"], "--admin", old.announced["admin"]]
        by_mistake = ended("gateway", file, *ports, "--admin", "127.0.0.1:0")
        assert by_mistake.returncode == 1
        assert "another program has that port" in by_mistake.stderr
        assert "--takeover" in by_mistake.stderr
        with running("gateway", file, *ports, "--takeover") as new:
            assert new.announced["listen"] == old.announced["listen"]
            assert old.ask() == " word" * 16
            old.process.send_signal(signal.SIGTERM)
            assert old.end() == 0
            assert new.ask() == " word" * 16
            assert new.process.stderr is not None
            while "admin     http" not in (line := new.process.stderr.readline()):
                assert line
            assert new.state()["gateway"]["requests_total"] == 2  # it had all that began after its start
            new.process.send_signal(signal.SIGTERM)
            assert new.end() == 0
