"""The `engine` command: what it takes, how it starts and how it ends."""

from __future__ import annotations

import json
import select
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from penstock.cli.main import main

PATIENCE_S = 60.0
"""A bound for the hopeless case; nothing waits this long when all is well."""


@contextmanager
def engine_process(
    ready: Path, *options: str, source: str = "Qwen/Qwen3-0.6B"
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A running engine and its URL; killed at the end if it still runs."""
    command = [sys.executable, "-m", "penstock", "engine", "--model", "tiny", "--source", source]
    command += ["--port", "0", "--ready-file", str(ready), *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        readable, _, _ = select.select([process.stderr], [], [], PATIENCE_S)
        assert readable, "the engine said nothing"
        word = process.stderr.readline().decode()
        assert "listens on http://" in word, word + process.stderr.read().decode()
        yield process, word.split("listens on ")[1].strip()
    finally:
        process.kill()
        process.wait(PATIENCE_S)
        process.stderr.close()


def post(url: str, body: Any) -> Any:
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return json.load(answer)


def test_it_answers_tells_where_it_is_and_ends_in_order(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    with engine_process(ready, "--speed", "100", "--served-model-name", "a", "--served-model-name", "b") as (
        process,
        url,
    ):
        told = json.loads(ready.read_text())
        answer = post(f"{url}/v1/completions", {"model": "b", "prompt": "hi", "max_tokens": 3})
        process.send_signal(signal.SIGTERM)

        assert process.wait(PATIENCE_S) == 0
    assert told["pid"] == process.pid
    assert url == f"http://{told['host']}:{told['port']}"
    assert answer["model"] == "a"


def test_a_crash_on_demand_ends_the_process_at_once(tmp_path: Path) -> None:
    with engine_process(tmp_path / "ready", "--enable-faults") as (process, url):
        post(f"{url}/fault", {"mode": "crash"})

        assert process.wait(PATIENCE_S) == 1


def test_faults_are_off_unless_asked_for(tmp_path: Path) -> None:
    with engine_process(tmp_path / "ready") as (_, url), pytest.raises(urllib.error.HTTPError, match="404"):
        post(f"{url}/fault", {"mode": "crash"})


def test_a_port_in_use_is_a_failure_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code = main(["engine", "--model", "tiny", "--source", "Qwen/Qwen3-0.6B", "--port", str(port)])

    assert code == 1
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--disable-log-requests"], "No such option"),
        (["--speed", "0"], "--speed is 0.0"),
        (["--task", "sing"], "--task is 'sing'"),
        (["--scheduling-policy", "lifo"], "--scheduling-policy is 'lifo'"),
        (["--gpu", "abacus"], "abacus"),
        (["--max-model-len", "0"], "max-model-len"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["engine", "--model", "tiny", *options]) == 2
    assert words in capsys.readouterr().err


def test_a_folder_is_simulated_by_its_own_config(tmp_path: Path) -> None:
    shape = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    config = shape | {"vocab_size": 1000, "max_position_embeddings": 96, "architectures": ["LlamaForCausalLM"]}
    (tmp_path / "config.json").write_text(json.dumps(config))

    with (
        engine_process(tmp_path / "ready", source=str(tmp_path)) as (_, url),
        urllib.request.urlopen(f"{url}/v1/models", timeout=PATIENCE_S) as answer,
    ):
        (card,) = json.load(answer)["data"]

    assert (card["max_model_len"], card["root"]) == (96, str(tmp_path))


def test_a_config_that_is_no_json_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text("{")

    assert main(["engine", "--model", "tiny", "--source", str(tmp_path)]) == 2
    assert "config.json cannot be read" in capsys.readouterr().err
