"""How `penstock gateway` runs: the gateway, its admin port, the scraper, and in a cluster who tells the endpoints."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass

import orjson
import uvloop

from penstock.cli.discovering import ClusterWatch, choose_access
from penstock.cli.front_door import FrontDoor, Listeners, LoadedFleet, load
from penstock.cli.output import print_text, say, warn
from penstock.cli.watch import Signals, heed_signals, watch_files
from penstock.errors import PenstockError, UsageError
from penstock.serve.io.gateway import tune_process
from penstock.serve.io.reload_route import Reloaded
from penstock.serve.platform import PlatformModel
from penstock.spec.changes import changed_fields

__all__ = ["GatewayOptions", "run_gateway"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayOptions:
    """The command line of `gateway`."""

    file: str
    listeners: Listeners
    is_watching: bool = True
    takes_over: bool = False
    """Starts beside the gateway that has the port."""
    is_json: bool = False


def run_gateway(options: GatewayOptions, *, discover: str) -> None:
    """Serves until told to stop.

    Raises:
        UsageError: the file or the command line is wrong.
        StartError: a port is in use.
    """
    loaded = load(options.file, options.listeners).with_access_log("stdout")
    access = choose_access(discover, os.environ, loaded.fleet)
    cluster = ClusterWatch(access, loaded.fleet) if access is not None else None
    tune_process()
    uvloop.run(_Run(options, cluster).run(loaded))
    say("stopped")


class _Run:
    """One run of `gateway`."""

    def __init__(self, options: GatewayOptions, cluster: ClusterWatch | None) -> None:
        self._options = options
        self._cluster = cluster
        self._door: FrontDoor

    async def run(self, loaded: LoadedFleet) -> None:
        """Everything from listening to the last request's end."""
        with heed_signals(hang_up=lambda heard: heard.reload.set(), heeds_nohup=False) as signals:
            cluster = self._cluster
            self._door = FrontDoor(
                loaded,
                discovery=(lambda: cluster.state) if cluster is not None else None,
                port_use="takes_over" if self._options.takes_over else "lends",
                reload=self._reload,
            )
            self._tell_platform(loaded)
            await self._door.start()
            try:
                self._announce()
                await self._serve(signals)
            finally:
                await self._door.close()

    async def _serve(self, signals: Signals) -> None:
        async with asyncio.TaskGroup() as tasks:
            others = [
                tasks.create_task(self._door.scrape()),
                tasks.create_task(self._door.watch_keys()),
                tasks.create_task(self._door.lean()),
                tasks.create_task(self._open_admin()),
                tasks.create_task(self._reload_when_asked(signals)),
            ]
            if self._cluster is not None:
                others.append(tasks.create_task(self._cluster.run()))
            if self._options.is_watching and self._options.file != "-":
                files = watch_files(lambda: self._door.loaded.watched_files, signals.reload.set)
                others.append(tasks.create_task(files))
            await signals.stop.wait()
            say("draining, then stopping (a second signal stops now)")
            await self._door.drain(signals.hurry)
            for task in others:
                task.cancel()

    async def _reload_when_asked(self, signals: Signals) -> None:
        while True:
            await signals.reload.wait()
            signals.reload.clear()
            with contextlib.suppress(PenstockError):  # said already
                self._reload()

    def _reload(self) -> Reloaded:
        """Reads the file again.

        Raises:
            UsageError: it is wrong; the last good one still holds.
        """
        options = self._options
        if options.file == "-":
            say("the fleet file was read from stdin: it can't be read again")
            raise UsageError("The fleet file was read from stdin: it can't be read again.", hint="start it with a file")
        try:
            loaded = load(options.file, options.listeners).with_access_log("stdout")
        except PenstockError as error:
            say(f"the fleet file changed and is wrong; the last good one still holds:\n{error}")
            raise
        changed = changed_fields(self._door.loaded.fleet, loaded.fleet)
        notes = self._door.reload(loaded)
        self._tell_platform(loaded)
        say("the fleet file was read again: taken")
        for note in notes:
            say(f"  {note}")
        return Reloaded(changed=tuple(changed), notes=tuple(notes))

    async def _open_admin(self) -> None:
        if not self._door.is_admin_open:
            say(f"the admin port {self._door.admin} is taken when the gateway before this one is gone")
            await self._door.open_admin()
            say(f"admin     {self._door.dashboard}")

    def _announce(self) -> None:
        if self._options.is_json:
            print_text(orjson.dumps(self._door.announcement()).decode())
        say(f"gateway   {self._door.url}")
        if self._door.is_admin_open:
            say(f"admin     {self._door.dashboard}")

    def _tell_platform(self, loaded: LoadedFleet) -> None:
        """Says of each model where it runs; warns of those that run nowhere."""
        if self._cluster is not None:
            self._cluster.follow(loaded.fleet, self._door)
            return
        models: dict[str, PlatformModel] = {}
        for model in loaded.fleet.spec.models:
            if model.endpoints is None:
                reason = "the file names no endpoints for it, and the gateway alone starts no engine"
                warn(f"model {model.name!r} is answered 503: {reason} (`penstock up` does)")
            else:
                reason = "the file names endpoints that run elsewhere"
            count = len(model.endpoints or ())
            models[model.name] = PlatformModel(engine="external", engine_reason=reason, replicas_desired=count)
        self._door.tell_platform(models)
