"""Keeps a copy of some kinds of a namespace, fresh by watches, and wakes whoever waits for a change.

Guarantees: nothing is polled but kinds that the cluster does not know yet; a watch that breaks goes on, one whose place
is forgotten lists again; what we may not read is left out, if it is only for reasons. One `Mirror` has one owner.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Literal

from penstock.operate.apply.failures import ApiFailure, Denied, KindAbsent, Stale
from penstock.operate.apply.objects import Object, Ref, at, ref_of
from penstock.operate.apply.port import Event, KubeApi
from penstock.operate.io.kubernetes.together import Together

__all__ = ["Mirror", "mirrored"]

_ABSENT_S = 30.0
"""Seconds until a kind that the cluster does not know is looked for again: its definition may come later, and watching
definitions takes a right on the whole cluster."""
_EVENTS_MAX = 5000
"""Events of a namespace that are kept; the oldest go first."""


class Mirror:
    """Objects by reference. Changed only by its own watches."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[Ref, Object]] = {}
        self._changed = asyncio.Event()
        self._failure: ApiFailure | None = None

    def get(self, ref: Ref) -> Object | None:
        return self._objects.get(ref.kind, {}).get(ref)

    def all(self, kind: str) -> list[Object]:
        return list(self._objects.get(kind, {}).values())

    async def wait(self, timeout_s: float) -> bool:
        """Until something changes; False where nothing does in time.

        Raises:
            ApiFailure: a watch that is needed has ended.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        if self._failure is not None:
            raise self._failure
        is_changed = self._changed.is_set()
        self._changed.clear()
        return is_changed

    def replace(self, kind: str, items: Iterable[Object]) -> None:
        self._objects[kind] = {ref_of(item): item for item in items}
        self._changed.set()

    def take(self, event: Event) -> None:
        known = self._objects.setdefault(event.object["kind"], {})
        ref = ref_of(event.object)
        match event.type:
            case "DELETED":
                known.pop(ref, None)
            case _:
                known.pop(ref, None)
                known[ref] = event.object
                if ref.kind == "Event" and len(known) > _EVENTS_MAX:
                    del known[next(iter(known))]
        self._changed.set()

    def fail(self, failure: ApiFailure) -> None:
        self._failure = failure
        self._changed.set()


@contextlib.asynccontextmanager
async def mirrored(
    api: KubeApi,
    namespace: str,
    kinds: Mapping[str, str],
    *,
    optional: Mapping[str, str],
    labels: Mapping[str, str],
    unlabelled: Iterable[str] = ("Event", "Namespace", "CustomResourceDefinition"),
    absent_s: float = _ABSENT_S,
) -> AsyncIterator[Mirror]:
    """A mirror of kinds (kind to apiVersion) while the block runs. It is filled when the block begins.

    Raises:
        ApiFailure: a kind of `kinds` cannot be read.
    """
    mirror = Mirror()
    bare = set(unlabelled)
    starts: list[asyncio.Event] = []
    async with Together() as group:
        tasks = []
        for kind, api_version in {**optional, **kinds}.items():
            starts.append(asyncio.Event())
            need: Literal["needed", "optional"] = "needed" if kind in kinds else "optional"
            chosen = {} if kind in bare else labels
            keep = partial(_keep, api, mirror, (api_version, kind), namespace, chosen, need, starts[-1])
            work = (
                keep() if need == "needed" else _keep_once_there(api, (api_version, kind), keep, starts[-1], absent_s)
            )
            tasks.append(group.create_task(work))
        try:
            for start in starts:
                await start.wait()
            await mirror.wait(0)
            yield mirror
        finally:
            for task in tasks:
                task.cancel()


async def _keep_once_there(
    api: KubeApi, kind: tuple[str, str], keep: Callable[[], Awaitable[None]], started: asyncio.Event, absent_s: float
) -> None:
    """Begins to `keep` as soon as the cluster knows the kind; until then it has no objects, and nobody waits for it."""
    while True:
        try:
            await api.resource(*kind)
        except KindAbsent:
            started.set()
            await asyncio.sleep(absent_s)
        except ApiFailure:
            break  # whoever keeps it says what it is
        else:
            break
    await keep()


async def _keep(  # noqa: PLR0917 — one watch, and all that it is about
    api: KubeApi,
    mirror: Mirror,
    kind: tuple[str, str],
    namespace: str,
    labels: Mapping[str, str],
    need: Literal["needed", "optional"],
    started: asyncio.Event,
) -> None:
    """Keeps one kind fresh until cancelled."""
    try:
        where = namespace if (await api.resource(*kind)).is_namespaced else None
        while True:
            listing = await api.list(*kind, namespace=where, labels=labels)
            mirror.replace(kind[1], listing.items)
            started.set()
            changes = api.watch(*kind, namespace=where, since=listing.resource_version, labels=labels)
            with contextlib.suppress(Stale):
                async with contextlib.aclosing(changes) as events:  # type: ignore[type-var]
                    async for event in events:
                        mirror.take(event)
    except (Denied, KindAbsent) as failure:
        if need == "needed":
            mirror.fail(failure)
    except ApiFailure as failure:
        mirror.fail(failure)
    finally:
        started.set()


def late_classes(classes: Iterable[Object]) -> frozenset[str]:
    """Storage classes that bind a claim when the first pod uses it."""
    return frozenset(
        str(at(entry, "metadata", "name"))
        for entry in classes
        if at(entry, "volumeBindingMode") == "WaitForFirstConsumer"
    )
