"""Deleting: finalizers, grace, preconditions, propagation, and the collection of what lost its owners.

Guarantees: an object with finalizers stays, marked, until they are gone; dependents go, stay or are let go as the
policy says; a namespace empties before it goes. Source: `k8s.io/apiserver` `registry/generic/registry/store.go` and
the garbage collector. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock.operate.testing.catalog import Catalog
from penstock.operate.testing.kinds import Resource
from penstock.operate.testing.requests import Options
from penstock.operate.testing.status import Refusal, bad_request, conflict, forbidden
from penstock.operate.testing.store import Store
from penstock.operate.testing.writing import Call, rfc3339

__all__ = ["DeleteOptions", "Deleter"]

_FOREGROUND = "foregroundDeletion"
_ORPHAN = "orphan"
_PROTECTED = "kubernetes.io/pvc-protection"
_POD_GRACE_S = 30
_PASSES_MAX = 64
"""Depth of ownership past which a collection leaves the rest to the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOptions:
    """What a client asked of a deletion."""

    policy: str = ""
    """`Foreground`, `Background`, `Orphan`, or empty for the kind's own default."""
    grace_s: int | None = None
    uid: str = ""
    revision: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str], body: Mapping[str, Any] | None) -> DeleteOptions:
        """From the query, or from a DeleteOptions body, which wins."""
        sent = body or {}
        policy = sent.get("propagationPolicy") or query.get("propagationPolicy") or ""
        if policy not in ("", "Foreground", "Background", "Orphan"):
            words = f'Unsupported value: "{policy}": supported values: "Background", "Foreground", "Orphan"'
            raise bad_request(f"invalid: propagationPolicy: {words}")
        grace = sent.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
        preconditions = sent.get("preconditions") or {}
        return cls(
            policy=policy,
            grace_s=None if grace is None else int(grace),
            uid=preconditions.get("uid") or "",
            revision=preconditions.get("resourceVersion") or "",
        )


