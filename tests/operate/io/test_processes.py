"""Replicas as real processes: proof of readiness, exits in words, and no process left."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from penstock.operate.devices import Devices
from penstock.operate.engines import EngineKind, EnginePlan
from penstock.operate.events import ReplicaExited, ReplicaProven, StartReplica
from penstock.operate.io.processes import LocalProcesses
from penstock.operate.io.state_folder import StateFolder

PATIENCE_S = 30.0
TINY_ENGINE = Path(__file__).with_name("tiny_engine.py")


def tiny(mode: str = "healthy", *, kind: EngineKind = "simulated", replica: str = "chat-0") -> StartReplica:
    ready_file = "{ready_file}" if kind == "simulated" else "-"
    argv = (sys.executable, "-I", "-S", str(TINY_ENGINE), "{port}", ready_file, mode)
    plan = EnginePlan(kind=kind, reason="", notes=(), argv=argv, env=(("TINY", "1"),))
    return StartReplica(id=replica, model="chat", attempt=1, plan=plan)


def pid_of_engine(folder: Path) -> int:
    pid: int = json.loads((folder / "state" / "ready" / "chat-0.json").read_text())["pid"]
    return pid


class Running:
    """The processes under test and what they post."""

    def __init__(self, processes: LocalProcesses, posted: asyncio.Queue[ReplicaProven | ReplicaExited]) -> None:
        self.processes = processes
        self._posted = posted

    async def next(self) -> ReplicaProven | ReplicaExited:
        async with asyncio.timeout(PATIENCE_S):
            return await self._posted.get()

    async def proven(self) -> ReplicaProven:
        event = await self.next()
        assert isinstance(event, ReplicaProven), event
        return event

    async def exited(self) -> ReplicaExited:
        event = await self.next()
        assert isinstance(event, ReplicaExited), event
        return event


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Running]:
    posted: asyncio.Queue[ReplicaProven | ReplicaExited] = asyncio.Queue()
    with StateFolder(folder / "state", "demo") as state:
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
            yield Running(
                LocalProcesses(
                    tasks=tasks,
                    session=session,
                    state=state,
                    working_folder=folder,
                    devices=Devices(["4", "7"]),
                    post=posted.put_nowait,
                ),
                posted,
            )


def test_a_replica_is_proven_at_the_address_it_told_and_exits_when_asked(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as it:
            it.processes.start(tiny())
            proven = await it.proven()
            url = f"http://{proven.host}:{proven.port}/health"
            async with aiohttp.ClientSession() as client, client.get(url) as answer:
                assert answer.status == 200
            it.processes.stop("chat-0")
            assert (await it.exited()).reason == "ended on SIGTERM"

    asyncio.run(main())


def test_an_engine_that_takes_a_port_gets_a_free_one(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as it:
            it.processes.start(tiny(kind="vllm", replica="a-0"))
            it.processes.start(tiny(kind="vllm", replica="b-0"))
            ports = {(await it.proven()).port, (await it.proven()).port}
            assert len(ports) == 2
            for replica in ("a-0", "b-0"):
                it.processes.kill(replica)
                await it.exited()

    asyncio.run(main())


def test_an_engine_that_dies_at_its_start_tells_its_last_words_and_code(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as it:
            it.processes.start(tiny("dies"))
            exited = await it.exited()
            assert exited.reason == "exited with code 3"
            assert exited.last_lines[-2:] == ("loading weights", "ValueError: no such weights")
            assert "ValueError: no such weights" in (tmp_path / "state" / "logs" / "chat-0.log").read_text()

    asyncio.run(main())


def test_a_command_that_does_not_exist_is_an_exit_in_words(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as it:
            plan = EnginePlan(kind="simulated", reason="", notes=(), argv=("/no/such/vllm",), env=())
            it.processes.start(StartReplica(id="chat-0", model="chat", attempt=4, plan=plan))
            exited = await it.exited()
            assert (exited.attempt, exited.reason) == (4, "could not be run")
            assert exited.last_lines[-1] == "/no/such/vllm: No such file or directory"

    asyncio.run(main())


def test_an_engine_that_answers_503_is_not_proven(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as it:
            it.processes.start(tiny("never"))
            it.processes.start(tiny(replica="chat-1"))
            assert (await it.proven()).id == "chat-1"
            it.processes.kill("chat-0")
            it.processes.kill("chat-1")
            assert {(await it.exited()).id, (await it.exited()).id} == {"chat-0", "chat-1"}

    asyncio.run(main())


def test_what_ignores_sigterm_can_be_killed(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as it:
            it.processes.start(tiny("stubborn"))
            await it.proven()
            it.processes.stop("chat-0")
            it.processes.kill("chat-0")
            assert (await it.exited()).reason == "was killed by SIGKILL"

    asyncio.run(main())


def test_a_stop_before_the_process_is_there_is_not_lost(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as it:
            it.processes.start(tiny())
            it.processes.stop("chat-0")
            assert isinstance(await it.next(), ReplicaExited)

    asyncio.run(main())


def test_when_it_is_said_to_be_gone_its_descendants_are_too(tmp_path: Path, has_ended: Callable[[int], bool]) -> None:
    async def main() -> int:
        async with running(tmp_path) as it:
            it.processes.start(tiny("forks"))
            await it.proven()
            it.processes.kill("chat-0")
            await it.exited()
            found = re.search(r"child (\d+)", (tmp_path / "state" / "logs" / "chat-0.log").read_text())
            assert found is not None
            return int(found[1])

    child = asyncio.run(main())
    try:
        os.kill(child, 0)
    except ProcessLookupError:
        return
    assert has_ended(child)


def test_a_cancelled_fleet_leaves_no_process(tmp_path: Path, has_ended: Callable[[int], bool]) -> None:
    pids: list[int] = []

    async def main() -> None:
        async with running(tmp_path) as it:
            it.processes.start(tiny("stubborn"))
            await it.proven()
            pids.append(pid_of_engine(tmp_path))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert has_ended(pids[0])


def test_ctrl_c_in_the_terminal_does_not_reach_the_engine(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as it:
            it.processes.start(tiny())
            await it.proven()
            pid = pid_of_engine(tmp_path)
            assert os.getsid(pid) != os.getsid(0)
            assert os.getpgid(pid) != os.getpgid(0)
            os.kill(pid, signal.SIGKILL)
            await it.exited()

    asyncio.run(main())


def test_replicas_are_given_gpus_unless_the_file_names_them(tmp_path: Path) -> None:
    def asks(replica: str, **env: str) -> StartReplica:
        argv = ("/bin/sh", "-c", "echo gpus=$CUDA_VISIBLE_DEVICES")
        plan = EnginePlan(kind="vllm", reason="", notes=(), argv=argv, env=tuple(env.items()), gpus=1)
        return StartReplica(id=replica, model="chat", attempt=1, plan=plan)

    async def main() -> None:
        async with running(tmp_path) as it:
            it.processes.start(asks("a-0"))
            it.processes.start(asks("b-0"))
            it.processes.start(asks("c-0", CUDA_VISIBLE_DEVICES="9"))
            said = {event.id: event.last_lines[-1] for event in [await it.exited() for _ in range(3)]}
            assert said == {"a-0": "gpus=4", "b-0": "gpus=7", "c-0": "gpus=9"}

    asyncio.run(main())
