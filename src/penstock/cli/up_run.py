"""How `penstock up` runs: one event loop with the gateway, its admin port, the scraper and the local platform.

Order at the end: stop accepting, let requests finish, stop engines, close the admin port last, so that the end can be
watched. Whatever happens, no engine outlives the command.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvloop

from penstock.cli.front_door import FrontDoor, Listeners, LoadedFleet, load
from penstock.cli.screens import Screen
from penstock.cli.watch import Signals, heed_signals, watch_file
from penstock.errors import PenstockError, UsageError
from penstock.operate import ModelTarget, Phase, Supervisor, fleet_targets, platform_models
from penstock.operate.events import ReplicaChanged
from penstock.operate.io import LocalPlatform, StateFolder, log_of, survey
from penstock.serve.io.gateway import tune_process
from penstock.serve.io.reload_route import Reloaded
from penstock.spec.changes import changed_fields
from penstock.spec.document import parse_document

__all__ = ["UpOptions", "run_up"]

_ACCESS_LOG = "penstock-access.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions:
    """The command line of `up`."""

    file: str
    listeners: Listeners
    is_watching: bool

    @property
    def folder(self) -> Path:
        """What relative paths of the file are meant from."""
        return Path.cwd() if self.file == "-" else Path(self.file).absolute().parent


def run_up(options: UpOptions, screen: Screen) -> None:
    """Runs a fleet until it is told to stop.

    Raises:
        UsageError: the file or the command line is wrong.
        StartError: a port is in use, the fleet is up already, or an engine that was asked for can't run here.
    """
    loaded = load(options.file, options.listeners)
    targets = _targets(loaded, options)
    with StateFolder(loaded.store.state, loaded.fleet.metadata.name) as state:
        tune_process()
        try:
            uvloop.run(_Up(options, screen, state).run(loaded, targets))
            screen.stopped()
        finally:
            screen.close()


def _targets(loaded: LoadedFleet, options: UpOptions) -> tuple[ModelTarget, ...]:
    return fleet_targets(
        loaded.fleet,
        loaded.config.models,
        survey=partial(survey, folder=options.folder),
        report=parse_document(loaded.text, loaded.path).problem,
    )


class _Up:
    """One run of `up`."""

    def __init__(self, options: UpOptions, screen: Screen, state: StateFolder) -> None:
        self._options = options
        self._screen = screen
        self._state = state
        self._access_log = str(state.path / _ACCESS_LOG)
        self._began = time.monotonic()
        self._was_ready = False
        self._door: FrontDoor
        self._platform: LocalPlatform

    async def run(self, loaded: LoadedFleet, targets: tuple[ModelTarget, ...]) -> None:
        """Everything from listening to the last engine's end."""
        loaded = loaded.with_access_log(self._access_log)
        with heed_signals(hang_up=Signals.ask_to_stop, heeds_nohup=True) as signals:
            self._door = FrontDoor(loaded, is_platform=True, reload=self._reload)
            self._platform = LocalPlatform(
                sink=self._door.gateway.endpoints,
                state=self._state,
                working_folder=self._options.folder,
                on_change=self._on_change,
                on_update=self._on_update,
            )
            await self._door.start()
            try:
                self._screen.listening(self._door.announcement(), loaded.fleet)
                self._screen.engines_chosen(targets)
                await self._serve(targets, signals)
            finally:
                await self._door.close()

    async def _serve(self, targets: tuple[ModelTarget, ...], signals: Signals) -> None:
        async with asyncio.TaskGroup() as tasks:
            engines = tasks.create_task(self._platform.run(targets))
            others = [
                tasks.create_task(self._door.scrape()),
                tasks.create_task(self._door.watch_keys()),
                tasks.create_task(self._door.lean()),
                tasks.create_task(self._screen.show(self._door.state, self._door.dashboard)),
            ]
            if self._options.is_watching and self._options.file != "-":
                others.append(tasks.create_task(watch_file(self._options.file, self._take_change)))
            await signals.stop.wait()
            await self._stop(signals, engines)
            for task in others:
                task.cancel()

    async def _stop(self, signals: Signals, engines: asyncio.Task[None]) -> None:
        """Drains the gateway, then stops the engines; at once when hurried."""
        self._screen.stopping(is_hurried=False)
        await self._door.drain(signals.hurry)
        self._platform.stop(is_hurried=signals.hurry.is_set())
        async with asyncio.TaskGroup() as tasks:
            impatience = tasks.create_task(signals.hurry.wait())
            await asyncio.wait({engines, impatience}, return_when=asyncio.FIRST_COMPLETED)
            if signals.hurry.is_set():
                self._screen.stopping(is_hurried=True)
                self._platform.stop(is_hurried=True)
            impatience.cancel()
            await asyncio.wait({engines})

    def _take_change(self) -> None:
        """Takes the changed file, or keeps the last good one."""
        with contextlib.suppress(PenstockError):  # told already
            self._reload()

    def _reload(self) -> Reloaded:
        """Takes the file as it is now.

        Raises:
            UsageError: it is wrong; the last good one still holds.
        """
        if self._options.file == "-":
            raise UsageError("The fleet file was read from stdin: it can't be read again.", hint="start it with a file")
        try:
            loaded = load(self._options.file, self._options.listeners).with_access_log(self._access_log)
            targets = _targets(loaded, self._options)
        except PenstockError as error:
            self._screen.file_refused(error)
            raise
        changed = changed_fields(self._door.loaded.fleet, loaded.fleet)
        before = {t.name: t for t in self._platform.supervisor.targets.values()}
        notes = self._door.reload(loaded)
        self._screen.file_taken(notes)
        self._screen.engines_chosen([t for t in targets if _engine_differs(before.get(t.name), t)])
        self._platform.want(targets)
        return Reloaded(changed=tuple(changed), notes=tuple(notes))

    def _on_change(self, change: ReplicaChanged) -> None:
        self._screen.replica_changed(change, log_of(self._state, change.id))

    def _on_update(self, supervisor: Supervisor) -> None:
        self._door.tell_platform(platform_models(supervisor))
        if not self._was_ready and _is_all_ready(supervisor):
            self._was_ready = True
            self._screen.all_ready(time.monotonic() - self._began)


def _engine_differs(before: ModelTarget | None, after: ModelTarget) -> bool:
    """Whether a person should be told again which engine runs the model."""
    return before is None or (before.plan, before.replicas) != (after.plan, after.replicas)


def _is_all_ready(supervisor: Supervisor) -> bool:
    """Whether as many replicas as wanted are ready, and any are."""
    wanted = sum(t.replicas for t in supervisor.targets.values() if t.plan is not None)
    return wanted > 0 and sum(r.phase is Phase.READY for r in supervisor.replicas.values()) >= wanted
