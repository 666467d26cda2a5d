"""A Kubernetes cluster without machines: an API server as a value, for tests of whatever talks to one.

`handle` takes a request and answers it; `step` lets the controllers of the cluster (workloads, scheduler, nodes) work.
Guarantees: no socket, no clock, no thread; the same seed and requests give the same answers, names and uids included.
It answers as Kubernetes 1.36 does in everything that `docs/fake-api-server.md` lists, and that page says what is left
out. `io/server.py` puts it on a port.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Any

from penstock.operate.testing.access import Access, User
from penstock.operate.testing.bodies import APPLY, read_body
from penstock.operate.testing.catalog import Catalog
from penstock.operate.testing.controllers import STEPS_MAX, Behaviour, World, run_controllers
from penstock.operate.testing.crds import established
from penstock.operate.testing.deletion import DeleteOptions, Deleter
from penstock.operate.testing.discovery import aggregated, api_groups, api_resources, api_versions, version_of_server
from penstock.operate.testing.faults import LOG_MAX, Faults, Logged
from penstock.operate.testing.kinds import Resource
from penstock.operate.testing.managed import MANAGER_LENGTH_MAX
from penstock.operate.testing.merge import clone
from penstock.operate.testing.openapi import index_of, openapi_v2, openapi_v3
from penstock.operate.testing.requests import BODY_BYTES_MAX, Address, Answer, Options, Request, address_of
from penstock.operate.testing.special import Special
from penstock.operate.testing.status import (
    Refusal,
    bad_request,
    method_not_allowed,
    not_found,
    route_not_found,
)
from penstock.operate.testing.store import Store
from penstock.operate.testing.tables import table_of
from penstock.operate.testing.verbs import Verbs
from penstock.operate.testing.writing import Call, Writer, rfc3339

__all__ = ["NAMESPACES", "Cluster"]

BEGINS_AT = 1_767_225_600.0
"""When a cluster was made whose maker does not say: 1 January 2026, 00:00 UTC."""
NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
"""What every cluster begins with."""


class Cluster:
    """One cluster. Owned by one test; not safe to use from two threads at once."""

    def __init__(
        self, seed: int = 0, *, tokens: Mapping[str, User] | None = None, now: float = 1_767_225_600.0
    ) -> None:
        """`tokens`: who may come, by bearer token; None: everybody is an administrator. `now`: when it was made."""
        self.random = Random(seed)
        self.store = Store()
        self.catalog = Catalog()
        self.faults = Faults()
        self.requests: list[Logged] = []
        self.behaviour = Behaviour()
        """How simulated nodes behave; a test may change it at any time."""
        self.is_collecting = True
        """Whether garbage is collected and namespaces emptied after each request; False leaves it to `collect`."""
        self.access = Access(self.store, self.catalog, tokens)
        self.on_change: list[Callable[[], None]] = []
        """Called after requests and steps that changed something; watches are polled then."""
        self._writer = Writer(self.store, self.catalog, self.random)
        self._deleter = Deleter(self.store, self.catalog)
        self._acts = Special(self.store, self.catalog, self._deleter)
        self._verbs = Verbs(self.store, self.catalog, self._writer, self._deleter)
        for name in NAMESPACES:
            self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, now=now)

    def handle(self, request: Request, now: float) -> Answer:
        """Answers one request; `now` in Unix seconds. Refusals are answers too. Every request is logged."""
        revision = self.store.revision
        warnings: list[str] = []
        user = User(name="")
        try:
            user = self.access.user_of(request.headers)
            answer = self._answer(request, user, now, warnings)
        except Refusal as refusal:
            answer = Answer(code=refusal.code, body=refusal.body(), headers=refusal.headers)
        if answer.body is not None:
            answer = replace(answer, body=clone(answer.body))
        if warnings:
            shown = ", ".join(f'299 - "{_escaped(each)}"' for each in dict.fromkeys(warnings))
            answer = replace(answer, headers={**answer.headers, "Warning": shown})
        self._log(request, answer.code, user)
        if self.store.revision != revision:
            self._settle(now)
        return answer

    def log(self, request: Request, code: int) -> None:
        """Logs a request that a fault answered."""
        self._log(request, code, User(name=""))

    def _log(self, request: Request, code: int, user: User) -> None:
        if len(self.requests) >= LOG_MAX:
            del self.requests[: LOG_MAX // 2]
        self.requests.append(
            Logged(
                method=request.method,
                path=request.path,
                query=dict(request.query),
                content_type=request.headers.get("content-type", ""),
                body=_logged_body(request.body),
                code=code,
                user=user.name,
            )
        )

    def _settle(self, now: float) -> None:
        self._refresh_definitions(now)
        if self.is_collecting:
            self._deleter.collect(now)
            self._refresh_definitions(now)
        for notify in list(self.on_change):
            notify()

    def collect(self, now: float) -> bool:
        """Collects garbage and empties namespaces; whether there was anything to do."""
        did = self._deleter.collect(now)
        if did:
            self._settle(now)
        return did

    def _refresh_definitions(self, now: float) -> None:
        """Serves what definitions define; what a definition that went had served goes with it."""
        crds = self.catalog.built_in("customresourcedefinitions", "apiextensions.k8s.io")
        served = {resource.crd for resource in self.catalog.resources if resource.crd}
        found = self.store.all(crds)
        for crd in found:
            status = established(crd, rfc3339(now))
            if status != crd.get("status"):
                crd = self.store.put(crds, crd | {"status": status})
            self.catalog.define(crd)
        for name in served - {crd["metadata"]["name"] for crd in found}:
            for resource in [r for r in self.catalog.resources if r.crd == name]:
                for obj in self.store.all(resource):
                    self.store.remove(resource, obj)
            self.catalog.undefine(name)

    def _answer(self, request: Request, user: User, now: float, warnings: list[str]) -> Answer:
        if len(request.body) > BODY_BYTES_MAX:
            words = f"Request entity too large: limit is {BODY_BYTES_MAX}"
            raise Refusal(413, "RequestEntityTooLarge", words)
        address = address_of(request.path)
        if address is None:
            return self._other(request)
        resource = self.catalog.find(address.group, address.version, address.plural)
        if resource is None or (address.subresource and address.subresource not in resource.subresources):
            raise route_not_found()
        if resource.is_namespaced is False and address.namespace:
            raise route_not_found()
        self.access.check(user, request, resource, address)
        if resource.verbs == ("create",):
            if request.method != "POST":
                raise method_not_allowed()
            return Answer(code=201, body=self.access.review(resource, address, self._review(request), user))
        answer = self._carry_out(request, resource, address, now, warnings)
        return self._in_form(request, resource, answer, now)

    def _review(self, request: Request) -> Any:
        return read_body(request.body, request.headers, request.method)[0]

    def _in_form(self, request: Request, resource: Resource, answer: Answer, now: float) -> Answer:
        """As a table, if that is what the client accepts first."""
        accepted = request.headers.get("accept", "").split(",")[0]
        if "as=Table" not in accepted or "v=v1" not in accepted.replace(" ", ""):
            return answer
        if answer.watch is not None:
            answer.watch.is_table = True
            return answer
        if (
            request.method != "GET"
            or not isinstance(answer.body, dict)
            or answer.body.get("kind") in ("Status", "Scale")
        ):
            return answer
        include = request.query.get("includeObject", "Metadata")
        return Answer(code=answer.code, body=table_of(resource, answer.body, now, include), headers=answer.headers)

    def _carry_out(
        self, request: Request, resource: Resource, address: Address, now: float, warnings: list[str]
    ) -> Answer:
        content_type = request.headers.get("content-type", "").split(";")[0].strip()
        body, twice = read_body(request.body, request.headers, request.method)
        sent = body if isinstance(body, dict) and request.method == "DELETE" else None
        options = Options.of(request.query, request.headers, sent)
        if len(options.manager) > MANAGER_LENGTH_MAX:
            raise bad_request(f"invalid: fieldManager: Too long: may not be more than {MANAGER_LENGTH_MAX} bytes")
        self._notice_duplicates(twice, options, warnings)
        call = Call(now=now, options=options, warnings=warnings, subresource=address.subresource)
        if address.subresource in ("eviction", "binding", "log"):
            return self._special(request, resource, address, call, body)
        where = address.namespace
        match request.method, bool(address.name):
            case "GET" | "HEAD", True:
                if request.query.get("watch") in ("true", "1"):
                    return self._list(request, resource, where, name=address.name)
                found = self._verbs.get(resource, where, address.name, address.subresource)
                return Answer(body=self._shown(resource, found))
            case "GET" | "HEAD", False:
                return self._list(request, resource, where)
            case "POST", False:
                return Answer(code=201, body=self._shown(resource, self._verbs.create(resource, where, body, call)))
            case "PUT", True:
                return Answer(body=self._shown(resource, self._verbs.update(resource, where, address.name, body, call)))
            case "PATCH", True:
                if content_type == APPLY and not request.query.get("fieldManager"):
                    raise _manager_required()
                obj, is_new = self._verbs.patch(
                    resource, where, address.name, body, content_type=content_type, call=call
                )
                return Answer(code=201 if is_new else 200, body=self._shown(resource, obj))
            case "DELETE", True:
                delete = DeleteOptions.of(request.query, sent)
                left, _ = self._verbs.delete(resource, where, address.name, delete, call)
                return Answer(body=left)
            case "DELETE", False:
                wanted = self._verbs.filter_of(resource, where or None, request.query)
                delete = DeleteOptions.of(request.query, sent)
                return Answer(body=self._verbs.delete_all(wanted, delete, call, request.query))
        raise method_not_allowed()

    def _notice_duplicates(self, twice: list[str], options: Options, warnings: list[str]) -> None:
        words = [f'duplicate field "{path}"' for path in twice]
        if words and options.validation == "Strict":
            raise bad_request("strict decoding error: " + ", ".join(words))
        if options.validation != "Ignore":
            warnings.extend(words)

    def _shown(self, resource: Resource, obj: dict[str, Any]) -> dict[str, Any]:
        return obj if obj.get("kind") == "Scale" else self.catalog.presented(resource, obj)

    def _list(self, request: Request, resource: Resource, namespace: str, *, name: str = "") -> Answer:
        query = dict(request.query)
        if name:
            query["fieldSelector"] = f"metadata.name={name}"
        wanted = self._verbs.filter_of(resource, namespace or None, query)
        if query.get("watch") in ("true", "1"):
            timeout_s = float(query.get("timeoutSeconds") or 0)
            return Answer(watch=self._verbs.watch(wanted, query), timeout_s=timeout_s)
        return Answer(body=self._verbs.list(wanted, query))

    def _special(self, request: Request, resource: Resource, address: Address, call: Call, body: Any) -> Answer:
        match request.method, address.subresource:
            case "POST", "eviction":
                return Answer(code=201, body=self._acts.evict(resource, address, body, call))
            case "POST", "binding":
                return Answer(code=201, body=self._acts.bind(resource, address, body))
            case "GET", "log":
                return Answer(text=self._acts.log(resource, address), content_type="text/plain")
        raise method_not_allowed()

    def _other(self, request: Request) -> Answer:
        """Discovery, health and version."""
        path = request.path.rstrip("/")
        resources = self.catalog.resources
        accepts = request.headers.get("accept", "")
        is_aggregated = "as=APIGroupDiscoveryList" in accepts and "v=v2;" in accepts.replace("v=v2,", "v=v2;") + ";"
        parts = path.split("/")[1:]
        if path in ("/api", "/apis") and is_aggregated:
            answer = aggregated(resources, is_core=path == "/api")
            kind = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
            return Answer(body=answer, content_type=kind)
        match parts:
            case ["api"]:
                return Answer(body=api_versions(request.headers.get("host", "")))
            case ["apis"]:
                return Answer(body=api_groups(resources))
            case ["api", version]:
                found = api_resources(resources, "", version)
            case ["apis", group]:
                groups = [row for row in api_groups(resources)["groups"] if row["name"] == group]
                if not groups:
                    raise route_not_found()
                return Answer(body={"kind": "APIGroup", "apiVersion": "v1"} | groups[0])
            case ["apis", group, version]:
                found = api_resources(resources, group, version)
            case ["openapi", "v3"]:
                return Answer(body=index_of(self.catalog))
            case ["openapi", "v3", *place]:
                document = openapi_v3(self.catalog, "/".join(place))
                if document is None:
                    raise route_not_found()
                return Answer(body=document)
            case ["openapi", "v2"]:
                if "json" not in accepts and "*/*" not in accepts:
                    raise Refusal(406, "NotAcceptable", "only application/json is served here", {})
                return Answer(body=openapi_v2(self.catalog))
            case ["version"]:
                return Answer(body=version_of_server())
            case ["healthz" | "readyz" | "livez"]:
                return Answer(text="ok", content_type="text/plain; charset=utf-8")
            case _:
                raise Refusal(404, "NotFound", "the server could not find the requested resource")
        if not found["resources"]:
            raise route_not_found()
        return Answer(body=found)

    def step(self, now: float) -> bool:
        """Lets the cluster's controllers work until nothing changes at `now`; whether anything did.

        `now` is in Unix seconds and does not go back. What needs time (a pod that starts) happens in the step whose
        `now` is late enough.
        """
        revision = self.store.revision
        world = World(self.store, self.catalog, self._writer, self._deleter, behaviour=self.behaviour, now=now)
        for _ in range(STEPS_MAX):
            before = self.store.revision
            run_controllers(world)
            if self.is_collecting:
                self._deleter.collect(now)
            if self.store.revision == before:
                break
        if self.store.revision != revision:
            self._settle(now)
        return self.store.revision != revision

    # What a test uses without HTTP. Each acts as an administrator and raises `Refusal`.

    def create(self, obj: dict[str, Any], *, now: float = 0.0, manager: str = "test") -> dict[str, Any]:
        """Creates an object of any kind."""
        resource = self._resource_of(obj["apiVersion"], obj["kind"])
        namespace = obj.get("metadata", {}).get("namespace", "default") if resource.is_namespaced else ""
        created = self._verbs.create(resource, namespace, obj, self._call(now, manager))
        self._settle(now)
        return self._copy(created)

    def apply(
        self, obj: dict[str, Any], *, now: float = 0.0, manager: str = "test", is_forced: bool = False
    ) -> dict[str, Any]:
        """Applies an object of any kind, server-side."""
        resource = self._resource_of(obj["apiVersion"], obj["kind"])
        namespace = obj["metadata"].get("namespace", "default") if resource.is_namespaced else ""
        call = self._call(now, manager, is_forced=is_forced)
        applied, _ = self._verbs.patch(resource, namespace, obj["metadata"]["name"], obj, content_type=APPLY, call=call)
        self._settle(now)
        return self._copy(applied)

    def update(
        self, obj: dict[str, Any], *, now: float = 0.0, manager: str = "test", subresource: str = ""
    ) -> dict[str, Any]:
        """Replaces an object, or its status."""
        resource = self._resource_of(obj["apiVersion"], obj["kind"])
        metadata = obj["metadata"]
        call = self._call(now, manager, subresource=subresource)
        updated = self._verbs.update(resource, metadata.get("namespace", ""), metadata["name"], obj, call)
        self._settle(now)
        return self._copy(updated)

    def get(self, api_version: str, kind: str, name: str, namespace: str = "default") -> dict[str, Any] | None:
        """A copy of an object, or None."""
        resource = self._resource_of(api_version, kind)
        found = self.store.get(resource, namespace if resource.is_namespaced else "", name)
        return None if found is None else self._copy(found)

    def list(self, api_version: str, kind: str, namespace: str | None = None) -> list[dict[str, Any]]:
        """Copies of the objects of a kind, of one namespace or of all."""
        return [self._copy(obj) for obj in self.store.all(self._resource_of(api_version, kind), namespace)]

    @staticmethod
    def _copy(obj: dict[str, Any]) -> dict[str, Any]:
        copied: dict[str, Any] = clone(obj)
        return copied

    def delete(
        self, api_version: str, kind: str, name: str, namespace: str = "default", *, now: float = 0.0, policy: str = ""
    ) -> bool:
        """Deletes an object; whether it is gone already."""
        resource = self._resource_of(api_version, kind)
        where = namespace if resource.is_namespaced else ""
        _, is_gone = self._verbs.delete(resource, where, name, DeleteOptions(policy=policy), self._call(now, "test"))
        self._settle(now)
        return is_gone

    def compact(self) -> None:
        """Forgets the history: watches and lists from before get 410."""
        self.store.compact()
        for notify in list(self.on_change):
            notify()

    def _resource_of(self, api_version: str, kind: str) -> Resource:
        found = self.catalog.of_kind(api_version, kind)
        if found is None:
            raise not_found("", "kinds", f"{api_version} {kind}")
        return found

    def _call(self, now: float, manager: str, *, subresource: str = "", is_forced: bool | None = None) -> Call:
        options = Options(manager=manager, validation="Strict", is_forced=is_forced)
        return Call(now=now, options=options, warnings=[], subresource=subresource)


def _manager_required() -> Refusal:
    words = "fieldManager: Required value: is required for apply patch"
    cause = {"reason": "FieldValueRequired", "message": words.partition(": ")[2], "field": "fieldManager"}
    details = {"group": "meta.k8s.io", "kind": "PatchOptions", "causes": [cause]}
    return Refusal(422, "Invalid", f'PatchOptions.meta.k8s.io "" is invalid: {words}', details)


def _logged_body(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body.decode("utf-8", "replace")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
