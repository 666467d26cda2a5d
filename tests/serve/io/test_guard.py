"""The guard lets through who may ask, and marks every answer for browsers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from penstock.serve.io.answers import json_answer
from penstock.serve.io.guard import Guard, is_loopback


def ask(guard: Guard, *, host: str | None, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """Sends one request through the guard without a socket."""
    headers = [(b"host", host.encode())] if host is not None else []
    scope = {"type": "http", "method": method, "path": "/", "headers": headers, "query_string": b""}
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(guard(scope, receive, send))
    answer = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], answer, sent[1]["body"]


def guard(host: str) -> Guard:
    return Guard(json_answer({"is_inside": True}), host=host)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8081", "[::1]:8081", "LOCALHOST:1", "127.0.0.1"])
def test_on_loopback_the_names_of_this_machine_are_let_in(host: str) -> None:
    assert ask(guard("127.0.0.1"), host=host)[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8081", "127.0.0.1.evil.example", "", None, "[::2]"])
def test_on_loopback_any_other_name_is_refused_so_that_dns_rebinding_reads_nothing(host: str | None) -> None:
    status, _, body = ask(guard("127.0.0.1"), host=host)
    assert status == 421
    assert b"is_inside" not in body


def test_bound_to_a_network_any_name_is_let_in() -> None:
    for bound in ("0.0.0.0", "10.1.2.3", "::"):
        assert ask(guard(bound), host="penstock.internal:8081")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_but_reading_is_served(method: str) -> None:
    status, headers, _ = ask(guard("0.0.0.0"), host="x", method=method)
    assert status == 405
    assert headers["allow"] == "GET, HEAD"


def test_every_answer_tells_browsers_to_trust_only_this_port() -> None:
    for host in ("localhost", "evil.example"):
        _, headers, _ = ask(guard("127.0.0.1"), host=host)
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"


def test_loopback_is_told_from_networks() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost", "penstock.localhost"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.1", "example.com", "localhost.example.com"))
