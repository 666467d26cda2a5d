"""Replicas as processes of this machine: starts them, sees when they are ready and when they are gone.

Guarantees one `ReplicaExited` for each start, after which nothing of the replica runs; `ReplicaProven` at most once and
before it. Each engine runs under `launch.py`, in a session of its own, so Ctrl-C in a terminal reaches only `up`.
Leaves every decision (time limits, restarts, back-off) to the supervisor.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import aiohttp
import orjson

from penstock.operate.devices import Devices
from penstock.operate.events import ReplicaExited, ReplicaProven, StartReplica
from penstock.operate.io import launch
from penstock.operate.io.logs import ReplicaLog, log_path
from penstock.operate.io.state_folder import StateFolder

__all__ = ["LocalProcesses", "log_of"]

_LAUNCHER = (sys.executable, "-I", "-S", launch.__file__)
_READY_FILE_PAUSE_S = 0.05
_HEALTH_PAUSE_S = 0.25
"""Neither a file nor an engine that is starting can wake us; these pauses end with the start."""
_HEALTH_TIMEOUT = aiohttp.ClientTimeout(total=5.0)
_READ_BYTES = 65_536
_LAST_OUTPUT_S = 2.0
"""How long output may still come after the launcher is gone: a descendant that nobody could kill may hold the pipe."""


class LocalProcesses:
    """Runs the processes of one fleet. Belongs to one event loop; `tasks` is where their tasks live."""

    def __init__(
        self,
        *,
        tasks: asyncio.TaskGroup,
        session: aiohttp.ClientSession,
        state: StateFolder,
        working_folder: Path,
        devices: Devices,
        post: Callable[[ReplicaProven | ReplicaExited], None],
    ) -> None:
        self._tasks = tasks
        self._session = session
        self._state = state
        self._working_folder = working_folder
        self._devices = devices
        self._post = post
        self._living: dict[str, _Living] = {}

    def start(self, action: StartReplica) -> None:
        """Starts a process; what becomes of it is posted."""
        living = _Living(action)
        self._living[action.id] = living
        self._tasks.create_task(self._live(living), name=f"replica {action.id}")

    def stop(self, replica_id: str) -> None:
        """Asks the process to exit."""
        if (living := self._living.get(replica_id)) is not None:
            living.ask("stop")

    def kill(self, replica_id: str) -> None:
        """Ends the process and all of its children now."""
        if (living := self._living.get(replica_id)) is not None:
            living.ask("kill")

    async def _live(self, living: _Living) -> None:
        """One process from start to end."""
        action = living.action
        log = ReplicaLog(log_of(self._state, action.id))
        gpus = self._devices.take(action.plan.gpus)
        try:
            reason = await self._run(living, log, gpus)
        except OSError as error:
            reason = f"could not be started ({error.strerror})"
        finally:
            self._devices.give_back(gpus)
            log.close()
            if self._living.get(action.id) is living:
                del self._living[action.id]
        words = tuple(log.last_words())
        self._post(ReplicaExited(id=action.id, attempt=action.attempt, reason=reason, last_lines=words))

    async def _run(self, living: _Living, log: ReplicaLog, gpus: Sequence[str]) -> str:
        """Runs the process; returns how it ended, in words."""
        plan, ready_file = living.action.plan, self._state.ready / f"{quote(living.action.id, safe='')}.json"
        ready_file.unlink(missing_ok=True)
        port = 0 if plan.writes_ready_file else _free_port({other.port for other in self._living.values()})
        living.port = port
        command = plan.command(port=port, ready_file=str(ready_file))
        log.write(f"--- penstock: {' '.join(command)}\n".encode())
        process = await asyncio.create_subprocess_exec(
            *_LAUNCHER,
            *command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=STDOUT,
            env=_environment(command[0], dict(plan.env), gpus),
            cwd=self._working_folder,
            start_new_session=True,
        )
        living.take(process)
        try:
            async with asyncio.TaskGroup() as tasks:
                output = tasks.create_task(_keep_output(process, log))
                proof = tasks.create_task(self._prove(living, ready_file))
                code = await process.wait()
                proof.cancel()
                await asyncio.wait([output], timeout=_LAST_OUTPUT_S)
                output.cancel()
        finally:
            living.ask("kill")  # under cancellation; does nothing where it has ended
            await process.wait()
        return _how_it_ended(code)

    async def _prove(self, living: _Living, ready_file: Path) -> None:
        """Posts once when the engine answers ready."""
        host, port = "127.0.0.1", living.port
        while port == 0:
            if (told := _told_address(ready_file)) is not None:
                host, port = told
            else:
                await asyncio.sleep(_READY_FILE_PAUSE_S)
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}/health"
        while not await self._is_healthy(url):  # noqa: ASYNC110  (an engine wakes nobody)
            await asyncio.sleep(_HEALTH_PAUSE_S)
        action = living.action
        self._post(ReplicaProven(id=action.id, attempt=action.attempt, host=host, port=port))

    async def _is_healthy(self, url: str) -> bool:
        try:
            async with self._session.get(url, timeout=_HEALTH_TIMEOUT) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False


def log_of(state: StateFolder, replica_id: str) -> Path:
    """Where a replica's log lies."""
    return log_path(state.logs, replica_id)


class _Living:
    """One start, and the process once there is one. What is asked for before that is remembered."""

    def __init__(self, action: StartReplica) -> None:
        self.action = action
        self.port = 0
        self._process: Process | None = None
        self._asked: str | None = None

    def take(self, process: Process) -> None:
        self._process = process
        if self._asked is not None:
            self.ask(self._asked)

    def ask(self, what: str) -> None:
        """`stop` or `kill`."""
        self._asked = what
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(OSError, RuntimeError):
            # RuntimeError: uvloop's word for a pipe that was closed meanwhile.
            if what == "stop":
                process.send_signal(signal.SIGTERM)
            elif process.stdin is not None:
                process.stdin.write(b"K")


def _told_address(ready_file: Path) -> tuple[str, int] | None:
    """Where the engine says that it listens; None while it has not said so."""
    try:
        told = orjson.loads(ready_file.read_bytes())
        return str(told["host"]), int(told["port"])
    except (FileNotFoundError, ValueError, KeyError):
        return None


async def _keep_output(process: Process, log: ReplicaLog) -> None:
    assert process.stdout is not None
    while chunk := await process.stdout.read(_READ_BYTES):
        log.write(chunk)


def _environment(command: str, added: Mapping[str, str], gpus: Sequence[str]) -> dict[str, str]:
    """Our environment, the replica's GPUs, and what the file adds; the engine's own tools come first on PATH."""
    env = dict(os.environ)
    if gpus:
        env["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    env.update(added)
    if "/" in command:
        env["PATH"] = f"{Path(command).parent}{os.pathsep}{env.get('PATH', os.defpath)}"
    return env


def _free_port(taken: set[int]) -> int:
    """A free port of loopback. Should another process take it first, the engine dies and is started again."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in taken:
            return port


def _how_it_ended(code: int) -> str:
    number = code - 128 if code > 128 else -code
    if number > 0:
        try:
            name = signal.Signals(number).name
        except ValueError:
            return f"exited with code {code}"
        return "ended on SIGTERM" if number == signal.SIGTERM else f"was killed by {name}"
    return "could not be run" if code == 127 else f"exited with code {code}"
