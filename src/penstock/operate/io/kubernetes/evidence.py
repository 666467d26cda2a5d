"""Reads a live cluster for doctor: page by page, a little of each object, last lines of logs of what is ill.

Guarantees: changes nothing and reads no Secret (whether one is there is asked as a table of names); memory, requests
and time are bounded; the order is the same whatever answers first; what may not or could not be read is a problem in
words, and the rest is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from penstock.errors import Problem
from penstock.operate.apply.failures import Absent, ApiFailure, Asked, Denied, Invalid, KindAbsent, Stale
from penstock.operate.apply.port import Resource as Served
from penstock.operate.doctor.cluster_view import (
    FLEET_LABEL,
    KINDS,
    Kept,
    Kind,
    LogWanted,
    Object,
    logs_wanted,
    of_fleet,
    secrets_named,
)
from penstock.operate.doctor.evidence import Evidence, Resource, Snippet, resource_of
from penstock.operate.doctor.pods import owned
from penstock.operate.doctor.reading import inside
from penstock.operate.io.kubernetes.client import Client
from penstock.operate.io.kubernetes.session import Session
from penstock.operate.io.kubernetes.together import Together

__all__ = ["DEADLINE_S", "Scope", "read_cluster"]

DEADLINE_S = 120.0
"""All lists together; a busy API server of 10 000 pods needs about ten."""
_LOGS_S = 60.0
_AT_ONCE = 8
_PAGE = 500
_RESTARTS_MAX = 2
_OBJECTS_MAX = 20_000
"""Of one kind."""
_EVENTS_MAX = 5_000
_LOG_LINES = 500
_LOG_BYTES_MAX = 512 * 1024
"""The API server cuts a log's end here, so it is far above what so many lines hold."""
_SECRETS_MAX = 100
_TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"

Tick = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What is looked at."""

    namespace: str | None
    """None: all of them."""
    fleet: str = ""
    """Only this fleet's objects and what acts on them."""


@dataclass(slots=True, kw_only=True)
class _Read:
    """What one kind gave. Owned by its task."""

    kind: Kind
    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    failure: ApiFailure | None = None
    cut: str = ""


async def read_cluster(
    session: Session, scope: Scope, *, now: float, deadline_s: float = DEADLINE_S, tick: Tick | None = None
) -> Evidence:
    """Everything that rules look at. `now` in Unix seconds; `tick(name, done, total)` is called as parts are done.

    Raises:
        ApiFailure: nothing at all could be read.
    """
    client, kept = Client(session), Kept()
    gate = asyncio.Semaphore(_AT_ONCE)
    ends_at = asyncio.get_running_loop().time() + deadline_s
    reads = [_Read(kind=kind) for kind in KINDS]
    done = 0

    async def one(read: _Read) -> None:
        nonlocal done
        try:
            async with asyncio.timeout_at(ends_at), gate:
                await _list(session, client, scope, kept, read)
        except TimeoutError:
            read.cut = f"after {deadline_s:.0f} s"
        except KindAbsent:
            pass
        except ApiFailure as failure:
            read.failure = failure
        except ValueError as error:  # a proxy's page in the place of JSON
            read.failure = ApiFailure(f"the answer is not JSON: {error}")
        done += 1
        if tick is not None:
            tick(read.kind.name, done, len(reads))

    async with Together() as group:
        for read in reads:
            group.create_task(one(read))
    failures = [read.failure for read in reads if read.failure is not None]
    if failures and not any(read.objects for read in reads):
        raise failures[0]
    objects = [read.objects[key] for read in reads for key in sorted(read.objects)]
    resources: Sequence[Resource] = [resource_of(obj) for obj in objects]
    if scope.fleet:
        resources = of_fleet(resources, scope.fleet)
        objects = [r.value for r in resources]
    snippets, log_problems = await _logs(session, logs_wanted(objects), tick)
    made = owned(tuple(resources))  # what a controller made is told by its maker
    written = [resource for resource in resources if id(resource) not in made]
    absent, secret_problems = await _absent_secrets(session, secrets_named(written))
    inner = [found for resource in written for found in inside(resource)]
    return Evidence(
        resources=(*resources, *(found for found in inner if isinstance(found, Resource))),
        snippets=(*(found for found in inner if isinstance(found, Snippet)), *snippets),
        problems=(*_problems(session, reads), *log_problems, *secret_problems),
        absent=absent,
        now=now,
    )


async def _list(session: Session, client: Client, scope: Scope, kept: Kept, read: _Read) -> None:
    """Fills `read` page by page; a list whose history is gone is begun again and added to what was read."""
    kind = read.kind
    served = await client.resource(kind.api_version, kind.name)
    namespace = scope.namespace if served.is_namespaced and not kind.is_shared else None
    params = {"limit": str(_PAGE)}
    if kind.fields:
        params["fieldSelector"] = kind.fields
    if scope.fleet and kind.is_labelled:
        params["labelSelector"] = f"{FLEET_LABEL}={scope.fleet}"
    most = _EVENTS_MAX if kind.name == "Event" else _OBJECTS_MAX
    for tried in range(_RESTARTS_MAX + 1):
        try:
            async for items in _pages(session, served, namespace, params):
                for item in items:
                    obj = kept.of({**item, "apiVersion": kind.api_version, "kind": kind.name})
                    if obj is not None:
                        meta = obj["metadata"]
                        read.objects[meta.get("namespace") or "", meta["name"]] = obj
                if len(read.objects) > most:
                    read.cut = f"at {most} objects"
                    read.objects = {key: read.objects[key] for key in list(read.objects)[:most]}
                    return
        except Stale:
            if tried == _RESTARTS_MAX:
                read.cut = "because it changed faster than it could be read"
        else:
            return


