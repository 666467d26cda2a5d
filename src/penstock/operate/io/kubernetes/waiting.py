"""Waits until objects are ready, or says which are not and why."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from penstock.operate.apply.failures import ApiFailure
from penstock.operate.apply.objects import FLEET_LABEL, Ref
from penstock.operate.apply.port import KubeApi
from penstock.operate.apply.readiness import READ_KINDS, SOFT_KINDS, WAITED, Readiness, Surroundings, readiness
from penstock.operate.io.kubernetes.mirror import Mirror, late_classes, mirrored

__all__ = ["Waited", "WaitingRow", "late_storage_classes", "wait_until_gone", "wait_until_ready"]

_TICK_S = 1.0
"""A screen that counts seconds is drawn anew this often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingRow:
    """One object that is waited for."""

    ref: Ref
    readiness: Readiness
    since_s: float
    """How long it has been waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waited:
    """How a wait ended. `rows` are those that were waited for, ready ones too."""

    is_ready: bool
    rows: tuple[WaitingRow, ...]
    is_timeout: bool = False

    @property
    def failed(self) -> tuple[WaitingRow, ...]:
        return tuple(row for row in self.rows if row.readiness.state == "failed")

    @property
    def unready(self) -> tuple[WaitingRow, ...]:
        return tuple(row for row in self.rows if not row.readiness.is_ready)


async def wait_until_ready(
    api: KubeApi,
    refs: Sequence[Ref],
    *,
    fleet: str,
    namespace: str,
    timeout_s: float,
    show: Callable[[Sequence[WaitingRow]], None] | None = None,
    is_strict: bool = True,
) -> Waited:
    """Waits until every object is ready, one has failed, or the time is up.

    `is_strict` False does not wait for scalers: it only tells how they are.

    Raises:
        ApiFailure: the cluster cannot be watched.
    """
    refs = [ref for ref in refs if ref.kind in WAITED]
    if not refs:
        return Waited(is_ready=True, rows=())
    kinds = {ref.kind: ref.api_version for ref in refs}
    late = await late_storage_classes(api) if "PersistentVolumeClaim" in kinds else frozenset()
    loop = asyncio.get_running_loop()
    start = loop.time()
    async with mirrored(api, namespace, kinds, optional=READ_KINDS, labels={FLEET_LABEL: fleet}) as mirror:
        while True:
            elapsed = loop.time() - start
            rows = _rows(mirror, refs, late, elapsed)
            if show is not None:
                show(rows)
            waited = [r for r in rows if not r.readiness.is_ready and (is_strict or r.ref.kind not in SOFT_KINDS)]
            if not waited or any(row.readiness.state == "failed" for row in waited):
                return Waited(is_ready=not waited, rows=rows)
            if elapsed >= timeout_s:
                return Waited(is_ready=False, rows=rows, is_timeout=True)
            await mirror.wait(min(_TICK_S, max(0.0, timeout_s - elapsed)))


async def wait_until_gone(
    api: KubeApi,
    uids: Mapping[Ref, str],
    *,
    fleet: str,
    namespace: str,
    timeout_s: float,
    show: Callable[[Sequence[Ref]], None] | None = None,
) -> list[Ref]:
    """Waits until the objects with these uids are gone; returns those that are still there when the time is up."""
    kinds = {ref.kind: ref.api_version for ref in uids}
    loop = asyncio.get_running_loop()
    start = loop.time()
    async with mirrored(
        api, namespace, kinds, optional={}, labels={FLEET_LABEL: fleet}, unlabelled=_of_cluster(uids)
    ) as mirror:
        while True:
            left = [ref for ref, uid in uids.items() if (mirror.get(ref) or {}).get("metadata", {}).get("uid") == uid]
            if show is not None:
                show(left)
            elapsed = loop.time() - start
            if not left or elapsed >= timeout_s:
                return left
            await mirror.wait(min(_TICK_S, max(0.0, timeout_s - elapsed)))


async def late_storage_classes(api: KubeApi) -> frozenset[str]:
    """Storage classes that bind late; none where we may not read them."""
    try:
        return late_classes((await api.list("storage.k8s.io/v1", "StorageClass", namespace=None)).items)
    except ApiFailure:
        return frozenset()


def _of_cluster(refs: Iterable[Ref]) -> list[str]:
    return [ref.kind for ref in refs if ref.namespace is None]


def _rows(mirror: Mirror, refs: Sequence[Ref], late: frozenset[str], elapsed: float) -> tuple[WaitingRow, ...]:
    around = Surroundings(pods=mirror.all("Pod"), events=mirror.all("Event"), late_classes=late)
    return tuple(WaitingRow(ref=ref, readiness=readiness(mirror.get(ref), around), since_s=elapsed) for ref in refs)
