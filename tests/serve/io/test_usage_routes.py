"""Use on the admin port: told to who shows the token, refused to others, and wrong questions named."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import aiohttp
import pytest

from penstock.errors import PenstockError
from penstock.serve.io.admin import AdminServer, admin_app
from penstock.serve.io.usage_routes import usage_routes
from penstock.serve.usage import Sums, UsageQuery, UsageReport
from serve.io.test_admin import Gateway
from serve.io.test_key_routes import BEARER, DIGEST

SUMS = Sums(requests=2, prompt_tokens=10, output_tokens=5, cost_micros=7)


class Book:
    """Stands for the ledger: notes what it was asked, or fails."""

    def __init__(self, failure: PenstockError | None = None) -> None:
        self.asked: list[UsageQuery] = []
        self._failure = failure

    async def usage(self, query: UsageQuery) -> UsageReport:
        if self._failure is not None:
            raise self._failure
        self.asked.append(query)
        return UsageReport(query=query, rows=[(("acme",), SUMS)], total=SUMS, waiting=1)


async def get(book: Book, path: str, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    routes = usage_routes(book.usage, lambda: DIGEST)
    server = AdminServer(admin_app(Gateway().source, keys=routes), "127.0.0.1", 0)
    await server.start()
    try:
        async with (
            aiohttp.ClientSession(server.url) as session,
            session.get(path, headers=BEARER if headers is None else headers) as response,
        ):
            return response.status, await response.json()
    finally:
        await server.stop()


def run(main: Coroutine[Any, Any, tuple[int, Any]]) -> tuple[int, Any]:
    return asyncio.run(main)


def test_use_is_told_to_who_shows_the_token() -> None:
    book = Book()

    status, told = run(get(book, "/api/v1/usage?by=tenant&since=2026-11-01&until=2026-11-30&tenant=acme"))

    assert status == 200
    assert book.asked == [UsageQuery(since="2026-11-01", until="2026-11-30", by=("tenant",), tenant="acme")]
    assert (told["rows"][0]["tenant"], told["rows"][0]["tokens"], told["waiting"]) == ("acme", 15, 1)


def test_nobody_else_is_told() -> None:
    book = Book()

    status, _ = run(get(book, "/api/v1/usage", headers={}))

    assert (status, book.asked) == (401, [])


@pytest.mark.parametrize(("asked", "words"), [("by=colour", "colour"), ("since=soon", "soon"), ("group=x", "group")])
def test_a_question_that_cant_be_is_told(asked: str, words: str) -> None:
    status, told = run(get(Book(), f"/api/v1/usage?{asked}"))

    assert status == 400
    assert words in told["error"]["message"]


def test_a_store_that_is_away_is_told() -> None:
    status, told = run(get(Book(PenstockError("The store is away.")), "/api/v1/usage"))

    assert (status, told["error"]["message"]) == (503, "The store is away.")
