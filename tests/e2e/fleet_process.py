"""A fleet that runs as a user runs it: `penstock up FILE` in a process of its own, on free ports.

Guarantees that nothing of it is left when the block ends, also when a test fails. Starts and stops take as long as the
engines do; waiting is by asking again, as there is nobody to wake us across a process.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.processes import tree

__all__ = ["FleetProcess", "is_alive", "metric", "pid_listening_on", "post", "read", "run_fleet", "wait_until"]

ASK_AGAIN_S = 0.1
STOP_S_MAX = 60.0


def wait_until(holds: Callable[[], bool], what: str, limit_s: float) -> None:
    """Returns when `holds()`.

    Raises:
        AssertionError: it did not within `limit_s`.
    """
    end = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end, f"not within {limit_s:.0f} s: {what}"
        time.sleep(ASK_AGAIN_S)


def read(url: str) -> bytes:
    """The body of a GET."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        body: bytes = answer.read()
    return body


def post(url: str, body: bytes, key: str) -> tuple[int, Any]:
    """Status and JSON of a POST that no client library would send."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def metric(url: str, name: str) -> float:
    """Sum over all labels of one metric of an engine or of the admin port."""
    lines = read(f"{url}/metrics").decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] not in {"Z", "X"}


def pid_listening_on(port: int, among: list[int]) -> int:
    """Which of some processes listens on a TCP port."""
    wanted = f":{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {row[9] for row in rows if row[1].endswith(wanted) and row[3] == "0A"}
    for pid in among:
        with suppress(OSError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    if os.readlink(descriptor).removeprefix("socket:[").removesuffix("]") in inodes:
                        return pid
    raise AssertionError(f"none of {among} listens on port {port}")


class FleetProcess:
    """A running `penstock up`."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self.log = log
        self.url = ""
        self.admin = ""

    def read_addresses(self) -> None:
        """Takes the addresses from what `--output json` prints once the listeners are bound."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"`penstock up` ended with {self.process.wait()}:\n{self.log.read_text()}"
        said = json.loads(line)
        self.url, self.admin = f"http://{said['listen']}", f"http://{said['admin']}"

    def wait_ready(self, limit_s: float) -> None:
        """Returns when every replica is ready."""
        wait_until(self.is_ready, f"every replica ready; the log: {self.log.read_text()[-3000:]}", limit_s)

    def is_ready(self) -> bool:
        """Whether every model has all its replicas."""
        assert self.process.poll() is None, f"`penstock up` ended:\n{self.log.read_text()}"
        try:
            models = self.state()["models"]
        except (OSError, http.client.HTTPException):
            return False
        return all(model["replicas_ready"] == model["replicas_desired"] for model in models)

    def state(self) -> dict[str, Any]:
        """The admin port's state."""
        state: dict[str, Any] = json.loads(read(f"{self.admin}/api/v1/state"))
        return state

    def model(self, name: str) -> dict[str, Any]:
        """One model of the state."""
        return next(model for model in self.state()["models"] if model["name"] == name)

    def engine_urls(self, model: str) -> list[str]:
        """Where a model's engines listen."""
        return [endpoint["url"] for endpoint in self.model(model)["endpoints"]]

    def pids(self) -> list[int]:
        """The process and everything it started."""
        return tree(self.process.pid)

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def wait_ended(self, limit_s: float) -> int:
        """The exit code."""
        return self.process.wait(limit_s)


@contextmanager
def run_fleet(file: Path, folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[FleetProcess]:
    """Starts a fleet in `folder` on free ports; gives it once its listeners are bound."""
    log = folder / "up.log"
    command = [sys.executable, "-m", "penstock", "up", str(file), "--state-dir", str(folder / "state")]
    command += ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--output", "json"]
    with log.open("w") as words:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=words,
            text=True,
            start_new_session=True,
        )
    fleet = FleetProcess(process, log)
    try:
        fleet.read_addresses()
        yield fleet
    finally:
        if process.poll() is None:
            pids = fleet.pids()
            fleet.interrupt()
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S_MAX)
            for pid in filter(is_alive, pids):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
