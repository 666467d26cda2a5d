"""What we send where an object is not ours alone: replicas that a scaler sets, objects that several fleets use. Pure.

Guarantees: handing replicas to a scaler never resets them; taking part in a shared object never takes another fleet's
part away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from penstock.operate.apply.comparison import is_manager_of
from penstock.operate.apply.failures import FieldConflict
from penstock.operate.apply.objects import FLEET_LABEL, Object, Ref, at, ref_of

__all__ = [
    "SCALERS",
    "USED_BY",
    "adjusted",
    "is_orphaned",
    "is_shared",
    "scaled_by",
    "users_of",
    "without_user",
    "yielded",
]

USED_BY = "penstock.dev/used-by"
"""Annotation of objects that belong to the cluster: the fleets that use them, `NAMESPACE/NAME` with commas between."""
_NEVER_SHARED = {"Namespace", "CustomResourceDefinition"}
"""Never deleted by us, so nobody needs to know who uses them."""
SCALERS = {"HorizontalPodAutoscaler", "ScaledObject"}
"""Kinds that set the replicas of others."""
_SCALING_MANAGERS = {"kube-controller-manager", "keda", "keda-operator"}
"""Who writes replicas for scalers. Sources: the field managers are the names of the programs that write, by default;
an HPA is of kube-controller-manager, and KEDA's operator itself goes from and to zero."""


def is_shared(ref: Ref) -> bool:
    """Whether several fleets may use it: what belongs to the cluster and may go with its last user."""
    return ref.namespace is None and ref.kind not in _NEVER_SHARED


def users_of(live: Object) -> tuple[str, ...]:
    """The fleets that use a shared object, as `NAMESPACE/NAME`."""
    text: str = at(live, "metadata", "annotations", USED_BY, default="")
    return tuple(sorted({part.strip() for part in text.split(",") if part.strip()}))


def adjusted(wanted: Object, live: Object | None, user: str) -> Object:
    """What is sent for `wanted`, given what is there. `user` is the fleet as `NAMESPACE/NAME`."""
    ref = ref_of(wanted)
    if is_shared(ref):
        return _with_users(wanted, live, {*(users_of(live) if live is not None else ()), user})
    if live is None or at(wanted, "spec", "replicas") is not None or not is_manager_of(live, "spec", "replicas"):
        return wanted
    # We set the replicas once and now say nothing: letting go would have the server set its default, one. We hold the
    # present number until a scaler has set another, and with that owns the field.
    return {**wanted, "spec": {**wanted["spec"], "replicas": at(live, "spec", "replicas", default=1)}}


def without_user(live: Object, user: str) -> Object | None:
    """What is applied so that a fleet uses a shared object no more; None where nobody else does and it may go."""
    others = {*users_of(live)} - {user}
    if not others:
        return None
    kept = {name: value for name, value in live.items() if name != "status"}
    metadata = {"name": live["metadata"]["name"], "labels": dict(at(live, "metadata", "labels", default={}))}
    return _with_users({**kept, "metadata": metadata}, live, others)


def _with_users(wanted: Object, live: Object | None, users: Iterable[str]) -> Object:
    metadata = wanted["metadata"]
    annotations = {**metadata.get("annotations", {}), USED_BY: ",".join(sorted(users))}
    labels = dict(metadata.get("labels", {}))
    if live is not None and FLEET_LABEL in labels:  # the first fleet's stays: two must not take turns
        labels[FLEET_LABEL] = at(live, "metadata", "labels", FLEET_LABEL, default=labels[FLEET_LABEL])
    found = {**wanted, "metadata": {**metadata, "annotations": annotations}}
    if labels:
        found["metadata"]["labels"] = labels
    return found


def scaled_by(objects: Iterable[Object]) -> Mapping[tuple[str, str, str | None], str]:
    """Which workloads have a scaler: its words by (kind, name, namespace)."""
    found: dict[tuple[str, str, str | None], str] = {}
    for obj in objects:
        if obj["kind"] in SCALERS:
            target = at(obj, "spec", "scaleTargetRef", default={})
            key = (target.get("kind", "Deployment"), target.get("name", ""), obj["metadata"].get("namespace"))
            found[key] = f"{obj['kind']} {obj['metadata']['name']}"
    return found


def yielded(
    wanted: Object, failure: FieldConflict, scalers: Mapping[tuple[str, str, str | None], str]
) -> tuple[Object, str] | None:
    """Without the replicas, and why, where a scaler set them and nothing else is in conflict; else None."""
    if any(cause.field != ".spec.replicas" for cause in failure.causes):
        return None
    ref = ref_of(wanted)
    scaler = scalers.get((ref.kind, ref.name, ref.namespace))
    if scaler is None:
        return None
    spec = {name: value for name, value in wanted["spec"].items() if name != "replicas"}
    return {**wanted, "spec": spec}, f"{scaler} sets its replicas"


def is_orphaned(wanted: Object, failure: FieldConflict, scalers: Mapping[tuple[str, str, str | None], str]) -> bool:
    """Whether only its replicas are in conflict, a scaler set them, and none is left: nobody else keeps them now."""
    ref = ref_of(wanted)
    return (ref.kind, ref.name, ref.namespace) not in scalers and all(
        cause.field == ".spec.replicas" and cause.manager in _SCALING_MANAGERS for cause in failure.causes
    )
