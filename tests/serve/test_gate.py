"""What a head alone decides. How a client sees it is in `test_exchange`."""

from __future__ import annotations

import pytest

from penstock.serve.gate import examine
from penstock.serve.wire.routes import ROUTES
from serve.exchanges import core, request


@pytest.mark.parametrize(
    ("path", "method", "key", "tenant", "code"),
    [
        ("/v1/chat/completions", "POST", "acme-key-1", "acme", None),
        ("/v1/chat/completions", "GET", "acme-key-1", "acme", "method_not_allowed"),
        ("/v1/chat/completions", "POST", "no", None, "invalid_api_key"),
        ("/v1/models", "GET", "acme-key-1", "acme", None),
        ("/health", "GET", "", None, None),
        ("/nowhere", "GET", "acme-key-1", "acme", "unknown_url"),
    ],
)
def test_a_head_says_who_asks_and_whether_the_body_is_read(
    path: str, method: str, key: str, tenant: str | None, code: str | None
) -> None:
    gateway = core()
    caller, failure = examine(gateway, gateway.config, request(path, method=method, key=key), ROUTES.get(path))
    assert (caller and caller.tenant, failure and failure.code) == (tenant, code)
