"""Reads what a cluster shows of itself, for `penstock preflight`; changes nothing.

Guarantees that one thing that may not be read does not hide the rest: it is None in the survey, with the reason.
Values of Secrets are dropped as they come; only the names of their keys are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from penstock.operate.apply.failures import ApiFailure, KindAbsent
from penstock.operate.apply.objects import Object, Ref, at, ref_of
from penstock.operate.apply.port import KubeApi
from penstock.operate.preflight import DryRun, Survey, secrets_of
from penstock.plan.manifests import Bundle

__all__ = ["survey_cluster"]

_LISTED = (
    ("nodes", "v1", "Node", False),
    ("pods", "v1", "Pod", False),
    ("daemon_sets", "apps/v1", "DaemonSet", False),
    ("storage_classes", "storage.k8s.io/v1", "StorageClass", False),
    ("priority_classes", "scheduling.k8s.io/v1", "PriorityClass", False),
    ("runtime_classes", "node.k8s.io/v1", "RuntimeClass", False),
    ("device_classes", "resource.k8s.io/v1", "DeviceClass", False),
    ("claims", "v1", "PersistentVolumeClaim", True),
    ("quotas", "v1", "ResourceQuota", True),
)


async def survey_cluster(api: KubeApi, bundle: Bundle, namespace: str, *, version: str | None) -> Survey:
    """Asks the cluster for everything that the checks need. `version` is the API server's, where it is known."""
    unread: dict[str, str] = {}
    found: dict[str, tuple[Object, ...] | None] = {}
    for field, api_version, kind, is_namespaced in _LISTED:
        try:
            listing = await api.list(api_version, kind, namespace=namespace if is_namespaced else None)
            found[field] = listing.items
        except KindAbsent:
            found[field] = ()
        except ApiFailure as error:
            found[field] = None
            unread[field] = error.message
    missing = await _missing_kinds(api, bundle)
    space = await _namespace(api, namespace, unread)
    return Survey(
        **found,
        version=version,
        namespace=space,
        secrets=await _secrets(api, bundle, namespace, unread),
        missing_kinds=missing,
        dry_runs=await _dry_runs(api, bundle, set(missing), unread, is_there=space is not None),
        unread=unread,
    )


async def _missing_kinds(api: KubeApi, bundle: Bundle) -> tuple[tuple[str, str], ...]:
    missing = []
    for api_version, kind in sorted({(str(m.body["apiVersion"]), m.kind) for m in bundle.manifests}):
        try:
            await api.resource(api_version, kind)
        except KindAbsent:
            missing.append((api_version, kind))
    return tuple(missing)


async def _namespace(api: KubeApi, namespace: str, unread: dict[str, str]) -> Object | None:
    try:
        return await api.get(Ref(api_version="v1", kind="Namespace", name=namespace))
    except ApiFailure as error:
        unread["namespace"] = error.message
        return None


async def _secrets(
    api: KubeApi, bundle: Bundle, namespace: str, unread: dict[str, str]
) -> Mapping[str, frozenset[str] | None] | None:
    held: dict[str, frozenset[str] | None] = {}
    for name in secrets_of(bundle):
        try:
            secret = await api.get(Ref(api_version="v1", kind="Secret", name=name, namespace=namespace))
        except ApiFailure as error:
            unread["secrets"] = error.message
            return None
        held[name] = None if secret is None else frozenset(at(secret, "data", default={}))
    return held


async def _dry_runs(
    api: KubeApi, bundle: Bundle, missing: set[tuple[str, str]], unread: dict[str, str], *, is_there: bool
) -> tuple[DryRun, ...]:
    """What would be refused. Objects of a namespace that is not there yet cannot be tried."""
    refused: list[DryRun] = []
    for obj in _triable(bundle, missing, is_there=is_there):
        try:
            await api.apply(obj, is_dry_run=True)
        except ApiFailure as error:
            refused.append(DryRun(subject=str(ref_of(obj)), message=error.message, hint=error.hint or ""))
    if not is_there:
        unread["dry_runs"] = "the namespace is not there yet, so its objects could not be tried"
    return tuple(refused)


def _triable(bundle: Bundle, missing: set[tuple[str, str]], *, is_there: bool) -> Iterable[Object]:
    for manifest in bundle.manifests:
        if (str(manifest.body["apiVersion"]), manifest.kind) not in missing and (
            is_there or manifest.namespace is None
        ):
            yield manifest.object