class Deleter:
    """Deletes and collects in one store. Owned by one `Cluster`."""

    def __init__(self, store: Store, catalog: Catalog) -> None:
        self._store = store
        self._catalog = catalog

    def delete(
        self, resource: Resource, live: dict[str, Any], options: DeleteOptions, call: Call
    ) -> tuple[dict[str, Any], bool]:
        """Deletes or marks. Answers what is left, or a Status; and whether the object is gone."""
        self._check(resource, live, options)
        marked = self._marked(resource, live, options, call)
        is_gone = not marked["metadata"].get("finalizers") and not self._lingers(resource, marked)
        if call.options.is_dry_run:
            return (_success(resource, live), True) if is_gone else (marked, False)
        if is_gone:
            self._store.remove(resource, marked)
            return _success(resource, live), True
        if marked != live:
            marked = self._store.put(resource, marked)
        return marked, False

    def _check(self, resource: Resource, live: dict[str, Any], options: DeleteOptions) -> None:
        metadata = live["metadata"]
        found = (
            ("UID", options.uid, metadata["uid"]),
            ("ResourceVersion", options.revision, metadata["resourceVersion"]),
        )
        for what, asked, is_now in found:
            if asked and asked != is_now:
                why = f"Precondition failed: {what} in precondition: {asked}, {what} in object meta: {is_now}"
                raise conflict(resource.group, resource.plural, metadata["name"], why)
        if resource.group_plural == ("", "namespaces") and metadata["name"] in (
            "default",
            "kube-system",
            "kube-public",
        ):
            raise _forbidden_namespace(metadata["name"])

    def _lingers(self, resource: Resource, marked: dict[str, Any]) -> bool:
        """Whether something besides finalizers keeps the object: its content, or a running process."""
        if resource.group_plural == ("", "namespaces"):
            return bool((marked.get("spec") or {}).get("finalizers"))
        return bool(marked["metadata"].get("deletionGracePeriodSeconds"))

    def _marked(self, resource: Resource, live: dict[str, Any], options: DeleteOptions, call: Call) -> dict[str, Any]:
        metadata = dict(live["metadata"])
        grace = self._grace_s(resource, live, options)
        if "deletionTimestamp" not in metadata:
            metadata["deletionTimestamp"] = rfc3339(call.now + grace)
            metadata["deletionGracePeriodSeconds"] = grace
            if "generation" in metadata:
                metadata["generation"] += 1
        elif grace < metadata.get("deletionGracePeriodSeconds", 0):
            metadata["deletionTimestamp"] = rfc3339(call.now + grace)
            metadata["deletionGracePeriodSeconds"] = grace
        finalizers = [each for each in metadata.get("finalizers") or () if each not in (_FOREGROUND, _ORPHAN)]
        policy = options.policy or ("Orphan" if resource.group_plural == ("batch", "jobs") else "")
        had = [each for each in metadata.get("finalizers") or () if each in (_FOREGROUND, _ORPHAN)]
        wanted = {"Foreground": [_FOREGROUND], "Orphan": [_ORPHAN], "Background": []}.get(policy, had)
        metadata["finalizers"] = finalizers + wanted
        if not metadata["finalizers"]:
            del metadata["finalizers"]
        if not options.policy and resource.group_plural == ("batch", "jobs"):
            call.warnings.append(
                "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove "
                "them or set propagationPolicy=Orphan to suppress this warning"
            )
        marked = live | {"metadata": metadata}
        if resource.group_plural == ("", "namespaces"):
            marked["status"] = (live.get("status") or {}) | {"phase": "Terminating"}
        return marked

    def _grace_s(self, resource: Resource, live: dict[str, Any], options: DeleteOptions) -> int:
        if resource.group_plural != ("", "pods"):
            return 0
        spec, phase = live.get("spec") or {}, (live.get("status") or {}).get("phase")
        if not spec.get("nodeName") or phase in ("Succeeded", "Failed"):
            return 0
        if options.grace_s is not None:
            return options.grace_s
        return int(spec.get("terminationGracePeriodSeconds", _POD_GRACE_S))

    def collect(self, now: float) -> bool:
        """Runs the garbage collector and the namespace controller until nothing is left to do; whether they did."""
        is_changed = False
        for _ in range(_PASSES_MAX):
            if not (self._collect_once(now) | self._empty_namespaces(now)):
                break
            is_changed = True
        return is_changed

    def _collect_once(self, now: float) -> bool:
        objects = [(resource, obj) for resource, obj in self._objects()]
        by_uid = {obj["metadata"]["uid"]: obj for _, obj in objects}
        dependents: dict[str, list[tuple[Resource, dict[str, Any]]]] = {}
        for resource, obj in objects:
            for owner in obj["metadata"].get("ownerReferences") or ():
                dependents.setdefault(owner.get("uid", ""), []).append((resource, obj))
        is_changed = False
        for resource, obj in objects:
            metadata = obj["metadata"]
            finalizers = metadata.get("finalizers") or []
            mine = dependents.get(metadata["uid"], [])
            if metadata.get("deletionTimestamp") and _ORPHAN in finalizers:
                for dependent_resource, dependent in mine:
                    self._let_go(dependent_resource, dependent, {metadata["uid"]})
                self._finish(resource, obj, _ORPHAN)
                is_changed = True
            elif metadata.get("deletionTimestamp") and _FOREGROUND in finalizers:
                is_changed |= self._foreground(resource, obj, mine, now)
            elif metadata.get("deletionTimestamp") and _PROTECTED in finalizers and not self._is_mounted(obj):
                self._finish(resource, obj, _PROTECTED)
                is_changed = True
            elif metadata.get("ownerReferences"):
                is_changed |= self._check_owners(resource, obj, by_uid, now)
        return is_changed

    def _is_mounted(self, claim: dict[str, Any]) -> bool:
        """Whether a pod that is there uses a claim."""
        metadata = claim["metadata"]
        return any(
            (volume.get("persistentVolumeClaim") or {}).get("claimName") == metadata["name"]
            for pod in self._store.all(self._catalog.built_in("pods"), metadata["namespace"])
            for volume in pod["spec"].get("volumes") or ()
        )

    def _objects(self) -> list[tuple[Resource, dict[str, Any]]]:
        found = []
        for (group, plural), _, obj in self._store.everything():
            resource = self._catalog.of_group(group, plural)
            if resource is not None:
                found.append((resource, obj))
        return found

    def _current(self, resource: Resource, obj: dict[str, Any]) -> dict[str, Any] | None:
        metadata = obj["metadata"]
        found = self._store.get(resource, metadata.get("namespace", ""), metadata["name"])
        return found if found is not None and found["metadata"]["uid"] == metadata["uid"] else None

    def _finish(self, resource: Resource, obj: dict[str, Any], finalizer: str) -> None:
        live = self._current(resource, obj)
        if live is None:
            return
        left = [each for each in live["metadata"].get("finalizers") or () if each != finalizer]
        metadata = {key: value for key, value in live["metadata"].items() if key != "finalizers"}
        if left:
            metadata["finalizers"] = left
        new = live | {"metadata": metadata}
        if left or self._lingers(resource, new):
            self._store.put(resource, new)
        else:
            self._store.remove(resource, new)

    def _foreground(
        self, resource: Resource, obj: dict[str, Any], mine: list[tuple[Resource, dict[str, Any]]], now: float
    ) -> bool:
        is_changed = False
        waiting = False
        for dependent_resource, dependent in mine:
            live = self._current(dependent_resource, dependent)
            if live is None:
                continue
            blocks = any(
                owner.get("uid") == obj["metadata"]["uid"] and owner.get("blockOwnerDeletion")
                for owner in live["metadata"].get("ownerReferences") or ()
            )
            if not live["metadata"].get("deletionTimestamp"):
                self._delete(dependent_resource, live, "Foreground", now)
                is_changed = True
            waiting |= blocks and self._current(dependent_resource, dependent) is not None
        if not waiting:
            self._finish(resource, obj, _FOREGROUND)
            return True
        return is_changed

    def _check_owners(
        self, resource: Resource, obj: dict[str, Any], by_uid: dict[str, dict[str, Any]], now: float
    ) -> bool:
        owners = obj["metadata"]["ownerReferences"]
        absent = {owner.get("uid", "") for owner in owners if not _owns(owner, by_uid, obj)}
        if not absent or obj["metadata"].get("deletionTimestamp"):
            return False
        live = self._current(resource, obj)
        if live is None:
            return False
        if len(absent) < len(owners):
            self._let_go(resource, live, absent)
        else:
            self._delete(resource, live, "Background", now)
        return True

    def _let_go(self, resource: Resource, obj: dict[str, Any], uids: set[str]) -> None:
        live = self._current(resource, obj)
        if live is None:
            return
        owners = [owner for owner in live["metadata"].get("ownerReferences") or () if owner.get("uid") not in uids]
        metadata = {key: value for key, value in live["metadata"].items() if key != "ownerReferences"}
        self._store.put(resource, live | {"metadata": metadata | ({"ownerReferences": owners} if owners else {})})

    def _delete(self, resource: Resource, live: dict[str, Any], policy: str, now: float) -> None:
        self.delete(resource, live, DeleteOptions(policy=policy), background_call(now))

    def _empty_namespaces(self, now: float) -> bool:
        namespaces = self._catalog.built_in("namespaces")
        is_changed = False
        for namespace in self._store.all(namespaces):
            if not namespace["metadata"].get("deletionTimestamp"):
                continue
            name = namespace["metadata"]["name"]
            content = [(r, o) for r, o in self._objects() if r.is_namespaced and o["metadata"]["namespace"] == name]
            for resource, obj in content:
                live = self._current(resource, obj)
                if live is not None and not live["metadata"].get("deletionTimestamp"):
                    self._delete(resource, live, "Background", now)
                    is_changed = True
            left = any(self._current(resource, obj) is not None for resource, obj in content)
            if not left and (namespace.get("spec") or {}).get("finalizers"):
                new = namespace | {"spec": {k: v for k, v in namespace["spec"].items() if k != "finalizers"}}
                if new["metadata"].get("finalizers"):
                    self._store.put(namespaces, new)
                else:
                    self._store.remove(namespaces, new)
                is_changed = True
        return is_changed


def background_call(now: float) -> Call:
    """The circumstances of what the cluster does by itself."""
    return Call(now=now, options=Options(manager="kube-controller-manager"), warnings=[])


def _owns(owner: Mapping[str, Any], by_uid: Mapping[str, dict[str, Any]], obj: Mapping[str, Any]) -> bool:
    found = by_uid.get(owner.get("uid", ""))
    if found is None:
        return False
    namespace = found["metadata"].get("namespace", "")
    return namespace in ("", obj["metadata"].get("namespace", ""))


def _success(resource: Resource, live: dict[str, Any]) -> dict[str, Any]:
    details = {"name": live["metadata"]["name"], "kind": resource.plural, "uid": live["metadata"]["uid"]}
    if resource.group:
        details["group"] = resource.group
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def _forbidden_namespace(name: str) -> Refusal:
    return forbidden("", "namespaces", name, "this namespace may not be deleted")
