"""How `penstock gateway` runs: the gateway, its admin port, the scraper, and in a cluster who tells the endpoints."""

from __future__ import annotations

import asyncio
import os

import orjson
import uvloop

from penstock.cli.discovering import ClusterWatch, choose_access
from penstock.cli.front_door import FrontDoor, Listeners, LoadedFleet, load
from penstock.cli.output import print_text, say, warn
from penstock.cli.watch import Signals, heed_signals, watch_files
from penstock.errors import PenstockError
from penstock.serve.io.gateway import tune_process
from penstock.serve.platform import PlatformModel

__all__ = ["run_gateway"]


def run_gateway(file: str, listeners: Listeners, *, discover: str, is_watching: bool, is_json: bool) -> None:
    """Serves until told to stop.

    Raises:
        UsageError: the file or the command line is wrong.
        StartError: a port is in use.
    """
    loaded = load(file, listeners).with_access_log("stdout")
    access = choose_access(discover, os.environ, loaded.fleet)
    cluster = ClusterWatch(access, loaded.fleet) if access is not None else None
    tune_process()
    uvloop.run(_Run(file, listeners, cluster, is_watching=is_watching).run(loaded, is_json=is_json))
    say("stopped")


class _Run:
    """One run of `gateway`."""

    def __init__(self, file: str, listeners: Listeners, cluster: ClusterWatch | None, *, is_watching: bool) -> None:
        self._file = file
        self._listeners = listeners
        self._cluster = cluster
        self._is_watching = is_watching and file != "-"
        self._door: FrontDoor

    async def run(self, loaded: LoadedFleet, *, is_json: bool) -> None:
        """Everything from listening to the last request's end."""
        with heed_signals(hang_up=lambda heard: heard.reload.set(), heeds_nohup=False) as signals:
            cluster = self._cluster
            self._door = FrontDoor(loaded, discovery=(lambda: cluster.state) if cluster is not None else None)
            self._tell_platform(loaded)
            await self._door.start()
            try:
                self._announce(is_json=is_json)
                await self._serve(signals)
            finally:
                await self._door.close()

    async def _serve(self, signals: Signals) -> None:
        async with asyncio.TaskGroup() as tasks:
            others = [
                tasks.create_task(self._door.scrape()),
                tasks.create_task(self._door.watch_keys()),
                tasks.create_task(self._door.lean()),
                tasks.create_task(self._reload_when_asked(signals)),
            ]
            if self._cluster is not None:
                others.append(tasks.create_task(self._cluster.run()))
            if self._is_watching:
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
            self._reload()

    def _reload(self) -> None:
        if self._file == "-":
            say("the fleet file was read from stdin: it can't be read again")
            return
        try:
            loaded = load(self._file, self._listeners).with_access_log("stdout")
        except PenstockError as error:
            say(f"the fleet file changed and is wrong; the last good one still holds:\n{error}")
            return
        notes = self._door.reload(loaded)
        self._tell_platform(loaded)
        say("the fleet file was read again: taken")
        for note in notes:
            say(f"  {note}")

    def _announce(self, *, is_json: bool) -> None:
        if is_json:
            print_text(orjson.dumps(self._door.announcement()).decode())
        say(f"gateway   {self._door.url}\nadmin     {self._door.dashboard}")

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
