"""Two gateways as two processes: limits hold over both, also without Redis, and each request is in the ledger once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from bench.limits import RedisServer
from cli.fleet_command import Command, running
from e2e.fleet_process import wait_until
from serve.io.limits.servers import missing

LIMIT = 10
"""Requests a minute; a burst of at least 10 is allowed, so all of them at once."""
LIMITED, FREE = "key-of-acme", "key-of-beta"
START_S = 60.0


@contextmanager
def simulated_engine(folder: Path, name: str) -> Iterator[str]:
    """A simulated engine with a model `chat`; its address."""
    ready = folder / f"{name}.ready"
    command = [sys.executable, "-m", "penstock", "engine", "--model", "chat", "--source", "Qwen/Qwen3-0.6B"]
    command += ["--port", "0", "--ready-file", str(ready), "--speed", "20"]
    with (folder / f"{name}.log").open("w") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            wait_until(lambda: ready.exists() and bool(ready.read_text()), "the engine is ready", START_S)
            yield "http://127.0.0.1:{port}".format(**json.loads(ready.read_text()))
        finally:
            process.kill()


def write_fleet(folder: Path, engines: list[str], redis: str) -> Path:
    tenants = [
        {"name": "acme", "limits": {"requestsPerMinute": LIMIT}, "keys": [{"value": LIMITED}]},
        {"name": "beta", "keys": [{"value": FREE}]},
    ]
    spec = {
        "models": [{"name": "chat", "endpoints": engines}],
        "gateway": {"tenants": tenants, "limits": {"url": redis}, "accessLog": "off"},
    }
    head = {"apiVersion": "penstock.dev/v1alpha1", "kind": "Fleet", "metadata": {"name": "two"}}
    file = folder / "fleet.yaml"
    file.write_text(json.dumps({**head, "spec": spec}))
    return file


def ask(gateway: Command, key: str, number: int) -> tuple[int, dict[str, Any]]:
    """Status, and what the answer says."""
    body = {"model": "chat", "max_tokens": 3 + number % 5, "messages": [{"role": "user", "content": "go " * number}]}
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    with closing(HTTPConnection(gateway.announced["listen"], timeout=60)) as client:
        client.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        answer = client.getresponse()
        return answer.status, json.load(answer)


def metric(gateway: Command, name: str) -> float:
    with closing(HTTPConnection(gateway.announced["admin"], timeout=60)) as client:
        client.request("GET", "/metrics")
        lines = client.getresponse().read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)


def used(file: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """What `penstock usage` says, by tenant and outcome."""
    command = [sys.executable, "-m", "penstock", "usage", str(file), "--by", "tenant,outcome", "--output", "json"]
    told = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    return {(row["tenant"], row["outcome"]): row for row in told["rows"]}


@pytest.mark.skipif(bool(missing()), reason=missing() or "-")
def test_limits_hold_over_both_also_without_redis_and_the_ledger_has_what_clients_were_told(tmp_path: Path) -> None:
    told: dict[str, list[dict[str, int]]] = {LIMITED: [], FREE: []}
    statuses: set[int] = set()

    def go(gateway: Command, key: str, number: int) -> int:
        status, answer = ask(gateway, key, number)
        statuses.add(status)
        if status == 200:
            told[key].append(answer["usage"])
        return status

    with ExitStack() as stack:
        redis = RedisServer()
        stack.callback(redis.end)
        engines = [stack.enter_context(simulated_engine(tmp_path, f"engine-{n}")) for n in range(2)]
        file = write_fleet(tmp_path, engines, redis.url)
        one = stack.enter_context(running("gateway", file))
        other = stack.enter_context(running("gateway", file))
        wait_until(lambda: metric(one, "penstock_gateways") == 2 == metric(other, "penstock_gateways"), "both", START_S)

        began = time.monotonic()
        got = [go(gateway, LIMITED, n) for n in range(8) for gateway in (one, other)]
        assert got[:LIMIT] == [200] * LIMIT
        assert 429 in got
        [go(gateway, FREE, n) for n in range(5) for gateway in (one, other)]

        redis.end()
        [go(gateway, FREE, n) for n in range(5) for gateway in (one, other)]
        wait_until(lambda: not metric(one, "penstock_limits_connected"), "it is known that Redis is away", START_S)
        [go(gateway, LIMITED, n) for n in range(10) for gateway in (one, other)]
        assert len(told[LIMITED]) <= LIMIT * (1 + (time.monotonic() - began) / 60)
        assert len(told[FREE]) == 20
        assert statuses == {200, 429}

        os.kill(other.process.pid, 9)
        other.process.wait()
        found = used(file)
        for tenant, key in (("acme", LIMITED), ("beta", FREE)):
            row = found.pop((tenant, "ok"))
            assert row["requests"] == len(told[key])
            assert row["prompt_tokens"] == sum(usage["prompt_tokens"] for usage in told[key])
            assert row["output_tokens"] == sum(usage["completion_tokens"] for usage in told[key])
        assert found == {}
