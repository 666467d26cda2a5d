"""A controller beside a fake cluster that moves, for the tests of this folder."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from operate.controller.fleets import TEXT
from operate.io.kubernetes.clusters import FAST, T0, machines, moving
from penstock.facts import find_model
from penstock.operate.io.controller import Controller
from penstock.operate.io.controller.worker import Pace
from penstock.operate.io.kubernetes.client import open_client
from penstock.operate.io.scaling import Beat
from penstock.operate.testing import Cluster
from penstock.operate.testing.io.server import ApiServer
from penstock.spec.crd import fleet_crd, fleet_resource
from penstock.spec.loader import load_fleet

Json = dict[str, Any]
QUICK = Pace(calm=0.01, resync=30.0, wait=30.0, first=0.05, longest=0.2)


def cluster_with_fleet(text: str = TEXT) -> Cluster:
    """Nodes, the namespace, the definition, and a Fleet."""
    cluster = Cluster(seed=1)
    machines(cluster)
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ai"}})
    cluster.create(fleet_crd())
    cluster.create(fleet_resource(load_fleet(text, "f"), "ai"))
    return cluster


def fleet_in(cluster: Cluster) -> Json:
    """The Fleet as it is now."""
    found = cluster.get("penstock.dev/v1alpha1", "Fleet", "f", "ai")
    assert found is not None
    return found


def condition(cluster: Cluster, name: str) -> Json:
    """A condition of its status; empty while there is none."""
    rows = fleet_in(cluster).get("status", {}).get("conditions", [])
    return next((row for row in rows if row["type"] == name), {})


async def until(cluster: Cluster, is_so: Callable[[], bool]) -> None:
    """Waits for changes of the cluster until something is so; the test's own time limit bounds it."""
    changed = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell() -> None:
        loop.call_soon_threadsafe(changed.set)

    cluster.on_change.append(tell)
    try:
        while not is_so():
            changed.clear()
            await changed.wait()
    finally:
        cluster.on_change.remove(tell)


@contextlib.asynccontextmanager
async def controlled(
    cluster: Cluster, *, fleet: str | None = None, beat: Beat | None = None
) -> AsyncIterator[tuple[ApiServer, Controller]]:
    """The controller at work, answering KEDA where there is a `beat`, and the cluster's own; both end in good order."""
    with TemporaryDirectory() as folder:
        async with ApiServer(cluster, clock=lambda: T0) as server:
            path = server.kubeconfig(Path(folder) / "config", "ai")
            with mock.patch.dict(os.environ, KUBECONFIG=str(path)):  # where kopf looks
                async with open_client(kubeconfig=str(path), patience=FAST) as api:
                    stop = asyncio.Event()
                    scaler_at = None if beat is None else ("127.0.0.1", 0)
                    controller = Controller(
                        api, namespace="ai", fleet=fleet, architecture_of=find_model, pace=QUICK, beat=beat
                    )
                    async with asyncio.TaskGroup() as tasks, moving(cluster):
                        task = tasks.create_task(controller.run(stop, host="127.0.0.1", port=0, scaler_at=scaler_at))
                        yield server, controller
                        stop.set()
                        await task
