"""The verbs on objects: get, list, watch, create, update, patch, delete, and the scale of a workload.

Guarantees: answers and refusals as the real server's, including optimistic concurrency, dry run, preconditions and
paging. Leaves to others: paths and access (`cluster.py`), what a write fills in (`writing.py`). Pure.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from penstock.operate.testing import managed
from penstock.operate.testing.bodies import APPLY
from penstock.operate.testing.catalog import Catalog
from penstock.operate.testing.deletion import DeleteOptions, Deleter
from penstock.operate.testing.kinds import Resource
from penstock.operate.testing.merge import clone
from penstock.operate.testing.patches import json_patch, merge_patch, strategic_patch
from penstock.operate.testing.scale import scale_of, scale_resource, with_scale
from penstock.operate.testing.selectors import parse_fields, parse_labels
from penstock.operate.testing.status import Refusal, bad_request, conflict, expired, not_found, unsupported_media_type
from penstock.operate.testing.store import Store
from penstock.operate.testing.watches import Filter, Watch
from penstock.operate.testing.writing import Call, Writer, rfc3339

__all__ = ["Verbs"]

_JSON_PATCH = "application/json-patch+json"
_MERGE_PATCH = "application/merge-patch+json"
_STRATEGIC = "application/strategic-merge-patch+json"


class Verbs:
    """The verbs over one store. Owned by one `Cluster`."""

    def __init__(self, store: Store, catalog: Catalog, writer: Writer, deleter: Deleter) -> None:
        self._store = store
        self._catalog = catalog
        self._writer = writer
        self._deleter = deleter

    def _live(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        found = self._store.get(resource, namespace, name)
        if found is None:
            raise not_found(resource.group, resource.plural, name)
        return found

    def get(self, resource: Resource, namespace: str, name: str, subresource: str = "") -> dict[str, Any]:
        live = self._live(resource, namespace, name)
        return scale_of(resource, live) if subresource == "scale" else live

    def filter_of(self, resource: Resource, namespace: str | None, query: Mapping[str, str]) -> Filter:
        return Filter(
            resource=resource,
            namespace=namespace,
            labels=parse_labels(query.get("labelSelector", "")),
            fields=parse_fields(query.get("fieldSelector", ""), resource.plural, resource.api_version, resource.kind),
        )

    def list(self, wanted: Filter, query: Mapping[str, str]) -> dict[str, Any]:
        """A list, or a page of one: `limit` and `continue`."""
        revision = _revision(query.get("resourceVersion", ""), "resourceVersion")
        if query.get("sendInitialEvents"):
            raise _no_list_option("sendInitialEvents", "sendInitialEvents is forbidden for list")
        self._check_match(query, revision)
        found = [obj for obj in self._store.all(wanted.resource, wanted.namespace) if wanted.takes(obj)]
        metadata: dict[str, Any] = {"resourceVersion": str(self._store.revision)}
        limit = int(query.get("limit") or 0)
        start = 0
        if token := query.get("continue"):
            if query.get("resourceVersion", "0") not in ("", "0"):
                raise bad_request("specifying resource version is not allowed when using continue")
            at, after = _continued(token)
            if at < self._store.compacted:
                raise expired(
                    "The provided continue parameter is too old to display a consistent list result. You can start a "
                    "new list without the continue parameter."
                )
            metadata["resourceVersion"] = str(at)
            start = next((i for i, obj in enumerate(found) if _key(obj) > after), len(found))
        if limit and start + limit < len(found):
            last = found[start + limit - 1]
            metadata["continue"] = _continue(int(metadata["resourceVersion"]), _key(last))
            if not (wanted.labels or wanted.fields):
                metadata["remainingItemCount"] = len(found) - start - limit
            found = found[start : start + limit]
        else:
            found = found[start:]
        resource = wanted.resource
        return {
            "kind": resource.kind_of_list,
            "apiVersion": resource.api_version,
            "metadata": metadata,
            "items": [self._catalog.presented(resource, obj) for obj in found],
        }

    def _check_match(self, query: Mapping[str, str], revision: int | None) -> None:
        match = query.get("resourceVersionMatch", "")
        if match and match not in ("Exact", "NotOlderThan"):
            raise _no_list_option("resourceVersionMatch", f'Unsupported value: "{match}"')
        if match and revision is None:
            raise _no_list_option(
                "resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided"
            )
        if match == "Exact" and revision is not None and revision < self._store.compacted:
            raise expired(f"The resourceVersion for the provided list is too old: {revision}")
        if revision is not None and revision > self._store.revision:
            raise _too_large(revision, self._store.revision)

    def watch(self, wanted: Filter, query: Mapping[str, str]) -> Watch:
        """A watch from `resourceVersion` on; without one (or 0) it begins with what there is.

        Raises:
            Refusal: 410 where the history is gone, 422 for initial events, which this server does not send.
        """
        if query.get("sendInitialEvents"):
            raise _no_list_option(
                "sendInitialEvents",
                "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled",
            )
        revision = _revision(query.get("resourceVersion", ""), "resourceVersion")
        first: list[dict[str, Any]] = []
        if not revision:
            revision = self._store.revision
            first = [obj for obj in self._store.all(wanted.resource, wanted.namespace) if wanted.takes(obj)]
        elif revision > self._store.revision:
            raise _too_large(revision, self._store.revision)
        self._store.since(revision)
        has_bookmarks = query.get("allowWatchBookmarks") in ("true", "1")
        return Watch(self._store, wanted, revision, first=first, has_bookmarks=has_bookmarks)

    def create(self, resource: Resource, namespace: str, body: Any, call: Call) -> dict[str, Any]:
        return self._writer.create(resource, self._writer.checked_body(resource, namespace, body, call), call)

    def update(self, resource: Resource, namespace: str, name: str, body: Any, call: Call) -> dict[str, Any]:
        live = self._live(resource, namespace, name)
        if call.subresource == "scale":
            return self._update_scale(resource, live, body, call)
        obj = self._writer.checked_body(resource, namespace, body, call)
        sent = obj["metadata"].get("name")
        if sent != name:
            raise bad_request(
                f"the name of the object ({sent or ''}) does not match the name on the URL ({name})"
                if sent
                else "name must be provided"
            )
        return self._writer.update(resource, live, obj, call)

    def _update_scale(self, resource: Resource, live: dict[str, Any], scale: Any, call: Call) -> dict[str, Any]:
        if not isinstance(scale, dict):
            raise bad_request("the body is not a Scale")
        stated = (scale.get("metadata") or {}).get("resourceVersion")
        if stated and stated != live["metadata"]["resourceVersion"]:
            raise conflict(resource.group, resource.plural, live["metadata"]["name"])
        new = self._writer.update(resource, live, with_scale(resource, live, scale), call)
        return scale_of(resource, new)

    def patch(
        self, resource: Resource, namespace: str, name: str, patch: Any, *, content_type: str, call: Call
    ) -> tuple[dict[str, Any], bool]:
        """The patched object, and whether it is new (an apply creates)."""
        if content_type == APPLY:
            return self._apply(resource, namespace, name, patch, call)
        if call.options.is_forced is not None:
            raise _invalid_options("force", "Forbidden: may not be specified for non-apply patch")
        live = self._live(resource, namespace, name)
        if call.subresource == "scale":
            before = scale_of(resource, live)
            after = self._patched(scale_resource(), before, patch, content_type)
            return self._update_scale(resource, live, after, call), False
        after = self._patched(resource, live, patch, content_type)
        sent = after.get("metadata", {}).get("name") if isinstance(after, dict) else None
        if sent != name:
            raise bad_request(f"the name of the object ({sent or ''}) does not match the name on the URL ({name})")
        obj = self._writer.checked_body(resource, namespace, after, call, patch=patch)
        return self._writer.update(resource, live, obj, call), False

    def _patched(self, resource: Resource, live: dict[str, Any], patch: Any, content_type: str) -> Any:
        allowed = [_JSON_PATCH, _MERGE_PATCH, *([] if resource.crd else [_STRATEGIC]), APPLY]
        if content_type not in allowed:
            raise unsupported_media_type(allowed)
        basis = self._catalog.presented(resource, live)
        if content_type == _JSON_PATCH:
            return json_patch(basis, patch)
        if not isinstance(patch, dict):
            raise bad_request("the patch is not an object")
        if content_type == _MERGE_PATCH:
            return merge_patch(basis, patch)
        return strategic_patch(basis, patch, self._catalog.shape(resource))

    def _apply(
        self, resource: Resource, namespace: str, name: str, body: Any, call: Call
    ) -> tuple[dict[str, Any], bool]:
        if call.subresource == "scale":
            raise unsupported_media_type([_JSON_PATCH, _MERGE_PATCH, _STRATEGIC])
        if (body.get("metadata") or {}).get("managedFields") if isinstance(body, dict) else False:
            raise bad_request("metadata.managedFields must be nil")
        if isinstance(body, dict) and isinstance(body.get("metadata") or {}, dict):
            body = body | {"metadata": {"name": name} | (body.get("metadata") or {})}
        self._catalog.refuse_undeclared(resource, body, namespace)
        applied = self._writer.checked_body(resource, namespace, body, call)
        if applied["metadata"]["name"] != name:
            raise bad_request(
                f"the name of the object ({applied['metadata']['name']}) does not match the name on the URL ({name})"
            )
        self._catalog.merge_problems(resource, applied)
        live = self._store.get(resource, namespace, name)
        basis = live or {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {}}
        if live is not None:
            basis = self._catalog.presented(resource, live)
        elif call.subresource:
            raise not_found(resource.group, resource.plural, name)
        kept = _of_subresource(resource, applied, call.subresource)
        merged = managed.apply(
            basis,
            kept,
            self._writer.manager(resource, call, "Apply"),
            self._catalog.shape(resource),
            rfc3339(call.now),
            is_forced=bool(call.options.is_forced),
        )
        if live is None:
            if applied["metadata"].get("uid"):
                why = f"Precondition failed: UID in precondition: {applied['metadata']['uid']}, UID in object meta: "
                raise conflict(resource.group, resource.plural, name, why)
            merged = merged | {"metadata": {k: v for k, v in merged["metadata"].items() if k != "resourceVersion"}}
            return self._writer.create(resource, merged, call, owned=True), True
        return self._writer.update(resource, live, merged, call, owned=True), False

    def delete(
        self, resource: Resource, namespace: str, name: str, options: DeleteOptions, call: Call
    ) -> tuple[dict[str, Any], bool]:
        """What is left of the object, or a Status; and whether it is gone."""
        return self._deleter.delete(resource, self._live(resource, namespace, name), options, call)

    def delete_all(
        self, wanted: Filter, options: DeleteOptions, call: Call, query: Mapping[str, str]
    ) -> dict[str, Any]:
        """Deletes each object of a list; answers the list as it was."""
        found = self.list(wanted, query)
        for obj in found["items"]:
            self._deleter.delete(wanted.resource, obj, options, call)
        return found


def _of_subresource(resource: Resource, applied: dict[str, Any], subresource: str) -> dict[str, Any]:
    """The part of an applied object that this path may write."""
    if subresource == "status":
        metadata = {
            key: value
            for key, value in applied["metadata"].items()
            if key in ("name", "namespace", "uid", "resourceVersion")
        }
        return {k: v for k, v in applied.items() if k in ("apiVersion", "kind", "status")} | {"metadata": metadata}
    if "status" in resource.subresources:
        return {key: value for key, value in applied.items() if key != "status"}
    kept: dict[str, Any] = clone(applied)
    return kept


def _revision(text: str, name: str) -> int | None:
    if not text:
        return None
    if not text.isdigit():
        raise bad_request(
            f'invalid resource version: {name}: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": '
            "invalid syntax"
        )
    return int(text)


def _key(obj: dict[str, Any]) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _continue(revision: int, after: tuple[str, str]) -> str:
    text = json.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": "/".join(after)}, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _continued(token: str) -> tuple[int, tuple[str, str]]:
    try:
        found = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        namespace, _, name = str(found["start"]).partition("/")
        return int(found["rv"]), (namespace, name)
    except (ValueError, KeyError, TypeError) as error:
        raise bad_request("continue key is not valid: illegal base64 data") from error


def _too_large(asked: int, current: int) -> Refusal:
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    message = f"Timeout: Too large resource version: {asked}, current: {current}"
    return Refusal(504, "Timeout", message, {"causes": [cause], "retryAfterSeconds": 1}, {"Retry-After": "1"})


def _no_list_option(field: str, words: str) -> Refusal:
    message = f'ListOptions.meta.k8s.io "" is invalid: {field}: Forbidden: {words}'
    cause = {"reason": "FieldValueForbidden", "message": f"Forbidden: {words}", "field": field}
    return Refusal(422, "Invalid", message, {"group": "meta.k8s.io", "kind": "ListOptions", "causes": [cause]})


def _invalid_options(field: str, words: str) -> Refusal:
    message = f'PatchOptions.meta.k8s.io "" is invalid: {field}: {words}'
    cause = {"reason": "FieldValueForbidden", "message": words, "field": field}
    return Refusal(422, "Invalid", message, {"group": "meta.k8s.io", "kind": "PatchOptions", "causes": [cause]})
