"""The local platform: the supervisor's decisions carried out with processes of this machine.

Guarantees that `run` returns only when every replica is gone, and that leaving it in any other way (an error, a
cancellation) ends every process too. Pools go to a `PoolSink`, as the gateway's endpoint table is.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol, assert_never

import aiohttp

from penstock.operate.devices import Devices
from penstock.operate.events import (
    Action,
    DesiredChanged,
    DrainReplica,
    Event,
    KillReplica,
    ModelTarget,
    PublishPool,
    RemovePool,
    ReplicaChanged,
    ReplicaDrained,
    StartReplica,
    StopReplica,
    StopRequested,
    TimePassed,
    Wait,
)
from penstock.operate.io.machine import find_gpus
from penstock.operate.io.processes import LocalProcesses
from penstock.operate.io.state_folder import StateFolder
from penstock.operate.replicas import Phase
from penstock.operate.supervisor import Supervisor
from penstock.serve.routing import Endpoint, EndpointAddress

__all__ = ["LocalPlatform", "PoolSink"]

_DRAIN_PAUSE_S = 0.05
"""In-flight counts belong to the hot path, which wakes nobody; a draining replica is looked at this often."""


class PoolSink(Protocol):
    """Where endpoints are made known: the gateway's endpoint table."""

    def set_pool(self, model: str, addresses: Iterable[EndpointAddress]) -> None:
        """Replaces the pool of `model`."""

    def remove_pool(self, model: str) -> None:
        """Forgets a model."""

    def get(self, endpoint_id: str) -> Endpoint | None:
        """The endpoint of that name, if it is in a pool."""


class LocalPlatform:
    """Runs a fleet's engines on this machine. Belongs to one event loop."""

    def __init__(
        self,
        *,
        sink: PoolSink,
        state: StateFolder,
        working_folder: Path,
        on_change: Callable[[ReplicaChanged], None],
        on_update: Callable[[Supervisor], None],
    ) -> None:
        self.supervisor = Supervisor()
        self._sink = sink
        self._state = state
        self._working_folder = working_folder
        self._on_change = on_change
        self._on_update = on_update
        self._events: deque[Event] = deque()
        self._is_handling = False
        self._timer: asyncio.TimerHandle | None = None
        self._ended = asyncio.Event()
        self._is_stopping = False
        self._tasks: asyncio.TaskGroup | None = None
        self._processes: LocalProcesses | None = None
        self._endpoints: dict[str, Endpoint] = {}
        """The endpoint of each replica that is ready or drains: a pool may be gone before its requests are."""

    async def run(self, models: Iterable[ModelTarget]) -> None:
        """Runs these models until `stop` was called and nothing is left."""
        async with aiohttp.ClientSession(trust_env=False) as session, asyncio.TaskGroup() as self._tasks:
            self._processes = LocalProcesses(
                tasks=self._tasks,
                session=session,
                state=self._state,
                working_folder=self._working_folder,
                devices=Devices(find_gpus()),
                post=self._post,
            )
            try:
                self.want(models)
                await self._ended.wait()
            finally:
                self._set_timer(None)

    def want(self, models: Iterable[ModelTarget]) -> None:
        """Takes what the fleet file wants now; ignored once it is stopping."""
        if not self._is_stopping:
            self._post(DesiredChanged(models=tuple(models)))

    def stop(self, *, is_hurried: bool = False) -> None:
        """Drains and stops everything, or kills it at once."""
        self._is_stopping = True
        self._post(StopRequested(is_hurried=is_hurried))

    def _post(self, event: Event) -> None:
        """Handles an event, and those that handling it causes, in order."""
        self._events.append(event)
        if self._is_handling:
            return
        self._is_handling = True
        try:
            while self._events:
                self._handle(self._events.popleft())
        finally:
            self._is_handling = False
        self._on_update(self.supervisor)
        if self._is_stopping and self.supervisor.is_idle:
            self._ended.set()

    def _handle(self, event: Event) -> None:
        actions = self.supervisor.handle(event, time.monotonic())
        self._set_timer(None)
        for action in actions:
            self._do(action)

    def _do(self, action: Action) -> None:
        assert self._processes is not None
        assert self._tasks is not None
        match action:
            case StartReplica():
                self._processes.start(action)
            case DrainReplica(id=replica_id):
                self._tasks.create_task(self._drain(replica_id), name=f"drain {replica_id}")
            case StopReplica(id=replica_id):
                self._processes.stop(replica_id)
            case KillReplica(id=replica_id):
                self._processes.kill(replica_id)
            case PublishPool(model=model, addresses=addresses):
                self._sink.set_pool(model, addresses)
                self._keep_endpoints(addresses)
            case RemovePool(model=model):
                self._sink.remove_pool(model)
            case ReplicaChanged():
                self._on_change(action)
            case Wait(until=until):
                self._set_timer(until)
            case _:
                assert_never(action)

    def _set_timer(self, until: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if until is not None:
            pause = max(0.0, until - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(pause, self._post, TimePassed())

    def _keep_endpoints(self, addresses: Iterable[EndpointAddress]) -> None:
        for address in addresses:
            replica, endpoint = self.supervisor.replicas.get(address.id), self._sink.get(address.id)
            if replica is not None and replica.phase is Phase.READY and endpoint is not None:
                self._endpoints[address.id] = endpoint

    async def _drain(self, replica_id: str) -> None:
        """Says when nothing is in flight on a replica; gives up when it is not draining any more."""
        replica, endpoint = self.supervisor.replicas.get(replica_id), self._endpoints.pop(replica_id, None)
        while replica is not None and replica.phase is Phase.DRAINING:
            if endpoint is None or endpoint.in_flight == 0:
                self._post(ReplicaDrained(id=replica_id))
                return
            await asyncio.sleep(_DRAIN_PAUSE_S)
