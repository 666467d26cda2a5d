"""Keys on the admin port, for those who hold its token.

    GET  /api/v1/keys                all keys of the store, without anything a key could be found by
    POST /api/v1/keys                {"tenant", "name", "models"?, "expires"?, "limits"?, "class"?} -> the key, once
    POST /api/v1/keys/ID/set         {"limits"?, "class"?}: those named change, null takes one away
    POST /api/v1/keys/ID/rotate      {"overlap"?} -> the key that takes its place, once
    POST /api/v1/keys/ID/revoke
    GET  /api/v1/tenants             who may call, in the file and in the store, and what they used this month

The port has no login, so each of these wants `Authorization: Bearer TOKEN`; where the fleet file names no token nobody
has one, and all answer 403. A page of another site can't send that header, so a browser can't be made to.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Protocol

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from penstock.errors import PenstockError, UsageError
from penstock.serve.callers import tenants_shown
from penstock.serve.flow.ticket import CLASSES
from penstock.serve.io.answers import error_answer, json_answer
from penstock.serve.key_times import parse_expiry, parse_span
from penstock.serve.keys import OVERLAP_S, KeyChange, KeyRecord, KeyRequest, limits_of, record_shown
from penstock.spec import TenantSpec, TrafficClass

__all__ = ["KEYS_PATH", "Desk", "Made", "guard", "key_routes"]

KEYS_PATH = "/api/v1/keys"
BODY_BYTES_MAX = 16_384
"""Room for the names of a fleet's models."""


_OF_A_KEY = frozenset({"tenant", "name", "models", "expires", "limits", "class"})
_Answer = Callable[[Request], Awaitable[Response]]


class Made(Protocol):
    """A key that was just made."""

    @property
    def record(self) -> KeyRecord: ...
    @property
    def key(self) -> str: ...
    @property
    def replaced(self) -> KeyRecord | None: ...


class Desk(Protocol):
    """Who changes keys; see `stores.KeyDesk`."""

    async def create(self, request: KeyRequest) -> Made: ...
    async def rotate(self, key_id: str, *, overlap_s: int) -> Made: ...
    async def revoke(self, key_id: str) -> KeyRecord: ...
    async def set(self, key_id: str, change: KeyChange) -> KeyRecord: ...
    async def records(self) -> list[KeyRecord]: ...


class _Refused(Exception):
    """Who asks may not; `status` and the words are the answer."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


def key_routes(
    desk: Callable[[], Desk],
    token: Callable[[], bytes | None],
    tenants: Callable[[], Sequence[TenantSpec]] = tuple,
    month: Callable[[], Awaitable[Mapping[str, tuple[int, int]]]] | None = None,
) -> list[Route]:
    """The routes. `token` gives the SHA-256 of the admin token, None where the fleet file names none; `tenants` those
    of the file; `month` this month's use by scope."""

    def guarded(answer: _Answer) -> _Answer:
        return guard(answer, token)

    async def listed(request: Request) -> Response:
        now = time.time()
        return json_answer({"keys": [record_shown(r, now) for r in await desk().records()]}, request=request)

    async def list_tenants(request: Request) -> Response:
        uses = None if month is None else await month()
        rows = tenants_shown(tenants(), await desk().records(), time.time(), uses)
        return json_answer({"tenants": rows}, request=request)

    async def create(request: Request) -> Response:
        return _made(await desk().create(_asked(await _body(request, _OF_A_KEY))))

    async def rotate(request: Request) -> Response:
        body = await _body(request, {"overlap"})
        overlap = _text(body, "overlap", required=False)
        overlap_s = parse_span(overlap) if overlap else OVERLAP_S
        return _made(await desk().rotate(request.path_params["key_id"], overlap_s=overlap_s))

    async def revoke(request: Request) -> Response:
        await _body(request, set())
        return json_answer({"record": record_shown(await desk().revoke(request.path_params["key_id"]), time.time())})

    async def change(request: Request) -> Response:
        body = await _body(request, {"limits", "class"})
        if not body:
            raise UsageError("Nothing was named to change.")
        is_inherited = "class" in body and body["class"] is None
        wanted = KeyChange(limits=_limits(body), traffic_class=_class(body), is_class_inherited=is_inherited)
        record = await desk().set(request.path_params["key_id"], wanted)
        return json_answer({"record": record_shown(record, time.time())})

    return [
        Route(KEYS_PATH, guarded(listed), methods=["GET"]),
        Route(KEYS_PATH, guarded(create), methods=["POST"]),
        Route("/api/v1/tenants", guarded(list_tenants), methods=["GET"]),
        Route(f"{KEYS_PATH}/{{key_id}}/rotate", guarded(rotate), methods=["POST"]),
        Route(f"{KEYS_PATH}/{{key_id}}/set", guarded(change), methods=["POST"]),
        Route(f"{KEYS_PATH}/{{key_id}}/revoke", guarded(revoke), methods=["POST"]),
    ]


