"""Keys on the admin port: nobody without the token changes or sees them, and what can't be is told in JSON."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from penstock.errors import PenstockError, UsageError
from penstock.serve.io.admin import AdminServer, admin_app
from penstock.serve.io.key_routes import key_routes
from penstock.serve.keys import KeyChange, KeyRecord, KeyRequest, limits_of, new_record
from serve.io.test_admin import Gateway

TOKEN = "0123456789abcdef"
DIGEST = hashlib.sha256(TOKEN.encode()).digest()
BEARER = {"Authorization": f"Bearer {TOKEN}"}
RECORD = new_record(KeyRequest(tenant="acme", name="laptop"), "psk_x", now=0)


@dataclass(kw_only=True)
class Made:
    key: str = "psk_x"
    record: KeyRecord = RECORD
    replaced: KeyRecord | None = None


@dataclass
class Desk:
    """Stands for the desk: notes what it was asked for, or fails."""

    failure: PenstockError | None = None
    asked: list[Any] = field(default_factory=list)

    def _note(self, what: Any) -> None:
        if self.failure is not None:
            raise self.failure
        self.asked.append(what)

    async def create(self, request: KeyRequest) -> Made:
        self._note(request)
        return Made()

    async def rotate(self, key_id: str, *, overlap_s: int) -> Made:
        self._note((key_id, overlap_s))
        return Made(replaced=RECORD)

    async def revoke(self, key_id: str) -> KeyRecord:
        self._note(key_id)
        return RECORD

    async def set(self, key_id: str, change: KeyChange) -> KeyRecord:
        self._note((key_id, change))
        return RECORD

    async def records(self) -> list[KeyRecord]:
        self._note("records")
        return [RECORD]


@asynccontextmanager
async def served(desk: Desk, token: bytes | None = DIGEST) -> AsyncIterator[aiohttp.ClientSession]:
    server = AdminServer(admin_app(Gateway().source, keys=key_routes(lambda: desk, lambda: token)), "127.0.0.1", 0)
    await server.start()
    try:
        async with aiohttp.ClientSession(server.url) as session:
            yield session
    finally:
        await server.stop()


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


async def ask(session: aiohttp.ClientSession, method: str, path: str, **more: Any) -> tuple[int, Any]:
    async with session.request(method, path, **more) as response:
        assert response.content_type == "application/json"
        return response.status, await response.json()


PATHS = [
    ("GET", "/api/v1/keys"),
    ("POST", "/api/v1/keys"),
    ("POST", "/api/v1/keys/key_1/rotate"),
    ("POST", "/api/v1/keys/key_1/revoke"),
    ("POST", "/api/v1/keys/key_1/set"),
    ("GET", "/api/v1/tenants"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_without_a_token_in_the_file_everybody_is_refused_and_told_why(method: str, path: str) -> None:
    async def main() -> None:
        desk = Desk()
        async with served(desk, token=None) as session:
            for headers in ({}, BEARER, {"Authorization": "Bearer "}):
                status, body = await ask(session, method, path, headers=headers, json={})
                assert status == 403
                assert "adminTokenFrom" in body["error"]["message"]
        assert desk.asked == []

    run(main())


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"]
)
def test_who_does_not_show_the_token_is_refused(method: str, path: str, header: str | None) -> None:
    async def main() -> None:
        desk = Desk()
        async with served(desk) as session:
            headers = {} if header is None else {"Authorization": header}
            status, body = await ask(session, method, path, headers=headers, json={})
        assert status == 401
        assert TOKEN not in str(body)
        assert desk.asked == []

    run(main())


def test_who_shows_it_makes_rotates_revokes_and_lists() -> None:
    async def main() -> None:
        desk = Desk()
        async with served(desk) as session:
            session.headers.update(BEARER)
            wanted = {"tenant": "acme", "name": "laptop", "models": ["chat"], "expires": "2100-01-01"}
            status, made = await ask(session, "POST", "/api/v1/keys", json=wanted)
            assert (status, made["key"], made["record"]["id"], made["replaced"]) == (201, "psk_x", RECORD.id, None)
            status, made = await ask(session, "POST", "/api/v1/keys/key_1/rotate", json={"overlap": "1h"})
            assert (status, made["replaced"]["id"]) == (201, RECORD.id)
            await ask(session, "POST", "/api/v1/keys/key_1/rotate")
            status, revoked = await ask(session, "POST", "/api/v1/keys/key_1/revoke")
            assert (status, revoked["record"]["id"]) == (200, RECORD.id)
            status, listed = await ask(session, "GET", "/api/v1/keys")
            assert (status, [k["id"] for k in listed["keys"]]) == (200, [RECORD.id])
            assert RECORD.digest.hex() not in str(listed)
            _, listed = await ask(session, "GET", "/api/v1/tenants")
            (row,) = listed["tenants"]
            names = ("tenant", "keys_in_file", "keys_in_store", "models", "month_tokens")
            assert [row[name] for name in names] == ["acme", 0, 1, None, None]
        expires = 4_102_444_800  # 2100-01-01 in Unix seconds
        request = KeyRequest(tenant="acme", name="laptop", models=("chat",), expires=expires)
        assert desk.asked == [request, ("key_1", 3600), ("key_1", 86_400), "key_1", "records", "records"]

    run(main())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "no JSON"),
        (b"[]", "no JSON object"),
        (b'{"tenant": "a"}', "`name` must be text"),
        (b'{"tenant": 1, "name": "a"}', "`tenant` must be text"),
        (b'{"tenant": "a", "name": "a", "models": "chat"}', "`models` must be a list"),
        (b'{"tenant": "a", "name": "a", "expires": "soon"}', "no time"),
        (b'{"tenant": "a", "name": "a", "key": "mine"}', "'key' is no field here"),
    ],
)
def test_a_wrong_body_is_told(body: bytes, words: str) -> None:
    async def main() -> None:
        desk = Desk()
        async with served(desk) as session:
            status, answer = await ask(session, "POST", "/api/v1/keys", headers=BEARER, data=body)
        assert status == 400
        assert words in answer["error"]["message"]
        assert desk.asked == []

    run(main())


def test_a_body_has_a_bound() -> None:
    async def main() -> None:
        async with served(Desk()) as session:
            status, _ = await ask(session, "POST", "/api/v1/keys", headers=BEARER, data=b" " * 20_000)
        assert status == 413

    run(main())


def test_a_refusal_is_the_callers_fault_and_a_store_that_is_away_is_not() -> None:
    async def main() -> None:
        for failure, expected in ((UsageError("no such key"), 400), (PenstockError("The store is away."), 503)):
            async with served(Desk(failure=failure)) as session:
                status, answer = await ask(session, "POST", "/api/v1/keys/key_1/revoke", headers=BEARER)
            assert status == expected
            assert failure.message in answer["error"]["message"]

    run(main())


def test_nothing_else_of_the_port_takes_a_change() -> None:
    async def main() -> None:
        async with served(Desk()) as session:
            for method, path in (("POST", "/api/v1/state"), ("POST", "/api/v1/keysx"), ("DELETE", "/api/v1/keys")):
                status, _ = await ask(session, method, path, headers=BEARER)
                assert status == 405
            status, _ = await ask(session, "POST", "/api/v1/keys", headers={**BEARER, "Host": "evil.example"})
            assert status == 421

    run(main())


def test_limits_and_class_are_made_and_changed() -> None:
    async def main() -> None:
        desk = Desk()
        async with served(desk) as session:
            session.headers.update(BEARER)
            wanted = {"tenant": "acme", "name": "ci", "limits": {"requestsPerMinute": 5}, "class": "batch"}
            status, _ = await ask(session, "POST", "/api/v1/keys", json=wanted)
            assert status == 201
            change = {"limits": {"requestsPerMinute": None, "costPerMonth": 2.5}, "class": None}
            status, body = await ask(session, "POST", "/api/v1/keys/key_1/set", json=change)
            assert (status, body["record"]["id"]) == (200, RECORD.id)
        request, (key_id, change_) = desk.asked
        assert (request.limits, request.traffic_class) == (limits_of({"requestsPerMinute": 5}), "batch")
        assert key_id == "key_1"
        assert change_ == KeyChange(limits={"requestsPerMinute": None, "costPerMonth": 2.5}, is_class_inherited=True)

    run(main())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "Nothing was named"),
        ({"limits": {"requestsPerMinute": "5"}}, "`limits` must be an object of numbers"),
        ({"limits": [5]}, "`limits` must be an object of numbers"),
        ({"limits": {"concurrentRequests": True}}, "`limits` must be an object of numbers"),
        ({"class": "vip"}, "`class` must be one of interactive, batch, experimental"),
        ({"tenant": "beta"}, "'tenant' is no field here"),
    ],
)
def test_a_change_that_cant_be_is_told(change: dict[str, Any], words: str) -> None:
    async def main() -> None:
        desk = Desk()
        async with served(desk) as session:
            status, answer = await ask(session, "POST", "/api/v1/keys/key_1/set", headers=BEARER, json=change)
        assert (status, desk.asked) == (400, [])
        assert words in answer["error"]["message"]

    run(main())
