"""The reload on the admin port, for those who hold its token.

    POST /api/v1/reload    reads the fleet file again -> what changed, and what of it needs a restart

200 `{"is_taken": true, "changed": ["spec.gateway.queue.depthMax"], "needs_restart": []}`; 400 with the problems, file
and line, where the file is wrong: then nothing has changed. As with a signal, requests under way and those that wait
keep what they began with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from penstock.serve.io.answers import json_answer
from penstock.serve.io.key_routes import guard

__all__ = ["RELOAD_PATH", "Reloaded", "reload_route"]

RELOAD_PATH = "/api/v1/reload"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloaded:
    """What came of reading a fleet file again that was right."""

    changed: tuple[str, ...]
    """Paths of fields. Values are not told: some are secret."""
    notes: tuple[str, ...]
    """A sentence for each thing that needs a restart."""


def reload_route(reload: Callable[[], Reloaded], token: Callable[[], bytes | None]) -> Route:
    """The route. `reload` reads the file and raises a `UsageError` where it is wrong; `token` gives the SHA-256 of the
    admin token, None where the fleet file names none."""

    async def answer(_: Request) -> Response:
        reloaded = reload()
        return json_answer({"is_taken": True, "changed": reloaded.changed, "needs_restart": reloaded.notes})

    return Route(RELOAD_PATH, guard(answer, token, "Reloads are"), methods=["POST"])