def guard(answer: _Answer, token: Callable[[], bytes | None], what: str = "Keys are") -> _Answer:
    """The same for those who show the token; refusals and failures as JSON. `what`: begins the refusal of all where the
    fleet file names no token, as in "Keys are"."""

    async def checked(request: Request) -> Response:
        try:
            _check(request, token(), what)
            return await answer(request)
        except _Refused as refusal:
            response = error_answer(refusal.status, str(refusal))
            if refusal.status == 401:
                response.headers["www-authenticate"] = "Bearer"
            return response
        except UsageError as error:
            return error_answer(400, str(error))
        except PenstockError as error:
            return error_answer(503, str(error))

    return checked


def _check(request: Request, token: bytes | None, what: str) -> None:
    if token is None:
        words = (
            f"{what} not served here: this port has no login, and the fleet file names no token. Name one with "
            f"spec.gateway.adminTokenFrom, or use {'`penstock keys`' if what == 'Keys are' else 'SIGHUP'}"
        )
        raise _Refused(403, words)
    scheme, _, shown = request.headers.get("authorization", "").partition(" ")
    digest = hashlib.sha256(shown.strip().encode("latin-1", "replace")).digest()
    if scheme.lower() != "bearer" or not hmac.compare_digest(digest, token):
        raise _Refused(401, "Show the admin token: `Authorization: Bearer TOKEN`. A key of a tenant is not one")


async def _body(request: Request, fields: AbstractSet[str]) -> dict[str, Any]:
    read = bytearray()
    async for piece in request.stream():
        read += piece
        if len(read) > BODY_BYTES_MAX:
            raise _Refused(413, f"The body is larger than {BODY_BYTES_MAX} bytes")
    try:
        body = orjson.loads(read) if read else {}
    except orjson.JSONDecodeError as error:
        raise UsageError("The body is no JSON.") from error
    if not isinstance(body, dict):
        raise UsageError("The body is no JSON object.")
    if unknown := sorted(body.keys() - fields):
        raise UsageError(
            f"{unknown[0][:40]!r} is no field here.", hint=f"fields: {', '.join(sorted(fields)) or 'none'}"
        )
    return body


def _asked(body: dict[str, Any]) -> KeyRequest:
    expires = _text(body, "expires", required=False)
    limits = {name: value for name, value in _limits(body).items() if value is not None}
    return KeyRequest(
        tenant=_text(body, "tenant"),
        name=_text(body, "name"),
        models=_models(body),
        expires=parse_expiry(expires, int(time.time())) if expires else None,
        limits=limits_of(limits),
        traffic_class=_class(body),
    )


def _text(body: dict[str, Any], name: str, *, required: bool = True) -> str:
    value = body.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str) or not value:
        raise UsageError(f"`{name}` must be text that is not empty.")
    return value


def _models(body: dict[str, Any]) -> tuple[str, ...] | None:
    models = body.get("models")
    if models is None:
        return None
    if not isinstance(models, list) or not all(isinstance(model, str) for model in models):
        raise UsageError("`models` must be a list of names.")
    return tuple(models)


def _limits(body: dict[str, Any]) -> dict[str, float | None]:
    limits = body.get("limits")
    if limits is None:
        return {}
    if not isinstance(limits, dict) or not all(
        value is None or type(value) in (int, float) for value in limits.values()
    ):
        raise UsageError("`limits` must be an object of numbers.", hint='as in {"requestsPerMinute": 60}')
    return limits


def _class(body: dict[str, Any]) -> TrafficClass | None:
    named = body.get("class")
    for known in CLASSES:
        if named == known:
            return known
    if named is None:
        return None
    raise UsageError(f"`class` must be one of {', '.join(CLASSES)}.")


def _made(made: Made) -> Response:
    now = time.time()
    return json_answer(
        {
            "key": made.key,
            "record": record_shown(made.record, now),
            "replaced": None if made.replaced is None else record_shown(made.replaced, now),
        },
        status=201,
    )
