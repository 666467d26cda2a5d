"""Error answers: OpenAI's shape everywhere, Anthropic's on its routes, and SSE error events in the middle of a stream.

Every failure that a client can see is one `Failure`; nothing else makes error bodies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from penstock.serve.record import Outcome
from penstock.serve.wire.routes import Dialect

__all__ = [
    "Failure",
    "engine_error_event",
    "error_body",
    "error_event",
    "lacks_path",
    "normalise_engine_error",
]

_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 408: "timeout_error", 429: "rate_limit_error"}
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""By status: https://docs.anthropic.com/en/api/errors"""
_ENGINE_TYPES = frozenset({"Bad Request", "Not Found", "Internal Server Error", "internal_error"})
"""Types that vLLM 0.32 writes and neither API knows, besides those that end with `Error`, as classes of Python do."""
_CONTEXT_MARK = "maximum context length"
"""In vLLM's words, as in OpenAI's, for a prompt that does not fit."""


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
    """The SSE event that ends a stream which can't be finished. No `[DONE]` follows: the stream did not complete.

    In a stream of Responses it is that API's own event, with the error object beside its fields: clients look for one
    or the other.
    """
    payload = _payload(failure, dialect)
    if dialect == "responses":
        payload = {
            "type": "error",
            "code": failure.code,
            "message": failure.message,
            "param": failure.param,
            **payload,
        }
    prefix = b"data: " if dialect == "openai" else b"event: error\ndata: "
    return prefix + orjson.dumps(payload) + b"\n\n"


def normalise_engine_error(status: int, body: bytes, dialect: Dialect) -> bytes:
    """An engine's error body in the one shape: its words and the field at fault are kept, its type and code where they
    are of the API that the client speaks.

    vLLM answers in four shapes (error object, error string, `detail`, Anthropic's); other engines add plain text. Its
    types are names of Python's classes and its codes are the status once more, as a number, which clients that are
    strict about types can't read.
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
    code, param = _code_word(status, error, message), error.get("param")
    failure = Failure(status=status, code=code, message=message, param=param if isinstance(param, str) else None)
    payload = _payload(failure, dialect)
    kind = error.get("type")
    if dialect != "anthropic" and isinstance(kind, str) and kind and not _is_engine_type(kind):
        payload["error"]["type"] = kind
    return orjson.dumps(payload)


def engine_error_event(event: bytes) -> bytes:
    """An event of a stream of OpenAI's API that holds an engine's error, in the one shape; another as it is."""
    data = event.removeprefix(b"data:").strip()
    try:
        parsed = orjson.loads(data)
    except orjson.JSONDecodeError:
        return event
    error = parsed.get("error") if isinstance(parsed, dict) else None
    if not isinstance(error, dict):
        return event
    code = str(error.get("code"))
    status = int(code) if len(code) == 3 and code.isdecimal() and 400 <= int(code) <= 599 else 500
    return b"data: " + normalise_engine_error(status, data, "openai") + b"\n\n"


def lacks_path(status: int, body: bytes) -> bool:
    """Whether an engine's error says that it does not serve the path, as older versions of vLLM do not serve
    `/v1/messages`: FastAPI's own words, which no refusal of a request has."""
    return status == 404 and len(body) < 100 and _detail_of(body) == "Not Found"


def _detail_of(body: bytes) -> str:
    """FastAPI's `detail` where that is a sentence; else empty."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    detail = parsed.get("detail") if isinstance(parsed, dict) else None
    return detail if isinstance(detail, str) else ""


def _is_engine_type(kind: str) -> bool:
    return kind in _ENGINE_TYPES or kind.endswith("Error")


def _code_word(status: int, error: dict[str, Any], message: str) -> str:
    """A stable word for what the engine refused: its own where it has one, else OpenAI's for the few that clients look
    for."""
    code = error.get("code")
    if isinstance(code, str) and code and not code.isdigit():
        return code
    if status == 400 and _CONTEXT_MARK in message:
        return "context_length_exceeded"
    if status == 404 and error.get("param") == "model":
        return "model_not_found"
    if status == 404 and error.get("param") == "response_id":
        return "response_not_found"
    return "engine_error"


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
