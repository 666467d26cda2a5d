"""What `wait` does: which objects count, and how long they are looked at."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.cli.kube_screen import ApplyScreen
from penstock.cli.kube_target import Place, Reached, reached
from penstock.operate.apply.objects import Ref, ref_of
from penstock.operate.apply.readiness import Readiness
from penstock.operate.io.kubernetes.gathering import observed_objects
from penstock.operate.io.kubernetes.waiting import Waited, WaitingRow, wait_until_gone, wait_until_ready
from penstock.plan.manifests import Wave

__all__ = ["waited_for"]

_WORKLOADS = ("Deployment", "StatefulSet", "LeaderWorkerSet", "Fleet")
_PAST = ("Namespace", "CustomResourceDefinition")
"""There since the apply; many may not list them."""


async def waited_for(place: Place, what: str, timeout_s: float) -> Waited:
    """Waits for `ready`, `rolled-out` or `deleted`.

    Raises:
        ApiFailure: the cluster cannot be watched.
    """
    async with reached(place) as here:
        if what == "deleted":
            return await _gone(here, timeout_s)
        refs = [ref_of(m.object) for m in here.target.bundle.manifests if m.wave is not Wave.SCALE]
        kinds = _WORKLOADS if what == "rolled-out" else ()
        chosen = [ref for ref in refs if ref.kind not in _PAST and (not kinds or ref.kind in kinds)]
        with ApplyScreen().live() as screen:
            return await wait_until_ready(
                here.api,
                chosen,
                fleet=here.target.fleet,
                namespace=here.target.namespace,
                timeout_s=timeout_s,
                show=screen.waits,
                is_strict=False,
            )


async def _gone(here: Reached, timeout_s: float) -> Waited:
    """Until nothing is left of it but its volumes, which a delete keeps."""
    observed, _ = await observed_objects(here.api, here.target.fleet, here.target.namespace)
    kept = ("PersistentVolumeClaim",)
    uids = {
        ref_of(obj): str(obj["metadata"]["uid"])
        for obj in observed
        if obj["kind"] not in kept and obj["metadata"].get("namespace")
    }
    left = await wait_until_gone(
        here.api, uids, fleet=here.target.fleet, namespace=here.target.namespace, timeout_s=timeout_s
    )
    return Waited(is_ready=not left, rows=_rows(left), is_timeout=bool(left))


def _rows(left: Sequence[Ref]) -> tuple[WaitingRow, ...]:
    still = Readiness(state="waiting", reason="is still there")
    return tuple(WaitingRow(ref=ref, readiness=still, since_s=0.0) for ref in left)
