"""One write to an object: what the server itself fills in, keeps and checks around what a client sends.

Guarantees: a write that changes nothing is not a write (same revision, no event); `generation` moves only with the
desired state; nothing is stored in a dry run. Leaves to others: verbs (`verbs.py`), rules of kinds (`strategies.py`),
who owns fields (`managed.py`). Pure: `now` and the random stream are arguments.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any

from penstock.operate.testing import managed
from penstock.operate.testing.catalog import Catalog
from penstock.operate.testing.kinds import Resource
from penstock.operate.testing.managed import Owner
from penstock.operate.testing.merge import clone
from penstock.operate.testing.names import generated_name, invalid_value, metadata_causes
from penstock.operate.testing.requests import Options
from penstock.operate.testing.status import (
    Cause,
    Refusal,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    not_found,
)
from penstock.operate.testing.store import Store
from penstock.operate.testing.strategies import (
    causes_of_change,
    causes_of_object,
    desired_state,
    has_generation,
    prepare_create,
    prepare_update,
)

__all__ = ["Call", "Writer", "rfc3339"]

_SERVER_OWNED = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink")


def rfc3339(now: float) -> str:
    """`now` (Unix seconds) as the API writes times: whole seconds, UTC."""
    return datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request's circumstances. `now` is in Unix seconds."""

    now: float
    options: Options
    warnings: list[str]
    """Filled while the call is carried out; answered as `Warning` headers."""
    subresource: str = ""


