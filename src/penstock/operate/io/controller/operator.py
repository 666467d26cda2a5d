"""kopf as our ears: it lists and watches, reconnects and logs in; we decide and act through our own client.

Only events are handled, so that kopf writes nothing into objects: no finalizers, no annotations. A Fleet that goes
takes with it what it owns, whether the controller runs or not.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import kopf

from penstock.facts import Architecture
from penstock.operate.apply.failures import ApiFailure
from penstock.operate.apply.objects import FLEET_LABEL, Object, labels
from penstock.operate.apply.port import KubeApi
from penstock.operate.io.controller.health import Counts, health_app
from penstock.operate.io.controller.worker import Pace, Worker
from penstock.serve.io.admin import AdminServer

if TYPE_CHECKING:
    from penstock.operate.io.scaling import Beat, Scaler  # it needs grpc, which may be absent

__all__ = ["Controller"]

log = logging.getLogger("penstock.controller")
_WATCHED = (("apps", "v1", "deployments"), ("", "v1", "services"), ("", "v1", "configmaps"))
"""Kinds that every fleet has, whose changes by others are mended at once; all else is found at the next look."""


class Controller:
    """All Fleets of a namespace, or one of them."""

    def __init__(
        self,
        api: KubeApi,
        *,
        namespace: str,
        fleet: str | None,
        architecture_of: Callable[[str], Architecture],
        pace: Pace | None = None,
        beat: Beat | None = None,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._only = fleet
        self._architecture_of = architecture_of
        self._pace = pace
        self._beat = beat
        self.counts = Counts()
        self._workers: dict[str, Worker] = {}
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._ears = _Ears()
        self._generations: dict[str, int] = {}
        self.scaler: Scaler | None = None
        """What answers KEDA, while it does."""
        self.port = 0
        """The port of probes and metrics that is bound, once it listens."""

    async def run(self, stop: asyncio.Event, *, host: str, port: int, scaler_at: tuple[str, int] | None = None) -> None:
        """Keeps the Fleets until `stop` is set. `scaler_at`: where KEDA is answered; None: nowhere.

        Raises:
            StartError: a port is taken.
        """
        if scaler_at is not None:
            self.scaler = _scaler(self._namespace, self.counts, self._beat)
        shown = self.scaler.rows if self.scaler is not None else None
        server = AdminServer(health_app(self.counts, self._ears.is_ready, shown), host, port)
        await server.start()
        self.port = server.port
        try:
            if self.scaler is not None and scaler_at is not None:
                await self.scaler.start(*scaler_at)
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                hearing = tasks.create_task(self._hear())
                stopping = tasks.create_task(stop.wait())
                await asyncio.wait([hearing, stopping], return_when=asyncio.FIRST_COMPLETED)
                stopping.cancel()
                for end in self._ends.values():
                    end.set()
                self._ears.close()
                if not self._ears.is_listening:
                    hearing.cancel()
        finally:
            self._ears.close()
            if self.scaler is not None:
                await self.scaler.stop()
            await server.stop()

    async def _hear(self) -> None:
        """Watches as soon as the cluster knows what a Fleet is: kopf would never look again."""
        is_told = False
        while True:
            try:
                await self._api.resource("penstock.dev/v1alpha1", "Fleet")
            except ApiFailure as failure:
                if not is_told:
                    log.warning("no fleet can be watched yet, tried again: %s", failure.message)
                is_told = True
                await asyncio.sleep((self._pace or Pace()).first)
            else:
                break
        await self._ears.listen(self._registry(), _settings(), self._namespace)

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        loop = asyncio.get_running_loop()

        def log_in(**given: Any) -> kopf.ConnectionInfo | None:
            return kopf.login_with_service_account(**given) or kopf.login_with_kubeconfig(**given)

        async def fleet_changed(event: Any, body: Any, **_: Any) -> None:
            loop.call_soon_threadsafe(self._fleet_changed, str(event["type"] or ""), _plain(body))

        async def part_changed(event: Any, body: Any, **_: Any) -> None:
            loop.call_soon_threadsafe(self._part_changed, str(event["type"] or ""), _plain(body))

        kopf.on.login(registry=registry)(log_in)
        kopf.on.event("penstock.dev", "v1alpha1", "fleets", registry=registry)(fleet_changed)
        for group, version, plural in _WATCHED:
            chosen = {FLEET_LABEL: kopf.PRESENT}
            kopf.on.event(group, version, plural, labels=chosen, registry=registry)(part_changed)
        return registry

    def _fleet_changed(self, type_: str, fleet: Object) -> None:
        name = str(fleet["metadata"]["name"])
        if self._only not in (None, name):
            return
        is_ending = type_ == "DELETED" or fleet["metadata"].get("deletionTimestamp") is not None
        worker = self._workers.get(name)
        if is_ending:
            self._forget(name)
        elif worker is not None:
            worker.take(fleet)
        else:
            self._keep(name, fleet)

    def _keep(self, name: str, fleet: Object) -> None:
        assert self._tasks is not None
        log.info("fleet %s is kept", name)
        worker = Worker(
            self._api,
            fleet,
            architecture_of=self._architecture_of,
            counts=self.counts,
            pace=self._pace,
            scaler=self.scaler,
        )
        self._workers[name], self._ends[name] = worker, asyncio.Event()
        self._tasks.create_task(_run_until(worker, self._ends[name]))

    def _forget(self, name: str) -> None:
        if self._workers.pop(name, None) is not None:
            log.info("fleet %s is gone", name)
            self._ends.pop(name).set()
            self.counts.forget(name)
            if self.scaler is not None:
                self.scaler.forget(name)

    def _part_changed(self, type_: str, part: Object) -> None:
        """Wakes the worker when something was deleted, or changed otherwise than in its status."""
        worker = self._workers.get(labels(part).get(FLEET_LABEL, ""))
        uid, generation = str(part["metadata"].get("uid")), part["metadata"].get("generation")
        if type_ == "DELETED":
            self._generations.pop(uid, None)
        elif generation is not None:
            is_same = self._generations.get(uid) == generation
            self._generations[uid] = generation
            if is_same:
                return
        if worker is not None:
            worker.wake()


def _scaler(namespace: str, counts: Counts, beat: Beat | None) -> Scaler | None:
    """What answers KEDA; None where there is no grpc to do so."""
    try:
        from penstock.operate.io.scaling import Scaler  # noqa: PLC0415 — grpc may be absent
    except ModuleNotFoundError as error:
        if error.name != "grpc":
            raise
        log.warning("KEDA is not answered: grpcio is not installed; models that scale `via: penstock` never scale down")
        return None
    return Scaler(namespace, registry=counts.registry, beat=beat)


class _Ears:
    """kopf in a thread and an event loop of its own: when it ends, it ends every task of its loop."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._stop = threading.Event()
        self.is_listening = False

    def is_ready(self) -> bool:
        """Whether everything is watched."""
        return self._ready.is_set()

    def close(self) -> None:
        """Ends the listening, soon."""
        self._stop.set()

    async def listen(self, registry: kopf.OperatorRegistry, settings: kopf.OperatorSettings, namespace: str) -> None:
        """Watches until closed."""

        def work() -> None:
            asyncio.run(
                kopf.operator(
                    registry=registry,
                    settings=settings,
                    namespaces=[namespace],
                    standalone=True,
                    stop_flag=self._stop,
                    ready_flag=self._ready,
                )
            )

        self.is_listening = True
        await asyncio.to_thread(work)


async def _run_until(worker: Worker, end: asyncio.Event) -> None:
    """Runs a worker until its Fleet is gone."""

    class _Ended(Exception):
        pass

    async def guard() -> None:
        await end.wait()
        raise _Ended

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(worker.run())
            tasks.create_task(guard())
    except* _Ended:
        pass


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True  # it would need rights on namespaces and definitions of the whole cluster
    settings.posting.enabled = False
    settings.peering.standalone = True
    return settings


def _plain(body: Any) -> Object:
    """A kopf body as plain mappings."""
    if hasattr(body, "items"):
        return {name: _plain(value) for name, value in body.items()}
    if isinstance(body, list | tuple):
        return [_plain(item) for item in body]  # type: ignore[return-value]
    return body  # type: ignore[no-any-return]
