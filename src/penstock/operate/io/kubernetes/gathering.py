"""Finds out what an apply would do: reads what is there, and asks the API server for a dry run of each object.

Guarantees: writes nothing. Leaves the decision to `apply/planning`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from penstock.operate.apply.adjustment import adjusted, is_orphaned, is_shared, scaled_by, yielded
from penstock.operate.apply.failures import ApiFailure, Denied, FieldConflict, Invalid, KindAbsent
from penstock.operate.apply.objects import FLEET_LABEL, Object, Ref, ref_of
from penstock.operate.apply.planning import Action, ApplyPlan, Options, Step, decide, leftovers
from penstock.operate.apply.port import Applied, KubeApi
from penstock.operate.io.kubernetes.together import Together
from penstock.plan.manifests import Bundle

__all__ = ["AT_ONCE", "Target", "observed_objects", "plan_apply"]

AT_ONCE = 8
"""Requests in flight at once: more, and API priority and fairness begins to queue a single user's."""

_KNOWN: tuple[tuple[str, str], ...] = (
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("batch/v1", "Job"),
    ("external-secrets.io/v1", "ExternalSecret"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ("keda.sh/v1alpha1", "ScaledObject"),
    ("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet"),
    ("monitoring.coreos.com/v1", "PodMonitor"),
    ("monitoring.coreos.com/v1", "PrometheusRule"),
    ("monitoring.coreos.com/v1", "ServiceMonitor"),
    ("networking.istio.io/v1", "VirtualService"),
    ("networking.k8s.io/v1", "Ingress"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("penstock.dev/v1alpha1", "Fleet"),
    ("policy/v1", "PodDisruptionBudget"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("resource.k8s.io/v1", "ResourceClaimTemplate"),
    ("scheduling.k8s.io/v1", "PriorityClass"),
    ("v1", "ConfigMap"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "Secret"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
)
"""What a fleet may have been made of, whatever its file says now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A fleet in a cluster."""

    fleet: str
    namespace: str
    bundle: Bundle
    passes_controller: bool = False
    """The cluster's controller makes the rest from the Fleet object: what it made is not ours to prune."""
    spared: tuple[Ref, ...] = ()
    """What is the fleet's too and somebody else applies: never pruned."""

    @property
    def user(self) -> str:
        """The fleet as shared objects name their users."""
        return f"{self.namespace}/{self.fleet}"


async def plan_apply(api: KubeApi, target: Target, options: Options) -> ApplyPlan:
    """Every step of an apply.

    Raises:
        ApiFailure: the cluster cannot be asked, a kind is absent, or we may not read what is needed.
    """
    wanted = [(manifest.object, int(manifest.wave)) for manifest in target.bundle.manifests]
    coming = _Coming.of([obj for obj, _ in wanted])
    missing, not_ours = await _missing_namespaces(api, coming)
    wanted = [
        (obj, wave) for obj, wave in wanted if obj["kind"] != "Namespace" or obj["metadata"]["name"] not in not_ours
    ]
    refs = [ref_of(obj) for obj, _ in wanted]
    observed, notes = await observed_objects(api, target.fleet, target.namespace, refs)
    notes += [f"namespace {name} is taken as it is: we may not read it" for name in sorted(not_ours)]
    notes += [f"namespace {name} is not there: it is made" for name in sorted(missing)]
    known = {ref_of(obj): obj for obj in observed}
    going: list[Step] = []
    if not target.passes_controller:
        going = leftovers(observed, (*refs, *target.spared), fleet=target.fleet, user=target.user, options=options)
    pruned = {step.ref for step in going if step.action is Action.PRUNE}
    scalers = scaled_by([*(obj for obj, _ in wanted), *(obj for obj in observed if ref_of(obj) not in pruned)])
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(obj: Object, wave: int) -> Step:
        async with gate:
            return await _step(api, obj, wave, target, options, _Known(known, coming, missing, scalers))

    async with Together() as group:
        tasks = [group.create_task(one(obj, wave)) for obj, wave in wanted]
    return ApplyPlan(steps=(*(task.result() for task in tasks), *going), notes=(*target.bundle.notes, *notes))


@dataclass(frozen=True, slots=True)
class _Coming:
    """Namespaces and kinds that the bundle itself brings."""

    namespaces: frozenset[str]
    kinds: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, objects: Iterable[Object]) -> _Coming:
        objects = list(objects)
        namespaces = {obj["metadata"]["name"] for obj in objects if obj["kind"] == "Namespace"}
        crds = [obj["spec"] for obj in objects if obj["kind"] == "CustomResourceDefinition"]
        kinds = {(crd["group"], crd["names"]["kind"]) for crd in crds}
        return cls(frozenset(namespaces), frozenset(kinds))


@dataclass(frozen=True, slots=True)
class _Known:
    observed: Mapping[Ref, Object]
    coming: _Coming
    missing_namespaces: frozenset[str]
    scalers: Mapping[tuple[str, str, str | None], str]


async def _step(  # noqa: PLR0917 — all of it is needed
    api: KubeApi, obj: Object, wave: int, target: Target, options: Options, known: _Known
) -> Step:
    ref = ref_of(obj)

    def decided(sent: Object, live: Object | None, outcome: Applied | ApiFailure | None, reason: str = "") -> Step:
        return decide(sent, live, outcome, wave=wave, fleet=target.fleet, options=options, reason=reason)

    live = known.observed.get(ref)
    try:
        if ref.namespace in known.missing_namespaces:
            await api.resource(ref.api_version, ref.kind)
            return decided(obj, None, None)
        if live is None:  # without our label, if it is there at all
            live = await api.get(ref)
    except KindAbsent as absent:
        if ref.group_kind not in known.coming.kinds:
            return decided(obj, None, absent)
        sent = adjusted(obj, None, target.user)
        return decided(sent, None, None)
    sent, reason = adjusted(obj, live, target.user), ""
    try:
        outcome: Applied | ApiFailure = await api.apply(sent, is_dry_run=True, is_forced=options.is_forced)
    except FieldConflict as conflict:
        if is_orphaned(sent, conflict, known.scalers):
            outcome = await _dry_run(api, sent, replace(options, is_forced=True))
            return replace(decided(sent, live, outcome, "no scaler sets its replicas any more"), takes_replicas=True)
        way_out = yielded(sent, conflict, known.scalers)
        if way_out is None:
            return decided(sent, live, conflict)
        sent, reason = way_out
        outcome = await _dry_run(api, sent, options)
    except Invalid as refusal:
        outcome = refusal
    return decided(sent, live, outcome, reason)


async def _dry_run(api: KubeApi, sent: Object, options: Options) -> Applied | ApiFailure:
    try:
        return await api.apply(sent, is_dry_run=True, is_forced=options.is_forced)
    except (FieldConflict, Invalid) as failure:
        return failure


async def _missing_namespaces(api: KubeApi, coming: _Coming) -> tuple[frozenset[str], frozenset[str]]:
    """Namespaces that this apply makes, in which nothing can be dry-run; and those that we may not even read, which
    somebody else must have made."""
    missing, not_ours = set(), set()
    for name in sorted(coming.namespaces):
        try:
            if await api.get(Ref(api_version="v1", kind="Namespace", name=name)) is None:
                missing.add(name)
        except Denied:
            not_ours.add(name)
    return frozenset(missing), frozenset(not_ours)


async def observed_objects(
    api: KubeApi, fleet: str, namespace: str, refs: Sequence[Ref] = ()
) -> tuple[list[Object], list[str]]:
    """What carries the fleet's label, of every kind that a fleet may be made of; and notes on what could not be read.

    Objects of the cluster are shared and carry one fleet's label at most: they are read all, by who manages them.
    """
    kinds = sorted({*_KNOWN, *((ref.api_version, ref.kind) for ref in refs)})
    notes: list[str] = []
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(api_version: str, kind: str) -> list[Object]:
        async with gate:
            try:
                resource = await api.resource(api_version, kind)
                inside = resource.is_namespaced
                chosen = {FLEET_LABEL: fleet} if inside else {"app.kubernetes.io/managed-by": "penstock"}
                found = await api.list(api_version, kind, namespace=namespace if inside else None, labels=chosen)
            except KindAbsent:
                return []
            except Denied as denied:
                own = [ref for ref in refs if ref.kind == kind and not is_shared(ref)]
                notes.append(f"leftovers of kind {kind} are not looked for: {denied.message}")
                return [obj for ref in own if (obj := await api.get(ref)) is not None]
            return list(found.items)

    async with Together() as group:
        tasks = [group.create_task(one(*kind)) for kind in kinds]
    return [obj for task in tasks for obj in task.result()], sorted(notes)