class Writer:
    """Creates and updates objects in one store. Owned by one `Cluster`."""

    def __init__(self, store: Store, catalog: Catalog, random: Random) -> None:
        self._store = store
        self._catalog = catalog
        self._random = random

    def manager(self, resource: Resource, call: Call, operation: str) -> Owner:
        return Owner(call.options.manager, operation, resource.api_version, call.subresource)

    def checked_body(
        self, resource: Resource, namespace: str, body: Any, call: Call, *, patch: Any = None
    ) -> dict[str, Any]:
        """`body` as an object of `resource`: kind, namespace and structure fit, unknown fields are gone.

        Raises:
            Refusal: 400 where they do not.
        """
        obj = _object(resource, body)
        metadata = obj["metadata"]
        sent = metadata.get("namespace") or ""
        if resource.is_namespaced:
            if sent and sent != namespace:
                raise bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
            metadata["namespace"] = namespace
        elif sent:
            raise bad_request("namespace is not allowed on this type")
        return self._catalog.decoded(resource, obj, call.options, call.warnings, patch=patch)

    def create(self, resource: Resource, obj: dict[str, Any], call: Call, *, owned: bool = False) -> dict[str, Any]:
        """Stores a new object; `owned`: its managed fields are already in it (an apply)."""
        new = clone(obj)
        metadata = new["metadata"]
        for key in (*_SERVER_OWNED, "resourceVersion"):
            if key == "resourceVersion" and metadata.get(key):
                raise Refusal(500, "", "resourceVersion should not be set on objects to be created")
            metadata.pop(key, None)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = generated_name(metadata["generateName"], self._random)
        self._check_namespace(resource, metadata.get("namespace", ""), metadata.get("name", ""))
        metadata["uid"] = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        metadata["creationTimestamp"] = rfc3339(call.now)
        metadata.pop("generation", None)
        if has_generation(resource):
            metadata["generation"] = 1
        new = self._catalog.defaulted(resource, prepare_create(resource, new, self._allocations()))
        self._refuse(resource, new, [*metadata_causes(resource, metadata), *self._causes(resource, new, None)])
        if self._store.get(resource, metadata.get("namespace", ""), metadata["name"]) is not None:
            raise already_exists(resource.group, resource.plural, metadata["name"])
        if not owned:
            metadata.pop("managedFields", None)
            new = managed.record_update(
                None,
                new,
                self.manager(resource, call, "Update"),
                self._catalog.shape(resource),
                rfc3339(call.now),
                is_custom=bool(resource.crd),
                has_status="status" in resource.subresources,
            )
        new = _ordered(new)
        return new if call.options.is_dry_run else self._store.put(resource, new)

    def update(
        self, resource: Resource, live: dict[str, Any], obj: dict[str, Any], call: Call, *, owned: bool = False
    ) -> dict[str, Any]:
        """Stores `obj` over `live`. Answers the object as it is then, also where nothing changed."""
        new = clone(obj)
        metadata = new["metadata"]
        self._check_versions(resource, live, metadata)
        for key in (*_SERVER_OWNED, "generation", "generateName"):
            metadata.pop(key, None)
            if key in live["metadata"]:
                metadata[key] = live["metadata"][key]
        metadata["resourceVersion"] = live["metadata"]["resourceVersion"]
        new = prepare_update(resource, live, new, call.subresource)
        new = self._catalog.defaulted(resource, new)
        metadata = new["metadata"]
        if has_generation(resource) and desired_state(resource, new) != desired_state(resource, live):
            metadata["generation"] = live["metadata"].get("generation", 0) + 1
        self._refuse(resource, new, [*metadata_causes(resource, metadata), *self._causes(resource, new, live)])
        if not owned:
            if metadata.get("managedFields") != []:  # an empty list is a client's way to clear all owners
                metadata["managedFields"] = live["metadata"].get("managedFields", [])
            basis = live if metadata["managedFields"] else live | {"metadata": live["metadata"] | {"managedFields": []}}
            new = managed.record_update(
                basis,
                new,
                self.manager(resource, call, "Update"),
                self._catalog.shape(resource),
                rfc3339(call.now),
                is_custom=bool(resource.crd),
                has_status="status" in resource.subresources,
            )
        new = _ordered(new)
        if _same(new, live) or call.options.is_dry_run:
            return live if _same(new, live) else new
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers") and self._may_go(resource, new):
            return self._store.remove(resource, new)
        return self._store.put(resource, new)

    def _may_go(self, resource: Resource, obj: dict[str, Any]) -> bool:
        """Whether an object that is being deleted goes with its last finalizer."""
        if resource.group_plural == ("", "namespaces"):
            return not (obj.get("spec") or {}).get("finalizers")
        return not obj["metadata"].get("deletionGracePeriodSeconds")

    def _check_versions(self, resource: Resource, live: dict[str, Any], metadata: dict[str, Any]) -> None:
        name = live["metadata"]["name"]
        uid, mine = metadata.get("uid"), live["metadata"]["uid"]
        if uid and uid != mine:
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {mine}"
            raise conflict(resource.group, resource.plural, name, why)
        revision = metadata.get("resourceVersion")
        if revision and revision != live["metadata"]["resourceVersion"]:
            raise conflict(resource.group, resource.plural, name)
        if not revision and resource.crd:
            words = "must be specified for an update"
            raise invalid(resource.group, resource.kind, name, [invalid_value("metadata.resourceVersion", 0, words)])

    def _causes(self, resource: Resource, new: dict[str, Any], live: dict[str, Any] | None) -> list[Cause]:
        causes = [*self._catalog.causes(resource, new, live), *causes_of_object(resource, new)]
        if live is not None:
            causes += causes_of_change(resource, live, new)
            old_finalizers = set(live["metadata"].get("finalizers") or ())
            added = [f for f in new["metadata"].get("finalizers") or () if f not in old_finalizers]
            if live["metadata"].get("deletionTimestamp") and added:
                words = "no new finalizers can be added if the object is being deleted, found new finalizers "
                shown = "[]string{" + ", ".join(f'"{each}"' for each in added) + "}"
                causes.append(Cause("FieldValueForbidden", f"Forbidden: {words}{shown}", "metadata.finalizers"))
        return causes

    def _refuse(self, resource: Resource, obj: dict[str, Any], causes: list[Cause]) -> None:
        if causes:
            raise invalid(resource.group, resource.kind, obj["metadata"].get("name", ""), causes)

    def _check_namespace(self, resource: Resource, namespace: str, name: str) -> None:
        """The namespace lifecycle check that the real server's admission makes."""
        if not resource.is_namespaced:
            return
        namespaces = self._catalog.find("", "v1", "namespaces")
        assert namespaces is not None
        found = self._store.get(namespaces, "", namespace)
        if found is None:
            raise not_found("", "namespaces", namespace)
        if found["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            cause = Cause("NamespaceTerminating", f"namespace {namespace} is being terminated", "metadata.namespace")
            refusal = forbidden(resource.group, resource.plural, name, why)
            refusal.details["causes"] = [cause._asdict()]
            raise refusal

    def _allocations(self) -> set[str]:
        """Cluster addresses that Services already have."""
        services = self._catalog.find("", "v1", "services")
        assert services is not None
        return {str(found.get("spec", {}).get("clusterIP", "")) for found in self._store.all(services)}


def _object(resource: Resource, body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise bad_request("couldn't get version/kind; json parse error: json: cannot unmarshal into Go value")
    kind, version = body.get("kind"), body.get("apiVersion")
    if not kind:
        raise bad_request("Object 'Kind' is missing in the body of the request")
    if not version:
        raise bad_request("Object 'apiVersion' is missing in the body of the request")
    if version != resource.api_version:
        raise bad_request(
            f"the API version in the data ({version}) does not match the expected API version ({resource.api_version})"
        )
    if kind != resource.kind:
        raise bad_request(f'{kind} in version "{resource.version}" cannot be handled as a {resource.kind}')
    metadata = body.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise bad_request(
            f'{kind} in version "{resource.version}" cannot be handled as a {resource.kind}: json: cannot unmarshal '
            f"{_go_type(metadata)} into Go struct field {kind}.metadata of type v1.ObjectMeta"
        )
    found: dict[str, Any] = clone(body)
    return found | {"metadata": clone(metadata or {})}


def _go_type(value: Any) -> str:
    names = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}
    return names.get(type(value), "null")


_FIRST = ("apiVersion", "kind", "metadata", "spec", "status")
_METADATA_FIRST = (
    *("name", "generateName", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp"),
    *("deletionTimestamp", "deletionGracePeriodSeconds", "labels", "annotations", "ownerReferences", "finalizers"),
)


def _ordered(obj: dict[str, Any]) -> dict[str, Any]:
    """Keys in the order that the real server writes: kind and metadata first."""
    metadata = obj["metadata"]
    in_order = {key: metadata[key] for key in (*_METADATA_FIRST, *metadata) if key in metadata}
    for key in ("labels", "annotations", "ownerReferences", "finalizers"):
        if key in in_order and not in_order[key]:
            del in_order[key]
    found = obj | {"metadata": in_order}
    return {key: found[key] for key in (*_FIRST, *sorted(obj)) if key in found}


def _same(new: dict[str, Any], live: dict[str, Any]) -> bool:
    """Whether nothing changed; the times of managed fields alone do not count."""

    def timeless(obj: dict[str, Any]) -> dict[str, Any]:
        rows = [{k: v for k, v in row.items() if k != "time"} for row in obj["metadata"].get("managedFields") or ()]
        rows.sort(key=lambda row: (row["operation"], row.get("manager", ""), row.get("subresource", "")))
        return obj | {"metadata": obj["metadata"] | {"managedFields": rows}}

    return timeless(new) == timeless(live)
