"""Long-running commands as processes, for tests: started, asked, read line by line, and ended. Not a test."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

KEY = "penstock-demo"
PATIENCE_S = 60.0
"""A bound for the hopeless case; nothing waits this long when all is well."""


class Command:
    """A running `penstock up` or `penstock gateway` with `--output json`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.announced = self.next()

    def next(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"it ended with {self.process.wait()}: {self.words()}"
        event: dict[str, Any] = json.loads(line)
        return event

    def until(self, **fields: Any) -> dict[str, Any]:
        """The next event with these fields."""
        while True:
            event = self.next()
            if all(event.get(name) == value for name, value in fields.items()):
                return event

    def words(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def ask(self, key: str = KEY) -> str:
        """What the engine says of itself; the status where it says nothing."""
        body = json.dumps({"model": "chat", "messages": [{"role": "user", "content": "Hello"}]})
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        with closing(HTTPConnection(self.announced["listen"], timeout=PATIENCE_S)) as client:
            client.request("POST", "/v1/chat/completions", body, headers)
            answer = client.getresponse()
            if answer.status != 200:
                return str(answer.status)
            text: str = json.load(answer)["choices"][0]["message"]["content"]
            return text

    def state(self) -> dict[str, Any]:
        with closing(HTTPConnection(self.announced["admin"], timeout=PATIENCE_S)) as client:
            client.request("GET", "/api/v1/state")
            state: dict[str, Any] = json.load(client.getresponse())
            return state

    def engine_pid(self) -> int:
        found = re.match(r"pid (\d+)", self.ask())
        assert found is not None
        return int(found[1])

    def end(self) -> int:
        """The exit code; reads what is still said, so that nothing waits to be read."""
        assert self.process.stdout is not None
        self.process.stdout.read()
        return self.process.wait(PATIENCE_S)


def command_line(name: str, file: Path, *options: str) -> list[str]:
    """The command on free ports."""
    ports = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    return [sys.executable, "-m", "penstock", name, str(file), *ports, "--output", "json", *options]


@contextmanager
def running(name: str, file: Path, *options: str) -> Iterator[Command]:
    """Runs the command; killed at the end if it has not ended by itself."""
    with subprocess.Popen(
        command_line(name, file, *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield Command(process)
        finally:
            if process.poll() is None:
                process.kill()


def ended(name: str, file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Runs a command that ends by itself."""
    line = command_line(name, file, *options)
    return subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def has_ended(pid: int) -> bool:
    try:
        watch = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([watch], [], [], PATIENCE_S)[0])
    finally:
        os.close(watch)
