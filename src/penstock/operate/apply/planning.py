"""What an apply would do to each object, decided before anything is written. Pure.

Gathered by the edge: the live object, and what a dry run of the API server made of ours (or refused). From that each
object gets one `Step`; a plan with a conflict or a refusal is not carried out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from penstock.operate.apply.adjustment import is_shared, users_of, without_user
from penstock.operate.apply.comparison import changed_fields, is_changed
from penstock.operate.apply.failures import ApiFailure, FieldConflict, Invalid
from penstock.operate.apply.immutable import advice, has_failed, is_finished, is_replaceable
from penstock.operate.apply.objects import FLEET_LABEL, Object, Ref, is_owned, labels, ref_of
from penstock.operate.apply.port import Applied, Propagation

__all__ = ["Action", "ApplyPlan", "Options", "Step", "decide", "leftovers", "propagation_of"]


class Action(StrEnum):
    """What becomes of an object."""

    CREATE = "create"
    CHANGE = "change"
    UNCHANGED = "unchanged"
    REPLACE = "replace"
    """Deleted and made again, as it cannot be changed."""
    PRUNE = "prune"
    """Deleted: it was the fleet's, and the file asks for it no more."""
    RELEASE = "release"
    """Kept for the other fleets that use it; ours is taken from the list of its users."""
    KEEP = "keep"
    """Not asked for any more, and kept all the same; the reason says why."""
    CONFLICT = "conflict"
    """Others own fields of it: nothing is applied."""
    REFUSED = "refused"
    """The API server does not take it: nothing is applied."""


