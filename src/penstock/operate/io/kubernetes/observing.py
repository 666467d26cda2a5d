"""Reads how a fleet in a cluster is, and keeps looking: what `status` shows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from penstock.operate.apply.failures import ApiFailure, Denied, KindAbsent
from penstock.operate.apply.fleet_status import FleetStatus, Seen, fleet_status
from penstock.operate.apply.objects import FLEET_LABEL, Object, Ref, at
from penstock.operate.apply.port import KubeApi
from penstock.operate.apply.readiness import READ_KINDS, WAITED
from penstock.operate.io.kubernetes.mirror import mirrored
from penstock.operate.io.kubernetes.waiting import late_storage_classes

__all__ = ["fleet_text", "read_status", "watch_status"]

_READ = {kind: version for kind, version in WAITED.items() if kind not in ("Namespace", "CustomResourceDefinition")}
_CALM_S = 0.2
"""Changes that come together are shown together."""


async def read_status(api: KubeApi, fleet: str, namespace: str, names: Mapping[str, str] | None = None) -> FleetStatus:
    """How the fleet is now.

    Raises:
        ApiFailure: Deployments of the namespace cannot be read.
    """
    objects: dict[str, list[Object]] = {}
    for kind, api_version in {**_READ, **READ_KINDS}.items():
        chosen = {} if kind == "Event" else {FLEET_LABEL: fleet}
        try:
            objects[kind] = list((await api.list(api_version, kind, namespace=namespace, labels=chosen)).items)
        except KindAbsent:
            objects[kind] = []
        except Denied:
            if kind == "Deployment":
                raise
            objects[kind] = []
    return _status(fleet, namespace, objects, await late_storage_classes(api), names)


async def watch_status(
    api: KubeApi, fleet: str, namespace: str, names: Mapping[str, str] | None = None
) -> AsyncIterator[FleetStatus]:
    """How the fleet is, now and after each change, for ever."""
    needed = {"Deployment": _READ["Deployment"]}
    others = {kind: version for kind, version in {**_READ, **READ_KINDS}.items() if kind not in needed}
    late = await late_storage_classes(api)
    async with mirrored(api, namespace, needed, optional=others, labels={FLEET_LABEL: fleet}) as mirror:
        while True:
            objects = {kind: mirror.all(kind) for kind in {**needed, **others}}
            yield _status(fleet, namespace, objects, late, names)
            while not await mirror.wait(60.0):
                pass
            await asyncio.sleep(_CALM_S)


async def fleet_text(api: KubeApi, namespace: str, config_map: str) -> str | None:
    """The fleet file as the cluster holds it; None where it does not, or where we may not read it."""
    ref = Ref(api_version="v1", kind="ConfigMap", name=config_map, namespace=namespace)
    try:
        found = await api.get(ref)
    except ApiFailure:
        return None
    text: str | None = at(found, "data", "fleet.yaml")
    return text


def _status(
    fleet: str,
    namespace: str,
    objects: Mapping[str, list[Object]],
    late: frozenset[str],
    names: Mapping[str, str] | None,
) -> FleetStatus:
    kept = {kind: found for kind, found in objects.items() if kind not in READ_KINDS}
    seen = Seen(objects=kept, pods=objects["Pod"], events=objects["Event"], late_classes=late)
    return fleet_status(fleet, namespace, seen, names)