async def _pages(
    session: Session, served: Served, namespace: str | None, params: dict[str, str]
) -> AsyncIterator[Sequence[Object]]:
    inner = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    root = f"/apis/{served.api_version}" if "/" in served.api_version else f"/api/{served.api_version}"
    asked = Asked(verb="list", resource=served.qualified, namespace=namespace)
    while True:
        answer = await session.request("GET", f"{root}{inner}/{served.plural}", asked, params=params)
        body = answer.json()
        yield body.get("items") or ()
        token = (body.get("metadata") or {}).get("continue")
        if not token:
            return
        params = {**params, "continue": token}


def _problems(session: Session, reads: Sequence[_Read]) -> list[Problem]:
    found = []
    denied = [read for read in reads if isinstance(read.failure, Denied | Invalid) and read.failure.code == 403]
    if denied:
        kinds = ", ".join(sorted({read.kind.name for read in denied}))
        failure = denied[0].failure
        hint = failure.hint if failure is not None else None
        found.append(_problem(session, f"may not be listed: {kinds}; rules on them say nothing", hint))
    for read in reads:
        if read.failure is not None and read not in denied:
            found.append(_problem(session, f"{read.kind.name}: {read.failure.message}", read.failure.hint))
        if read.cut:
            message = f"{read.kind.name}: reading stopped {read.cut}: {len(read.objects)} are judged, the rest is not"
            found.append(_problem(session, message, "look at one namespace, with --namespace NAME"))
    return found


def _problem(session: Session, message: str, hint: str | None) -> Problem:
    where = f"cluster {session.context or session.url}"
    return Problem(file=where, line=0, column=0, field="", message=message, hint=hint)


async def _logs(
    session: Session, wanted: Sequence[LogWanted], tick: Tick | None
) -> tuple[list[Snippet], list[Problem]]:
    """Last lines, in the order in which they were wanted; refusals once for all, and logs that are gone without a
    word."""
    texts: dict[LogWanted, str] = {}
    refusals: dict[str, ApiFailure] = {}
    gate = asyncio.Semaphore(_AT_ONCE)
    ends_at = asyncio.get_running_loop().time() + _LOGS_S

    async def one(log: LogWanted) -> None:
        params = {"container": log.container, "tailLines": str(_LOG_LINES), "limitBytes": str(_LOG_BYTES_MAX)}
        if log.is_previous:
            params["previous"] = "true"
        asked = Asked(verb="get", resource="pods/log", namespace=log.namespace)
        path = f"/api/v1/namespaces/{log.namespace}/pods/{log.pod}/log"
        try:
            async with asyncio.timeout_at(ends_at), gate:
                answer = await session.request("GET", path, asked, params=params)
            texts[log] = answer.text[:_LOG_BYTES_MAX]
        except (Absent, Stale):
            pass
        except Invalid as failure:  # 400: the container has not begun, or its last run's log is gone
            if failure.code == 403:
                refusals.setdefault(log.namespace, failure)
        except ApiFailure as failure:
            refusals.setdefault(log.namespace, failure)
        except TimeoutError:
            refusals.setdefault("", ApiFailure(f"not all logs came within {_LOGS_S:.0f} s"))
        if tick is not None:
            tick("logs", len(texts), len(wanted))

    async with Together() as group:
        for log in wanted:
            group.create_task(one(log))
    snippets = [Snippet(kind="log", file="", text=texts[log], object=log.title) for log in wanted if log in texts]
    return snippets, [_problem(session, f"logs: {f.message}", f.hint) for _, f in sorted(refusals.items())]


async def _absent_secrets(
    session: Session, names: Sequence[tuple[str, str]]
) -> tuple[frozenset[tuple[str, str, str]], list[Problem]]:
    """Which Secrets are not there. Asked as a table without the objects, so that no value travels."""
    absent: set[tuple[str, str, str]] = set()
    unknown: list[str] = []
    hint: str | None = None
    for namespace, name in names[:_SECRETS_MAX]:
        asked = Asked(verb="get", resource="secrets", namespace=namespace)
        path = f"/api/v1/namespaces/{namespace}/secrets/{name}"
        try:
            await session.request("GET", path, asked, params={"includeObject": "None"}, accept=_TABLE)
        except Absent:
            absent.add(("Secret", namespace, name))
        except ApiFailure as failure:
            unknown.append(f"{namespace}/{name}")
            hint = failure.hint
    unknown += [f"{namespace}/{name}" for namespace, name in names[_SECRETS_MAX:]]
    if not unknown:
        return frozenset(absent), []
    shown = ", ".join(unknown[:5]) + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")
    return frozenset(absent), [_problem(session, f"whether these Secrets are there is not known: {shown}", hint)]
