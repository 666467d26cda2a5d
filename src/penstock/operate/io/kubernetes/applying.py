"""Carries out an apply: wave by wave, each ready before the next, then what is pruned.

    plan = await plan_apply(api, target, options)        writes nothing
    outcome = await carry_out(api, target, plan, …)      writes, waits, prunes
    outcome = await apply_bundle(api, bundle, …)         both

Guarantees: a plan with a problem writes nothing; what is unchanged is not written; stopped at any point and started
again, it comes to the same end, as every step is decided anew from what is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol

from penstock.errors import PenstockError
from penstock.operate.apply.adjustment import SCALERS, adjusted, is_shared
from penstock.operate.apply.failures import KindAbsent, Stale
from penstock.operate.apply.objects import Object, Ref, at
from penstock.operate.apply.planning import Action, ApplyPlan, Options, Step, propagation_of
from penstock.operate.apply.port import KubeApi
from penstock.operate.io.kubernetes.gathering import AT_ONCE, Target, plan_apply
from penstock.operate.io.kubernetes.together import Together
from penstock.operate.io.kubernetes.waiting import Waited, WaitingRow, wait_until_gone, wait_until_ready
from penstock.plan.manifests import Bundle

__all__ = ["Observer", "Outcome", "Silent", "apply_bundle", "carry_out"]

_SERVED_TRIES = 50
_SERVED_PAUSE_S = 0.2
"""A definition is served a moment after it says that it is established: at most 10 s are waited for it."""
_FIRST = ("Namespace", "CustomResourceDefinition")
_FLEET_GONE_S = 60.0
_GONE_S = 300.0
"""How long a replaced object may take to go before it is made again."""


class Observer(Protocol):
    """Who is told what happens. Its methods return at once."""

    def wrote(self, step: Step) -> None:
        """A step was carried out."""

    def waits(self, rows: Sequence[WaitingRow]) -> None:
        """How far the objects of a wave are; called on every change and every second."""

    def says(self, words: str) -> None:
        """Something a person should know."""


class Silent:
    """Tells nobody."""

    def wrote(self, step: Step) -> None:
        """Nothing."""

    def waits(self, rows: Sequence[WaitingRow]) -> None:
        """Nothing."""

    def says(self, words: str) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an apply. `is_ready` is None where nothing was waited for."""

    plan: ApplyPlan
    written: tuple[Step, ...] = ()
    is_ready: bool | None = None
    unready: tuple[WaitingRow, ...] = ()
    is_timeout: bool = False
    logs: dict[str, str] = field(default_factory=dict)
    """Last lines of what failed, by pod."""


async def apply_bundle(
    api: KubeApi,
    bundle: Bundle,
    *,
    fleet: str,
    namespace: str,
    options: Options | None = None,
    observer: Observer | None = None,
    wait_s: float | None = None,
) -> Outcome:
    """Makes the cluster as the bundle says. `wait_s` None waits for nothing: what comes next is the caller's to see.

    Raises:
        ApiFailure: the cluster cannot be asked, or refuses a write.
    """
    target = Target(fleet=fleet, namespace=namespace, bundle=bundle)
    plan = await plan_apply(api, target, options or Options())
    if plan.problems:
        return Outcome(plan=plan)
    return await carry_out(api, target, plan, options=options, observer=observer, wait_s=wait_s)


async def carry_out(
    api: KubeApi,
    target: Target,
    plan: ApplyPlan,
    *,
    options: Options | None = None,
    observer: Observer | None = None,
    wait_s: float | None = None,
) -> Outcome:
    """Carries out a plan without problems.

    `wait_s`: the longest wait, for all waves together; None waits for nothing but what the next write needs.

    Raises:
        ApiFailure: the cluster cannot be asked, or refuses a write.
    """
    assert not plan.problems
    seen = observer or Silent()
    loop = asyncio.get_running_loop()
    deadline = None if wait_s is None else loop.time() + wait_s
    written: list[Step] = []
    unready: list[WaitingRow] = []
    applied = [step for step in plan.steps if step.wave >= 0]
    gone = [step for step in plan.steps if step.wave < 0]
    # A scaler that stays until the end would write its own number over the file's.
    written += await _prune(api, target, [step for step in gone if step.ref.kind in SCALERS], seen)
    for _, wave in groupby(sorted(applied, key=lambda step: step.wave), key=lambda step: step.wave):
        steps = list(wave)
        written += await _write(api, target, steps, options or Options(), seen)
        needs = _needed_next(steps) if deadline is None else _waited(steps)
        waited = await _wait(api, target, needs, seen, deadline=deadline)
        if not waited.is_ready:
            logs = await _logs(api, target, waited)
            return Outcome(
                plan=plan,
                written=tuple(written),
                is_ready=False,
                unready=waited.unready,
                is_timeout=waited.is_timeout,
                logs=logs,
            )
        unready += waited.unready
    written += await _prune(api, target, [step for step in gone if step.ref.kind not in SCALERS], seen)
    is_ready = None if deadline is None else True
    return Outcome(plan=plan, written=tuple(written), is_ready=is_ready, unready=tuple(unready))


