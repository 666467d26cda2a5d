"""Use on the admin port, for those who hold its token.

    GET /api/v1/usage?by=tenant,model,day&since=2026-11-01&until=2026-11-30&tenant=NAME

answers as `penstock usage --output json` prints: rows, their total, and how many requests are not in the store yet.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from penstock.errors import UsageError
from penstock.serve.io.answers import json_answer
from penstock.serve.io.key_routes import guard
from penstock.serve.usage import UsageQuery, UsageReport, parse_query

__all__ = ["USAGE_PATH", "usage_routes"]

USAGE_PATH = "/api/v1/usage"
_PARAMETERS = frozenset({"by", "since", "until", "tenant"})


def usage_routes(ask: Callable[[UsageQuery], Awaitable[UsageReport]], token: Callable[[], bytes | None]) -> list[Route]:
    """The route. `ask` answers a question about use; `token` gives the SHA-256 of the admin token."""

    async def usage(request: Request) -> Response:
        asked = request.query_params
        if unknown := sorted(set(asked) - _PARAMETERS):
            raise UsageError(f"{unknown[0][:40]!r} is no parameter here.", hint=", ".join(sorted(_PARAMETERS)))
        query = parse_query(
            now=time.time(),
            since=asked.get("since"),
            until=asked.get("until"),
            by=asked.get("by", "tenant"),
            tenant=asked.get("tenant"),
        )
        return json_answer((await ask(query)).shown(), request=request)

    return [Route(USAGE_PATH, guard(usage, token), methods=["GET"])]
