"""Answers of the admin port: JSON by orjson, and errors in the one shape that the gateway's API has too."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

__all__ = ["error_answer", "json_answer"]


def json_answer(value: Any, *, request: Request | None = None, status: int = 200) -> Response:
    """`value` as JSON; indented where a person reads it in a browser."""
    is_for_person = request is not None and "text/html" in request.headers.get("accept", "")
    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE if is_for_person else None
    return Response(orjson.dumps(value, option=option), status, media_type="application/json")


def error_answer(status: int, message: str) -> Response:
    """An error in OpenAI's shape."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return json_answer({"error": {"message": message, "type": kind, "param": None, "code": status}}, status=status)
