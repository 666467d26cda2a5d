"""What an API server refuses, and why it cannot be asked, in words a person can act on. Pure.

PenstockError
└── ApiFailure           the cluster cannot do what we asked
    ├── Unreachable      no answer: wrong address, no network, no trust
    ├── Denied           401 and 403: who we are, and what we may not
    ├── KindAbsent       404: the cluster does not know the kind
    ├── Absent           404: there is no such object
    ├── FieldConflict    409: another manager owns fields that we set
    ├── Stale            409: the object changed under us, 412; 410: our place in the history is gone
    ├── Invalid          400 and 422: the object cannot be as we want it
    └── Busy             429, 5xx, time-outs, broken connections, after every try
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock.errors import PenstockError
from penstock.operate.apply.objects import Object, Ref, at

__all__ = [
    "Absent",
    "ApiFailure",
    "Asked",
    "Busy",
    "Cause",
    "Denied",
    "FieldConflict",
    "Invalid",
    "KindAbsent",
    "Stale",
    "Unreachable",
    "failure_of",
    "kind_absent",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One reason of a refusal. `manager` is who owns the field, in a conflict."""

    field: str
    message: str
    manager: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked of which cluster, for the words of a failure."""

    verb: str
    """As RBAC calls it: get, list, watch, patch, delete."""
    resource: str
    """As RBAC calls it: `deployments.apps`, `pods/log`."""
    ref: Ref | None = None
    namespace: str | None = None
    url: str = ""
    context: str = ""
    user: str = ""
    """Who we are, where it is known."""

    @property
    def subject(self) -> str:
        return str(self.ref) if self.ref is not None else self.resource

    @property
    def cluster(self) -> str:
        return f"the cluster of context {self.context!r}" if self.context else f"the cluster at {self.url}"


class ApiFailure(PenstockError):
    """The cluster cannot do what we asked. `code` is the HTTP status, 0 without an answer."""

    def __init__(self, message: str, *, hint: str | None = None, code: int = 0, causes: Sequence[Cause] = ()) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.causes = tuple(causes)


class Unreachable(ApiFailure):
    """There is no answer, and another try gives none."""


class Denied(ApiFailure):
    """We are not known, or may not do this."""


class KindAbsent(ApiFailure):
    """The cluster does not know this kind."""


class Absent(ApiFailure):
    """There is no such object."""


class FieldConflict(ApiFailure):
    """Others own fields that we set."""


class Stale(ApiFailure):
    """What we knew of the object, or of the history, is out of date."""


class Invalid(ApiFailure):
    """The object cannot be so."""


class Busy(ApiFailure):
    """The API server did not manage; later it may."""


_MANAGER = re.compile(r'conflicts? with "([^"]*)"')
_USER = re.compile(r'User "([^"]*)" cannot')
_BRINGS: Mapping[str, str] = {
    "external-secrets.io": "the External Secrets operator (`spec.kubernetes.externalSecrets` asks for it)",
    "gateway.networking.k8s.io": "the Gateway API CRDs (`spec.gateway.expose.kind: httpRoute` asks for them)",
    "keda.sh": "KEDA (`spec.models[].autoscaling.via: keda` asks for it; `via: hpa` does without)",
    "leaderworkerset.x-k8s.io": "the LeaderWorkerSet controller (a replica with more GPUs than one node has needs it)",
    "monitoring.coreos.com": "the Prometheus operator (`spec.monitoring` asks for it)",
    "networking.istio.io": "Istio (`spec.gateway.expose.kind: virtualService` asks for it)",
    "penstock.dev": "Penstock: `penstock spec crd | kubectl apply --server-side -f -`",
    "resource.k8s.io": "dynamic resource allocation, in Kubernetes 1.34 or newer (`draClass` asks for it)",
}
"""What brings the kinds of a group."""


def kind_absent(api_version: str, kind: str, cluster: str) -> KindAbsent:
    """The cluster does not know a kind."""
    group = api_version.partition("/")[0] if "/" in api_version else ""
    brings = _BRINGS.get(group)
    hint = f"install {brings}" if brings else f"see `kubectl api-resources --api-group={group}` for what it knows"
    return KindAbsent(f"{cluster} knows no kind {kind} of {api_version}", hint=hint, code=404)


def failure_of(code: int, body: Object, asked: Asked) -> ApiFailure:
    """The failure that an answer of 400 or more tells; `body` is its Status, {} where it is none."""
    message = str(body.get("message") or f"HTTP {code}")
    causes = _causes(body)
    what = f"{asked.verb} {asked.subject}"
    match code:
        case 401:
            hint = "the token may have expired: log in again; `kubectl auth whoami` shows whether it is taken"
            return Denied(f"{asked.cluster} does not know who we are (401): {what}", hint=hint, code=code)
        case 403:
            return _forbidden(message, asked)
        case 404:
            return Absent(f"{asked.subject} is not in {asked.cluster}", code=code)
        case 409 if any(cause.manager for cause in causes):
            return _field_conflict(causes, asked)
        case 409 | 410 | 412:
            return Stale(f"{asked.subject} was changed while we worked on it: {message}", code=code)
        case 400 | 413 | 415 | 422:
            return _invalid(code, message, causes, asked)
        case 500 if "typed patch object" in message:  # an unknown field: the server calls it an error of its own
            return _invalid(code, message, causes, asked)
        case _:
            hint = "it is overloaded or restarting; try again, and see `kubectl get --raw /readyz?verbose`"
            return Busy(f"{asked.cluster} failed to {what} ({code}): {message}", hint=hint, code=code)


def _causes(body: Object) -> list[Cause]:
    found: Sequence[Mapping[str, Any]] = at(body, "details", "causes", default=())
    causes: list[Cause] = []
    for cause in found:
        message = str(cause.get("message", ""))
        match = _MANAGER.search(message) if cause.get("reason") == "FieldManagerConflict" else None
        manager = match.group(1) if match else ("?" if cause.get("reason") == "FieldManagerConflict" else "")
        causes.append(Cause(field=str(cause.get("field", "")), message=message, manager=manager))
    return causes


def _forbidden(message: str, asked: Asked) -> ApiFailure:
    match = _USER.search(message)
    user = match.group(1) if match else asked.user
    place = f" in namespace {asked.namespace}" if asked.namespace else ""
    if match is None:  # the user may, but an admission rule, a quota or a namespace that ends says no
        hint = "a quota, an admission policy or a namespace that is being deleted refuses it"
        return Invalid(f"{asked.subject} is refused by {asked.cluster}: {message}", hint=hint, code=403)
    who = f"{user!r}" if user else "we"
    flags = f" -n {asked.namespace}" if asked.namespace else ""
    hint = f"check with `kubectl auth can-i {asked.verb} {asked.resource}{flags}`; a Role with that verb must be bound"
    return Denied(f"{who} may not {asked.verb} {asked.resource}{place} in {asked.cluster}", hint=hint, code=403)


def _field_conflict(causes: Sequence[Cause], asked: Asked) -> FieldConflict:
    owners: dict[str, list[str]] = {}
    for cause in causes:
        owners.setdefault(cause.manager, []).append(cause.field)
    shown = "; ".join(f"{manager!r} owns {', '.join(fields)}" for manager, fields in sorted(owners.items()))
    hint = "let the other go of these fields, or take them with --force-conflicts"
    return FieldConflict(f"{asked.subject}: {shown}", hint=hint, code=409, causes=causes)


def _invalid(code: int, message: str, causes: Sequence[Cause], asked: Asked) -> Invalid:
    words = "; ".join(f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in causes)
    return Invalid(f"{asked.subject} is refused by {asked.cluster}: {words or message}", code=code, causes=causes)