async def _write(
    api: KubeApi, target: Target, steps: Sequence[Step], options: Options, observer: Observer
) -> list[Step]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(step: Step) -> None:
        async with gate:
            if step.action is Action.REPLACE:
                await _remove_for_replacement(api, target, step)
            await _put(api, target, step, options)
            observer.wrote(step)

    todo = [step for step in steps if step.action in (Action.CREATE, Action.CHANGE, Action.REPLACE)]
    async with Together() as group:
        for step in todo:
            group.create_task(one(step))
    return todo


async def _put(api: KubeApi, target: Target, step: Step, options: Options) -> None:
    """Applies what the step sends; a kind that was just defined is waited for."""
    assert step.wanted is not None
    for tried in range(_SERVED_TRIES):
        try:
            await _apply(api, target, step, options)
        except KindAbsent:
            if tried == _SERVED_TRIES - 1:
                raise
            await asyncio.sleep(_SERVED_PAUSE_S)
        else:
            return


async def _apply(api: KubeApi, target: Target, step: Step, options: Options) -> None:
    """Of a shared object the users are read again before the write, which holds for the version that was read."""
    assert step.wanted is not None
    if not is_shared(step.ref):
        await api.apply(step.wanted, is_forced=options.is_forced or step.takes_replicas)
        return
    for _ in range(5):
        live = await api.get(step.ref)
        sent = adjusted(step.wanted, live, target.user) if step.action is not Action.RELEASE else step.wanted
        try:
            await api.apply(_of_version(sent, live), is_forced=options.is_forced)
        except Stale:
            continue
        return
    await api.apply(step.wanted, is_forced=options.is_forced)


def _of_version(wanted: Object, live: Object | None) -> Object:
    version = at(live, "metadata", "resourceVersion")
    if version is None:
        return wanted
    return {**wanted, "metadata": {**wanted["metadata"], "resourceVersion": version}}


async def _remove_for_replacement(api: KubeApi, target: Target, step: Step) -> None:
    await api.delete(step.ref, uid=step.uid)
    if not await _gone(api, target, step, timeout_s=_GONE_S):
        message = f"{step.ref} was deleted to be made again, and is still there after {_GONE_S:.0f} s"
        hint = f"see its finalizers: `kubectl get {step.ref.kind.lower()} {step.ref.name} -o yaml`; then apply again"
        raise PenstockError(message, hint=hint)


async def _prune(api: KubeApi, target: Target, steps: Iterable[Step], observer: Observer) -> list[Step]:
    done = []
    for step in steps:
        match step.action:
            case Action.PRUNE:
                await api.delete(step.ref, uid=step.uid, propagation=propagation_of(step.ref))
                # A Fleet's controller, which goes next, may have to let go of it; KEDA of what it made for a scaler.
                if step.ref.kind == "Fleet" or step.ref.kind in SCALERS:
                    await _gone(api, target, step, timeout_s=_FLEET_GONE_S)
            case Action.RELEASE:
                assert step.wanted is not None
                await api.apply(_of_version(step.wanted, step.live))
            case _:
                continue
        observer.wrote(step)
        done.append(step)
    return done


async def _gone(api: KubeApi, target: Target, step: Step, *, timeout_s: float) -> bool:
    uids = {step.ref: step.uid}
    return not await wait_until_gone(api, uids, fleet=target.fleet, namespace=target.namespace, timeout_s=timeout_s)


def _waited(steps: Sequence[Step]) -> list[Ref]:
    """Namespaces and definitions that stay as they are are not looked at: many may not list them."""
    return [step.ref for step in steps if step.ref.kind not in _FIRST or step.action is not Action.UNCHANGED]


def _needed_next(steps: Sequence[Step]) -> list[Ref]:
    """What the next wave cannot be written without, even where nobody waits for readiness."""
    return [step.ref for step in steps if step.ref.kind in _FIRST and step.action is not Action.UNCHANGED]


async def _wait(
    api: KubeApi, target: Target, refs: Sequence[Ref], observer: Observer, *, deadline: float | None
) -> Waited:
    left_s = _SERVED_TRIES * _SERVED_PAUSE_S
    if deadline is not None:
        left_s = max(0.0, deadline - asyncio.get_running_loop().time())
    return await wait_until_ready(
        api,
        refs,
        fleet=target.fleet,
        namespace=target.namespace,
        timeout_s=left_s,
        show=observer.waits,
        is_strict=False,
    )


async def _logs(api: KubeApi, target: Target, waited: Waited) -> dict[str, str]:
    """Last lines of the newest pod of each Job that failed."""
    found: dict[str, str] = {}
    for row in waited.failed:
        if row.ref.kind != "Job":
            continue
        chosen = {"batch.kubernetes.io/job-name": row.ref.name}
        pods = (await api.list("v1", "Pod", namespace=target.namespace, labels=chosen)).items
        if pods:
            pod = max(pods, key=lambda entry: str(at(entry, "metadata", "creationTimestamp", default="")))
            container = str(at(pod, "spec", "containers", 0, "name", default=""))
            name = pod["metadata"]["name"]
            found[name] = await api.log_tail(target.namespace, name, container)
    return found
