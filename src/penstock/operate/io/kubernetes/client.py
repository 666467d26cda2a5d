"""The port `KubeApi` over a session: paths, paging, server-side apply, watches that go on where they broke."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
from kr8s import APITimeoutError

from penstock.operate.apply.failures import Absent, ApiFailure, Asked, Busy, Stale, failure_of, kind_absent
from penstock.operate.apply.objects import FIELD_MANAGER, Object, Ref, ref_of
from penstock.operate.apply.port import Applied, Event, Listing, Propagation, Resource
from penstock.operate.io.kubernetes.session import Patience, Session, open_session

__all__ = ["Client", "open_client"]

_PAGE = 500
_LOG_BYTES_MAX = 64 * 1024
_WATCH_S = 290
"""A watch is asked for again before proxies cut it at five minutes."""
_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')


class Client:
    """One cluster. Its methods are those of `KubeApi`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._kinds: dict[str, dict[str, Resource]] = {}

    @property
    def context(self) -> str:
        return self._session.context

    @property
    def url(self) -> str:
        return self._session.url

    @property
    def namespace(self) -> str:
        return self._session.namespace

    async def version(self) -> str | None:
        """Version of the API server, as in `1.36.2`; None where it does not say."""
        answer = await self._session.request("GET", "/version", Asked(verb="get", resource="the version"))
        found = re.match(r"v?(\d+\.\d+(?:\.\d+)?)", str(answer.json().get("gitVersion", "")))
        return found.group(1) if found is not None else None

    async def resource(self, api_version: str, kind: str) -> Resource:
        known = self._kinds.get(api_version, {}).get(kind)
        if known is None:
            self._kinds[api_version] = await self._discovered(api_version)
            known = self._kinds[api_version].get(kind)
        if known is None:
            cluster = self._session.asked(Asked(verb="get", resource=kind)).cluster
            raise kind_absent(api_version, kind, cluster)
        return known

    async def _discovered(self, api_version: str) -> dict[str, Resource]:
        asked = Asked(verb="get", resource=f"the kinds of {api_version}")
        try:
            answer = await self._session.request("GET", _prefix(api_version), asked)
        except Absent:
            return {}
        found = {}
        for row in answer.json().get("resources", ()):
            if "/" not in row["name"]:
                found[row["kind"]] = Resource(
                    api_version=api_version, kind=row["kind"], plural=row["name"], is_namespaced=row["namespaced"]
                )
        return found

    async def get(self, ref: Ref) -> Object | None:
        resource = await self.resource(ref.api_version, ref.kind)
        try:
            answer = await self._session.request("GET", _path(resource, ref), _asked("get", resource, ref))
        except Absent:
            return None
        found: Object = answer.json()
        return found

    async def list(
        self, api_version: str, kind: str, *, namespace: str | None, labels: Mapping[str, str] | None = None
    ) -> Listing:
        resource = await self.resource(api_version, kind)
        for _ in range(3):  # a list whose pages have expired is begun again
            try:
                return await self._listed(resource, namespace, labels or {})
            except Stale:
                continue
        return await self._listed(resource, namespace, labels or {}, page=0)

    async def _listed(
        self, resource: Resource, namespace: str | None, labels: Mapping[str, str], page: int = _PAGE
    ) -> Listing:
        asked = Asked(verb="list", resource=resource.qualified, namespace=namespace)
        params = {**_selected(labels), **({"limit": str(page)} if page else {})}
        items: list[Object] = []
        while True:
            answer = await self._session.request("GET", _collection(resource, namespace), asked, params=params)
            body = answer.json()
            # Items of a list carry neither kind nor apiVersion.
            items += [{"apiVersion": resource.api_version, "kind": resource.kind, **i} for i in body["items"] or ()]
            token = body["metadata"].get("continue")
            if not token:
                return Listing(items=tuple(items), resource_version=body["metadata"].get("resourceVersion", ""))
            params = {**params, "continue": token}

    async def apply(self, obj: Object, *, is_dry_run: bool = False, is_forced: bool = False) -> Applied:
        ref = ref_of(obj)
        resource = await self.resource(ref.api_version, ref.kind)
        params = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict", "force": str(is_forced).lower()}
        if is_dry_run:
            params["dryRun"] = "All"
        answer = await self._patch(_path(resource, ref), _asked("patch", resource, ref), params, obj)
        warnings = _WARNING.findall(answer.headers.get("warning", ""))
        return Applied(object=answer.json(), is_new=answer.status_code == 201, warnings=tuple(warnings))

    async def apply_status(self, obj: Object) -> Object:
        ref = ref_of(obj)
        resource = await self.resource(ref.api_version, ref.kind)
        params = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict", "force": "true"}
        answer = await self._patch(f"{_path(resource, ref)}/status", _asked("patch", resource, ref), params, obj)
        found: Object = answer.json()
        return found

    async def _patch(self, path: str, asked: Asked, params: Mapping[str, str], obj: Object) -> httpx.Response:
        content_type = "application/apply-patch+yaml"
        return await self._session.request("PATCH", path, asked, params=params, body=obj, content_type=content_type)

    async def delete(self, ref: Ref, *, uid: str, propagation: Propagation = "Foreground") -> bool:
        resource = await self.resource(ref.api_version, ref.kind)
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
            "preconditions": {"uid": uid},
        }
        asked = _asked("delete", resource, ref)
        try:
            await self._session.request("DELETE", _path(resource, ref), asked, body=options)
        except (Absent, Stale):  # gone, or another of the same name in its place
            return False
        return True

    async def watch(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None,
        since: str,
        labels: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Event]:
        resource = await self.resource(api_version, kind)
        asked = Asked(verb="watch", resource=resource.qualified, namespace=namespace)
        path = _collection(resource, namespace)
        params = {**_selected(labels or {}), "watch": "true", "allowWatchBookmarks": "true"}
        params |= {"timeoutSeconds": str(_WATCH_S)}
        tried = 0
        while True:
            failure: ApiFailure | None = None
            api = self._session.api
            try:
                async with self._session.stream(path, {**params, "resourceVersion": since}) as response:
                    if response.status_code >= 400:
                        await response.aread()
                        failure = self._session.failure(response, asked)
                    else:
                        async for event in self._events(response, asked):
                            since, tried = event.object["metadata"]["resourceVersion"], 0
                            if event.type != "BOOKMARK":
                                kinded = {"apiVersion": api_version, "kind": kind, **event.object}
                                yield Event(type=event.type, object=kinded)
            except Busy as error:
                failure = error
            except (httpx.HTTPError, APITimeoutError) as error:
                failure = self._session.unreachable(error, asked)
            if failure is not None and failure.code == 401 and tried == 0:
                await self._session.renew(api)
            elif failure is not None and 400 <= failure.code < 500 and failure.code not in (401, 429):
                raise failure
            tried += failure is not None
            if failure is not None and tried >= self._session.patience.tries:
                raise failure
            # A watch that ended in good order is asked for again at once, but never in a tight loop.
            await asyncio.sleep(self._session.patience.pause_s(max(0, tried - 1)))

    async def _events(self, response: httpx.Response, asked: Asked) -> AsyncIterator[Event]:
        async for line in response.aiter_lines():
            if not line:
                continue
            try:
                event: dict[str, Any] = json.loads(line)
            except ValueError as error:  # the connection broke in the middle of a line
                raise httpx.RemoteProtocolError("a line of the watch is cut short") from error
            if event["type"] == "ERROR":
                status = event["object"]
                raise failure_of(int(status.get("code") or 500), status, self._session.asked(asked))
            yield Event(type=event["type"], object=event["object"])

    async def log_tail(self, namespace: str, pod: str, container: str, *, lines: int = 20) -> str:
        asked = Asked(verb="get", resource="pods/log", namespace=namespace)
        params = {"container": container, "tailLines": str(lines), "limitBytes": str(_LOG_BYTES_MAX)}
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        with contextlib.suppress(ApiFailure):  # words about a failure must not fail themselves
            answer = await self._session.request("GET", path, asked, params=params)
            return answer.text
        return ""


@contextlib.asynccontextmanager
async def open_client(
    *, context: str | None = None, kubeconfig: str | None = None, patience: Patience | None = None
) -> AsyncIterator[Client]:
    """A client of the context's cluster; raises as `open_session`."""
    async with open_session(context=context, kubeconfig=kubeconfig, patience=patience) as session:
        yield Client(session)


def _prefix(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def _collection(resource: Resource, namespace: str | None) -> str:
    inside = f"/namespaces/{namespace}" if resource.is_namespaced and namespace else ""
    return f"{_prefix(resource.api_version)}{inside}/{resource.plural}"


def _path(resource: Resource, ref: Ref) -> str:
    return f"{_collection(resource, ref.namespace)}/{ref.name}"


def _asked(verb: str, resource: Resource, ref: Ref) -> Asked:
    namespace = ref.namespace if resource.is_namespaced else None
    return Asked(verb=verb, resource=resource.qualified, ref=ref, namespace=namespace)


def _selected(labels: Mapping[str, str]) -> dict[str, str]:
    return {"labelSelector": ",".join(f"{k}={v}" for k, v in sorted(labels.items()))} if labels else {}