_WRITES = {Action.CREATE, Action.CHANGE, Action.REPLACE, Action.PRUNE, Action.RELEASE}
_ENDS = {Action.REPLACE, Action.PRUNE}
_PROBLEMS = {Action.CONFLICT, Action.REFUSED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How an apply is meant."""

    is_forced: bool = False
    """Takes fields from other managers."""
    may_replace: bool = False
    """Deletes and makes again what cannot be changed, where no data and no service hangs on it."""
    is_pruning: bool = True
    prunes_volumes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What becomes of one object, and why."""

    ref: Ref
    action: Action
    wave: int = 0
    wanted: Object | None = None
    """What is sent."""
    live: Object | None = None
    dry_run: Object | None = None
    """What the server would make of it; None where that cannot be known before."""
    reason: str = ""
    hint: str = ""
    fields: tuple[str, ...] = ()
    """Paths of what changes."""
    takes_replicas: bool = False
    """Written with force: the one field of another manager was set by a scaler that is gone, or goes first."""

    @property
    def uid(self) -> str:
        return str(self.live["metadata"]["uid"]) if self.live is not None else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyPlan:
    """Every step, in the order in which it is done."""

    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()

    @property
    def writes(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.action in _WRITES)

    @property
    def problems(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.action in _PROBLEMS)

    @property
    def endings(self) -> tuple[Step, ...]:
        """What is deleted, and a person is asked about first; a Job that is done is not worth a question."""
        return tuple(step for step in self.steps if step.action in _ENDS and not _is_done_job(step.live))

    def count(self, action: Action) -> int:
        return sum(step.action is action for step in self.steps)


def _is_done_job(live: Object | None) -> bool:
    return live is not None and live["kind"] == "Job" and is_finished(live)


def propagation_of(ref: Ref) -> Propagation:
    """How an object is deleted. What has others hanging on it goes when they are gone; a Fleet lets go of what its
    controller made, which is deleted, or kept, by what was decided of each."""
    if ref.kind == "Fleet":
        return "Orphan"
    return "Foreground" if ref.kind in _HAVE_OTHERS else "Background"


def decide(
    wanted: Object,
    live: Object | None,
    outcome: Applied | ApiFailure | None,
    *,
    wave: int,
    fleet: str,
    options: Options,
    reason: str = "",
) -> Step:
    """The step of an object that the fleet asks for.

    `outcome`: what the dry run gave; None where none was possible, because its namespace or kind comes with this very
    apply.
    """
    ref = ref_of(wanted)

    def step(action: Action, words: str = reason, **more: object) -> Step:
        return Step(ref=ref, action=action, wave=wave, wanted=wanted, live=live, reason=words, **more)  # type: ignore[arg-type]

    match outcome:
        case None:
            return step(Action.CREATE)
        case FieldConflict():
            return step(Action.CONFLICT, outcome.message, hint=outcome.hint or "")
        case Invalid() if live is not None and options.may_replace and is_replaceable(live):
            return step(Action.REPLACE, outcome.message)
        case ApiFailure():
            told = advice(ref, live, outcome.message) if live is not None else ""
            return step(Action.REFUSED, outcome.message, hint=told or outcome.hint or "")
    other = labels(live).get(FLEET_LABEL) if live is not None else None
    if live is not None and other is not None and other != fleet and not is_shared(ref):
        hint = "give one of the two another name, or apply them in namespaces of their own"
        return step(Action.REFUSED, f"{ref} is of fleet {other!r}", hint=hint)
    if live is None:
        return step(Action.CREATE, dry_run=outcome.object)
    if not is_changed(live, outcome.object):
        if options.may_replace and has_failed(live):
            return step(Action.REPLACE, "it failed before", dry_run=outcome.object)
        return step(Action.UNCHANGED, dry_run=outcome.object)
    fields = changed_fields(live, outcome.object)
    words = reason or ("" if fields else "the same, and ours from now on")
    return step(Action.CHANGE, words, dry_run=outcome.object, fields=fields)


def leftovers(
    observed: Iterable[Object],
    wanted: Iterable[Ref],
    *,
    fleet: str,
    user: str,
    options: Options,
) -> list[Step]:
    """Steps for what we applied for this fleet and it asks for no more, in the order in which it goes."""
    kept = {(ref.group_kind, ref.namespace, ref.name) for ref in wanted}
    steps: list[Step] = []
    for obj in observed:
        ref = ref_of(obj)
        if (ref.group_kind, ref.namespace, ref.name) in kept or not is_owned(obj):
            continue
        if is_shared(ref):
            steps += _shared_leftover(obj, ref, user)
        elif labels(obj).get(FLEET_LABEL) == fleet:
            steps.append(_leftover(obj, ref, options))
    return sorted(steps, key=lambda step: (_rank(step.ref), step.ref))


def _leftover(obj: Object, ref: Ref, options: Options) -> Step:
    action, reason = Action.PRUNE, "the file asks for it no more"
    if not options.is_pruning:
        action, reason = Action.KEEP, "--no-prune"
    elif ref.kind == "PersistentVolumeClaim" and not options.prunes_volumes:
        action, reason = Action.KEEP, "it holds data; --prune-volumes deletes it"
    elif ref.kind == "Namespace":
        action, reason = Action.KEEP, "a namespace is never deleted: others may live in it"
    elif ref.kind == "CustomResourceDefinition":
        action, reason = Action.KEEP, "with it every fleet of the cluster would go"
    elif obj["metadata"].get("deletionTimestamp"):
        action, reason = Action.KEEP, "it is being deleted already"
    return Step(ref=ref, action=action, live=obj, wave=-1, reason=reason)


def _shared_leftover(obj: Object, ref: Ref, user: str) -> Sequence[Step]:
    if user not in users_of(obj):
        return ()
    rest = without_user(obj, user)
    if rest is None:
        return (Step(ref=ref, action=Action.PRUNE, live=obj, wave=-1, reason="no other fleet uses it"),)
    others = ", ".join(name for name in users_of(obj) if name != user)
    return (Step(ref=ref, action=Action.RELEASE, wanted=rest, live=obj, wave=-1, reason=f"{others} uses it"),)


_ORDER = (
    *("Fleet", "PrometheusRule", "ServiceMonitor", "PodMonitor", "Ingress", "HTTPRoute", "VirtualService"),
    *("ScaledObject", "HorizontalPodAutoscaler", "Deployment", "LeaderWorkerSet", "StatefulSet", "Job"),
    *("PodDisruptionBudget", "Service", "ResourceClaimTemplate", "PersistentVolumeClaim", "ConfigMap"),
    *("ExternalSecret", "Secret", "NetworkPolicy", "RoleBinding", "Role", "ServiceAccount"),
)
"""What goes first: ways in, scalers, then what they would act on, then what that needs."""


_HAVE_OTHERS = {"Deployment", "LeaderWorkerSet", "StatefulSet", "Job", "ScaledObject"}


def _rank(ref: Ref) -> int:
    return _ORDER.index(ref.kind) if ref.kind in _ORDER else len(_ORDER)
