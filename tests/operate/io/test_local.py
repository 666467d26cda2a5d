"""The local platform end to end: the real supervisor, real processes, a real endpoint table."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from penstock.operate.engines import EnginePlan
from penstock.operate.events import ModelTarget, ReplicaChanged
from penstock.operate.io.local import LocalPlatform
from penstock.operate.io.state_folder import StateFolder
from penstock.operate.replicas import Phase
from penstock.operate.supervisor import Supervisor
from penstock.serve.routing import EndpointTable

PATIENCE_S = 60.0
TINY_ENGINE = Path(__file__).with_name("tiny_engine.py")


def target(replicas: int, mode: str = "healthy", *, version: str = "1", stop_timeout_s: float = 30.0) -> ModelTarget:
    argv = (sys.executable, "-I", "-S", str(TINY_ENGINE), "{port}", "{ready_file}", mode)
    plan = EnginePlan(kind="simulated", reason="", notes=(), argv=argv, env=(("VERSION", version),))
    return ModelTarget(name="chat", replicas=replicas, plan=plan, stop_timeout_s=stop_timeout_s)


class Fleet:
    """A running platform; `until` waits for something to become true, woken by every change."""

    def __init__(self, state: StateFolder, folder: Path) -> None:
        self.table = EndpointTable()
        self.changes: list[ReplicaChanged] = []
        self._changed = asyncio.Event()
        self.platform = LocalPlatform(
            sink=self.table,
            state=state,
            working_folder=folder,
            on_change=self.changes.append,
            on_update=self._updated,
        )

    def _updated(self, _: Supervisor) -> None:
        self._changed.set()

    async def until(self, is_true: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not is_true():
                self._changed.clear()
                await self._changed.wait()

    def serving(self) -> list[str]:
        pool = self.table.pools.get("chat")
        return [e.id for e in pool.endpoints if e.health != "draining"] if pool is not None else []

    def phases(self) -> dict[str, Phase]:
        return {r.id: r.phase for r in self.platform.supervisor.replicas.values()}


@asynccontextmanager
async def running(folder: Path, *models: ModelTarget) -> AsyncIterator[Fleet]:
    with StateFolder(folder / "state", "demo") as state:
        fleet = Fleet(state, folder)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fleet.platform.run(models))
            await asyncio.sleep(0)
            yield fleet
            fleet.platform.stop(is_hurried=True)


def test_replicas_come_up_serve_and_stop(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, target(2)) as fleet:
            await fleet.until(lambda: fleet.serving() == ["chat-0", "chat-1"])
            fleet.platform.stop()
            await fleet.until(lambda: fleet.platform.supervisor.is_idle)
            assert fleet.serving() == []

    asyncio.run(main())


def test_a_killed_replica_is_restarted_on_a_new_address(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, target(1)) as fleet:
            await fleet.until(lambda: fleet.serving() == ["chat-0"])
            first = fleet.table.get("chat-0")
            told = json.loads((tmp_path / "state" / "ready" / "chat-0.json").read_text())
            os.kill(told["pid"], signal.SIGKILL)
            await fleet.until(lambda: fleet.phases() == {"chat-0": Phase.BACKOFF})
            assert fleet.serving() == []
            await fleet.until(lambda: fleet.serving() == ["chat-0"])
            assert fleet.table.get("chat-0") is not first
            assert fleet.platform.supervisor.replicas["chat-0"].restarts == 1

    asyncio.run(main())


def test_a_replica_that_dies_at_its_start_is_reported_with_its_last_words(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, target(1, "dies")) as fleet:
            await fleet.until(lambda: fleet.phases() == {"chat-0": Phase.BACKOFF})
            died = fleet.changes[-1]
            assert died.reason.startswith("exited with code 3")
            assert died.last_lines[-1] == "ValueError: no such weights"
            assert died.restart_in_s == 1.0

    asyncio.run(main())


def test_a_roll_keeps_the_old_replica_until_its_requests_are_over(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, target(1)) as fleet:
            await fleet.until(lambda: fleet.serving() == ["chat-0"])
            old = fleet.table.get("chat-0")
            assert old is not None
            old.in_flight = 1
            fleet.platform.want([target(1, version="2")])
            await fleet.until(lambda: fleet.serving() == ["chat-1"])
            assert fleet.phases()["chat-0"] is Phase.DRAINING
            old.in_flight = 0
            await fleet.until(lambda: list(fleet.phases()) == ["chat-1"])

    asyncio.run(main())


def test_requests_on_a_removed_model_are_waited_for_although_its_pool_is_gone(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, target(1)) as fleet:
            await fleet.until(lambda: fleet.serving() == ["chat-0"])
            old = fleet.table.get("chat-0")
            assert old is not None
            old.in_flight = 1
            fleet.platform.want([])
            assert fleet.table.pools == {}
            assert fleet.phases() == {"chat-0": Phase.DRAINING}
            await asyncio.sleep(0)
            assert fleet.phases() == {"chat-0": Phase.DRAINING}
            old.in_flight = 0
            await fleet.until(lambda: fleet.phases() == {})

    asyncio.run(main())


def test_a_stop_that_is_hurried_ends_what_ignores_sigterm(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, target(1, "stubborn", stop_timeout_s=0.0)) as fleet:
            await fleet.until(lambda: fleet.serving() == ["chat-0"])
            fleet.platform.stop()
            await fleet.until(lambda: fleet.phases() == {"chat-0": Phase.STOPPING})
            fleet.platform.stop(is_hurried=True)
            await fleet.until(lambda: fleet.platform.supervisor.is_idle)

    asyncio.run(main())


def test_nothing_is_wanted_any_more_once_it_stops(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, target(1)) as fleet:
            fleet.platform.stop()
            fleet.platform.want([target(5)])
            await fleet.until(lambda: fleet.platform.supervisor.is_idle)

    asyncio.run(main())
