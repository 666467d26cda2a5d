"""What a head alone decides. How a client sees it is in `test_exchange`."""

from __future__ import annotations

import hashlib

import pytest

from penstock.serve.gate import examine
from penstock.serve.keys import KeyRecord
from penstock.serve.wire.routes import ROUTES
from serve.exchanges import core, request
from serve.gateways import config


@pytest.mark.parametrize(
    ("path", "method", "key", "tenant", "code"),
    [
        ("/v1/chat/completions", "POST", "acme-key-1", "acme", None),
        ("/v1/chat/completions", "GET", "acme-key-1", "acme", "method_not_allowed"),
        ("/v1/chat/completions", "POST", "no", None, "invalid_api_key"),
        ("/v1/models", "GET", "acme-key-1", "acme", None),
        ("/health", "GET", "", None, None),
        ("/", "GET", "", None, None),
        ("/", "HEAD", "", None, None),
        ("/", "POST", "", None, "method_not_allowed"),
        ("/v1/chat/completions", "POST", "", None, "missing_api_key"),
        ("/nowhere", "GET", "acme-key-1", "acme", "unknown_url"),
    ],
)
def test_a_head_says_who_asks_and_whether_the_body_is_read(
    path: str, method: str, key: str, tenant: str | None, code: str | None
) -> None:
    gateway = core()
    caller, failure = examine(gateway, gateway.config, request(path, method=method, key=key), ROUTES.get(path))
    assert (caller and caller.tenant, failure and failure.code) == (tenant, code)


def test_whoever_shows_a_key_that_was_revoked_is_told_so() -> None:
    gateway = core()
    record = KeyRecord(
        id="key_1",
        tenant="acme",
        name="old",
        digest=hashlib.sha256(b"old-key-1").digest(),
        last_four="ey-1",
        created=0,
        revoked=86_400,
    )
    gateway.ended_keys = {record.digest: record}
    _, failure = examine(gateway, gateway.config, request("/v1/models", method="GET", key="old-key-1"), None, 2e5)
    assert failure is not None
    assert (failure.status, failure.code) == (401, "invalid_api_key")
    assert "revoked on 1970-01-02" in failure.message


@pytest.mark.parametrize(
    ("gateway_text", "origin", "code"),
    [
        ("    auth: {anonymous: true}\n", b"https://any.example", "origin_not_allowed"),
        ("    auth: {anonymous: true}\n", b"", None),
        ("    auth: {anonymous: true}\n    cors: {origins: [https://app.example]}\n", b"https://app.example", None),
        ("    auth: {anonymous: true}\n    cors: {origins: ['*']}\n", b"https://any.example", None),
    ],
)
def test_a_page_may_use_a_gateway_without_keys_only_where_the_file_names_it(
    gateway_text: str, origin: bytes, code: str | None
) -> None:
    gateway = core(settings=config(gateway_text))
    head = request(key="", origin=origin)
    _, failure = examine(gateway, gateway.config, head, ROUTES[head.path])
    assert (failure and failure.code) == code
