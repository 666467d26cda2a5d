"""`penstock up` as a process: the real gateway and supervisor over a stand-in for vLLM."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cli.fake_vllm import make_venv
from cli.fleet_command import KEY, PATIENCE_S, ended, has_ended, running

TINY_LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 2048,
    "max_position_embeddings": 2048,
    "torch_dtype": "bfloat16",
}


def write_fleet(folder: Path, *, replicas: int = 1, env: dict[str, str] | None = None, **engine: Any) -> Path:
    """A fleet of one model over the stand-in; everything it needs is in `folder`."""
    if not (folder / "venv").exists():
        make_venv(folder / "venv")
        (folder / "model").mkdir()
        (folder / "model" / "config.json").write_text(json.dumps(TINY_LLAMA))
    chat = {
        "name": "chat",
        "source": "./model",
        "replicas": replicas,
        "engine": {"type": "vllm", "venv": "./venv", "env": env or {}, **engine},
    }
    tenants = [{"name": "demo", "keys": [{"name": "q", "value": KEY}]}]
    spec = {"models": [chat], "gateway": {"tenants": tenants}}
    text = {"apiVersion": "penstock.dev/v1alpha1", "kind": "Fleet", "metadata": {"name": "test"}, "spec": spec}
    draft = folder / "fleet.draft"
    draft.write_text(json.dumps(text))
    return draft.replace(folder / "fleet.yaml")


def test_it_announces_serves_and_ends_with_0_on_ctrl_c(tmp_path: Path) -> None:
    with running("up", write_fleet(tmp_path, replicas=2)) as fleet:
        assert fleet.announced["fleet"] == "test"
        assert fleet.announced["models"] == ["chat"]
        assert fleet.announced["url"] == f"http://{fleet.announced['listen']}/v1"
        engine = fleet.until(event="engine")
        assert (engine["engine"], engine["replicas"]) == ("vllm", 2)
        fleet.until(event="ready")
        pid = fleet.engine_pid()
        fleet.process.send_signal(signal.SIGINT)
        fleet.until(event="stopped")
        assert fleet.end() == 0
        assert has_ended(pid)


def test_the_admin_port_shows_every_replica(tmp_path: Path) -> None:
    with running("up", write_fleet(tmp_path, replicas=2)) as fleet:
        fleet.until(event="ready")
        (model,) = fleet.state()["models"]
        assert (model["engine"], model["replicas_desired"]) == ("vllm", 2)
        assert [e["phase"] for e in model["endpoints"]] == ["ready", "ready"]
        assert "is installed" in model["engine_reason"]


def test_killed_with_9_it_leaves_no_engine(tmp_path: Path) -> None:
    with running("up", write_fleet(tmp_path)) as fleet:
        fleet.until(event="ready")
        pid = fleet.engine_pid()
        fleet.process.kill()
        assert has_ended(pid)


def test_killed_with_9_it_leaves_no_simulated_engine(tmp_path: Path) -> None:
    with running("up", write_fleet(tmp_path, type="simulated")) as fleet:
        fleet.until(event="ready")
        pid = json.loads((tmp_path / ".penstock" / "test" / "ready" / "chat-0.json").read_text())["pid"]
        fleet.process.kill()
        assert has_ended(pid)


def test_an_engine_that_is_killed_is_replaced(tmp_path: Path) -> None:
    with running("up", write_fleet(tmp_path)) as fleet:
        fleet.until(event="ready")
        first = fleet.engine_pid()
        os.kill(first, signal.SIGKILL)
        died = fleet.until(event="replica", phase="backoff")
        assert "was killed by SIGKILL" in died["reason"]
        fleet.until(event="replica", phase="ready")
        assert fleet.engine_pid() != first


def test_an_engine_that_dies_at_its_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    with running("up", write_fleet(tmp_path, env={"MODE": "dies"}), "--state-dir", str(elsewhere)) as fleet:
        died = fleet.until(event="replica", phase="backoff")
        assert "exited with code 3" in died["reason"]
        assert died["last_lines"][-1] == "ValueError: no such weights"
        assert died["log"] == str(elsewhere / "logs" / "chat-0.log")
        assert "no such weights" in Path(died["log"]).read_text()
        fleet.process.send_signal(signal.SIGTERM)
        assert fleet.end() == 0


def told(*words: str) -> str:
    """What a command prints."""
    line = [sys.executable, "-m", "penstock", *words]
    done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    return done.stdout.strip()


def test_logs_keys_and_use_lie_in_the_state_folder_that_each_command_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PENSTOCK_STATE_DIR", raising=False)
    file, state = write_fleet(tmp_path), tmp_path / "elsewhere"
    here = ("--state-dir", str(state))
    with running("up", file, *here) as fleet:
        fleet.until(event="ready")
        key = told("keys", "create", str(file), "--tenant", "acme", "--name", "laptop", *here)
        while fleet.ask(key) == "401":  # it holds within a second
            pass
        record = json.loads(told("keys", "list", str(file), "--tenant", "acme", "-o", "json", *here))["keys"][0]
        used = json.loads(told("usage", str(file), "--tenant", "acme", "-o", "json", *here))
        assert used["total"]["requests"] == 1
        tenants = json.loads(told("tenants", "list", str(file), "-o", "json", *here))["tenants"]
        assert {tenant["tenant"] for tenant in tenants} == {"acme", "demo"}
        told("keys", "rotate", str(file), record["id"], "--overlap", "0", *here)
        while fleet.ask(key) != "401":
            pass
        fleet.process.send_signal(signal.SIGTERM)
        assert fleet.end() == 0
    assert {"keys.db", "ledger", "logs", "penstock-access.log"} <= {path.name for path in state.iterdir()}
    assert not (tmp_path / ".penstock").exists()


def test_a_change_of_the_file_rolls_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    file = write_fleet(tmp_path, env={"REVISION": "one"})
    with running("up", file) as fleet:
        fleet.until(event="ready")
        assert fleet.ask().endswith("revision one")
        good = file.read_text()
        file.write_text(good.replace('"replicas"', '"replicsa"'))
        refused = fleet.until(event="file")
        assert refused["is_taken"] is False
        assert "replicsa" in refused["error"]
        assert fleet.ask().endswith("revision one")
        write_fleet(tmp_path, env={"REVISION": "two"})
        assert fleet.until(event="file")["is_taken"] is True
        fleet.until(event="replica", replica="chat-1", phase="ready")
        fleet.until(event="replica", replica="chat-0", phase="gone")
        assert fleet.ask().endswith("revision two")


def held_fleet(folder: Path) -> Path:
    os.mkfifo(folder / "held")
    os.mkfifo(folder / "arrived")
    return write_fleet(folder, env={"MODE": "held", "HELD": str(folder / "held"), "ARRIVED": str(folder / "arrived")})


def test_a_request_in_flight_is_finished_before_the_end(tmp_path: Path) -> None:
    with running("up", held_fleet(tmp_path)) as fleet, ThreadPoolExecutor() as pool:
        fleet.until(event="ready")
        answer = pool.submit(fleet.ask)
        assert (tmp_path / "arrived").read_text() == "yes"
        fleet.process.send_signal(signal.SIGTERM)
        fleet.until(event="stopping")
        (tmp_path / "held").write_text("go")
        assert answer.result(PATIENCE_S).startswith("pid ")
        assert fleet.end() == 0


def test_a_second_ctrl_c_ends_it_now(tmp_path: Path) -> None:
    with running("up", held_fleet(tmp_path)) as fleet, ThreadPoolExecutor() as pool:
        fleet.until(event="ready")
        answer = pool.submit(fleet.ask)
        assert (tmp_path / "arrived").read_text() == "yes"
        fleet.process.send_signal(signal.SIGINT)
        fleet.until(event="stopping", is_hurried=False)
        fleet.process.send_signal(signal.SIGINT)
        fleet.until(event="stopping", is_hurried=True)
        assert fleet.end() == 0
        assert answer.result(PATIENCE_S) == "503"


@pytest.mark.parametrize(("option", "other"), [("--listen", "--admin"), ("--admin", "--listen")])
def test_a_port_in_use_is_told_with_the_option_that_changes_it(tmp_path: Path, option: str, other: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = ended("up", write_fleet(tmp_path), option, f"127.0.0.1:{port}", other, "127.0.0.1:0")
    assert result.returncode == 1
    assert str(port) in result.stderr
    assert option in result.stderr
    assert "Traceback" not in result.stderr
    assert not list((tmp_path / ".penstock" / "test" / "logs").iterdir())


def test_a_second_up_of_the_same_fleet_is_refused(tmp_path: Path) -> None:
    file = write_fleet(tmp_path)
    with running("up", file) as fleet:
        result = ended("up", file)
        assert result.returncode == 1
        assert f"process {fleet.process.pid} holds" in result.stderr


def test_a_model_path_that_does_not_exist_is_told_with_its_place_in_the_file(tmp_path: Path) -> None:
    file = write_fleet(tmp_path)
    file.write_text(file.read_text().replace("./model", "./gone"))
    result = ended("up", file)
    assert result.returncode == 2
    assert re.search(
        r"fleet\.yaml:1:\d+: spec\.models\[0\]\.source: the model path './gone' does not exist", result.stderr
    )


def test_vllm_that_was_asked_for_and_is_not_there_is_told(tmp_path: Path) -> None:
    file = write_fleet(tmp_path)
    (tmp_path / "venv" / "bin" / "vllm").unlink()
    result = ended("up", file)
    assert result.returncode == 1
    assert f"vllm is not installed in {tmp_path}/venv" in result.stderr


@pytest.fixture(autouse=True)
def _plain_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "1000")
