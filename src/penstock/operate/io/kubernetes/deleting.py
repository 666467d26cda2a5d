"""Deletes a fleet: everything that we applied for it, in reverse order, and waits until it is gone.

Guarantees: only what carries the fleet's label and our field manager goes; volumes stay unless asked for; what another
fleet uses stays; an object that somebody made anew in between is not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from penstock.operate.apply.objects import FLEET_LABEL, Object, Ref, at
from penstock.operate.apply.planning import Action, Options, Step, leftovers, propagation_of
from penstock.operate.apply.port import KubeApi
from penstock.operate.io.kubernetes.gathering import observed_objects
from penstock.operate.io.kubernetes.waiting import wait_until_gone

__all__ = ["Left", "delete_steps", "plan_delete"]

_WORKING = {
    *("PrometheusRule", "ServiceMonitor", "PodMonitor", "Ingress", "HTTPRoute", "VirtualService"),
    *("ScaledObject", "HorizontalPodAutoscaler", "Deployment", "LeaderWorkerSet", "StatefulSet", "Job"),
}
"""What runs, what leads to it and what scales it: gone before the rest goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """An object that is still there, and why, as far as it says."""

    ref: Ref
    reason: str


async def plan_delete(
    api: KubeApi, fleet: str, namespace: str, *, with_volumes: bool
) -> tuple[tuple[Step, ...], tuple[str, ...]]:
    """What would go, in order, and what would be kept; and notes on what could not be read.

    Raises:
        ApiFailure: the cluster cannot be asked, or nothing is found where we may not even list Deployments.
    """
    observed, notes = await observed_objects(api, fleet, namespace)
    if not observed and notes:  # to see nothing is not to know that nothing is there
        await api.list("apps/v1", "Deployment", namespace=namespace, labels={FLEET_LABEL: fleet})
    options = Options(prunes_volumes=with_volumes)
    user = f"{namespace}/{fleet}"
    steps = leftovers(observed, (), fleet=fleet, user=user, options=options)
    return tuple(steps), tuple(notes)


async def delete_steps(
    api: KubeApi,
    steps: Sequence[Step],
    *,
    fleet: str,
    namespace: str,
    timeout_s: float | None,
    done: Callable[[Step], None] = lambda _: None,
    show: Callable[[Sequence[Ref]], None] | None = None,
) -> list[Left]:
    """Deletes, and waits at most `timeout_s` for each part (None: not at all) until all is gone; what is left.

    Raises:
        ApiFailure: the cluster refuses.
    """
    left: list[Left] = []
    for part in _parts(steps):
        going = await _delete(api, part, done)
        if timeout_s is not None and going:
            still = await wait_until_gone(api, going, fleet=fleet, namespace=namespace, timeout_s=timeout_s, show=show)
            left += [Left(ref=ref, reason=_reason(await api.get(ref))) for ref in still]
    return left


def _parts(steps: Sequence[Step]) -> list[list[Step]]:
    """The Fleet before its controller, which must let go of it; then what runs; then what that needs while it drains:
    policies, accounts, settings."""
    fleets = [step for step in steps if step.ref.kind == "Fleet"]
    working = [step for step in steps if step.ref.kind in _WORKING]
    return [fleets, working, [step for step in steps if step not in fleets and step not in working]]


async def _delete(api: KubeApi, steps: Sequence[Step], done: Callable[[Step], None]) -> dict[Ref, str]:
    """Deletes in order; what was there, with its uid."""
    going: dict[Ref, str] = {}
    for step in steps:
        match step.action:
            case Action.PRUNE:
                if await api.delete(step.ref, uid=step.uid, propagation=propagation_of(step.ref)):
                    going[step.ref] = step.uid
            case Action.RELEASE:
                assert step.wanted is not None
                await api.apply(step.wanted)
            case _:
                continue
        done(step)
    return going


def _reason(obj: Object | None) -> str:
    finalizers = at(obj, "metadata", "finalizers", default=[])
    if not finalizers:
        return "is still there"
    names = ", ".join(finalizers)
    if "kubernetes.io/pvc-protection" in finalizers:
        return f"a pod still uses it ({names})"
    if "foregroundDeletion" in finalizers:
        return "waits for what it owns to end"
    return f"waits for the controller of its finalizer: {names}. Is that controller running?"
