"""Error answers: OpenAI's shape everywhere, Anthropic's on its routes, and SSE error events in the middle of a stream.

Every failure that a client can see is one `Failure`; nothing else makes error bodies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from penstock.serve.record import Outcome
from penstock.serve.wire.routes import Dialect

__all__ = ["Failure", "error_body", "error_event", "normalise_engine_error"]

_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 408: "timeout_error", 429: "rate_limit_error"}
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a request was not answered, as the client is told.

    `code` is a stable word for programs, `message` a sentence for people, `param` the request field at fault.
    """

    status: int
    code: str
    message: str
    param: str | None = None
    outcome: Outcome = "client_error"
    retry_after_s: int | None = None
    """Whole seconds after which a retry makes sense; sent as `Retry-After`."""
    allow: str | None = None
    """Methods for a 405's `Allow` header."""

    @property
    def openai_type(self) -> str:
        if self.status >= 500:
            return "server_error"
        return _OPENAI_TYPES.get(self.status, "invalid_request_error")


def _payload(failure: Failure, dialect: Dialect) -> dict[str, Any]:
    if dialect == "anthropic":
        kind = _ANTHROPIC_TYPES.get(failure.status, "invalid_request_error" if failure.status < 500 else "api_error")
        return {"type": "error", "error": {"type": kind, "message": failure.message}}
    return {
        "error": {
            "message": failure.message,
            "type": failure.openai_type,
            "param": failure.param,
            "code": failure.code,
        }
    }


def error_body(failure: Failure, dialect: Dialect) -> bytes:
    """The JSON body of an error answer."""
    return orjson.dumps(_payload(failure, dialect))


def error_event(failure: Failure, dialect: Dialect) -> bytes:
    """The SSE event that ends a stream which can't be finished. No `[DONE]` follows: the stream did not complete."""
    prefix = b"event: error\ndata: " if dialect == "anthropic" else b"data: "
    return prefix + orjson.dumps(_payload(failure, dialect)) + b"\n\n"


def normalise_engine_error(status: int, body: bytes, dialect: Dialect) -> bytes:
    """An engine's error body in the one shape; what it said of type, param and code is kept.

    vLLM answers in four shapes (error object, error string, `detail`, Anthropic's); other engines add plain text.
    """
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = None
    error = parsed.get("error") if isinstance(parsed, dict) else None
    if isinstance(error, dict):
        text = error.get("message")
    elif isinstance(parsed, dict):
        error, text = {}, error or _detail_words(parsed.get("detail")) or parsed.get("message")
    else:
        error, text = {}, body[:500].decode("utf-8", "replace").strip()
    message = text if isinstance(text, str) and text else f"the engine answered {status} without a message"
    if status == 404 and message == "Not Found":
        message = "This model's engine does not serve this API path."
    payload = _payload(Failure(status=status, code="engine_error", message=message), dialect)
    if dialect == "openai":
        payload["error"] |= {name: error[name] for name in ("type", "param", "code") if name in error}
    return orjson.dumps(payload)


def _detail_words(detail: object) -> object:
    """FastAPI's `detail`: a sentence, or a list of what is wrong where."""
    if not isinstance(detail, list):
        return detail
    words = []
    for finding in detail[:10]:
        if isinstance(finding, dict):
            place = finding.get("loc")
            where = ".".join(map(str, place)) if isinstance(place, list) else str(place)
            words.append(f"{where}: {finding.get('msg')}")
    return "; ".join(words)
