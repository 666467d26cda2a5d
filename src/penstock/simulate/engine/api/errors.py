"""The errors that vLLM's API answers with, in its words and shapes.

Guarantees: one exception type carries status, message, type and parameter; the body is byte for byte vLLM's JSON.
Leaves to others: who raises what (`validation.py`, `sampling.py`, the routes), and sending it.
"""

from __future__ import annotations

import json

from penstock.simulate.engine.api.encoding import dump

__all__ = [
    "ApiError",
    "bad_request",
    "bad_value",
    "engine_dead",
    "model_not_found",
    "not_scaled_out",
    "overloaded",
]


class ApiError(Exception):
    """A request that gets an error answer.

    `kind` is the JSON field `type`; `anthropic` routes send the same words in Anthropic's shape.
    """

    def __init__(self, status: int, message: str, kind: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param

    def record(self) -> dict[str, object]:
        """The error as OpenAI's JSON object, keys in vLLM's order."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.status}}

    def body(self) -> bytes:
        """The response body in OpenAI's shape."""
        return dump(self.record())

    def anthropic_body(self) -> bytes:
        """The response body in Anthropic's shape, used by `/v1/messages`."""
        return dump({"type": "error", "error": {"type": self.kind, "message": self.message}})

    def event(self) -> bytes:
        """The error as an event of a stream that has begun; vLLM writes this one with spaces."""
        return b"data: " + json.dumps(self.record()).encode() + b"\n\n"


def bad_request(message: str, param: str | None = None) -> ApiError:
    """A 400 whose message is used as it is."""
    return ApiError(400, message, "BadRequestError", param)


def bad_value(message: str, param: str, value: object = None) -> ApiError:
    """A 400 that names parameter and value at the end of the message, as vLLM does for a value out of range."""
    tail = f"(parameter={param})" if value is None else f"(parameter={param}, value={value})"
    return ApiError(400, f"{message} {tail}", "BadRequestError", param)


def model_not_found(name: str, served: tuple[str, ...]) -> ApiError:
    """The 404 for a model name that this engine does not serve."""
    return ApiError(
        404,
        f"The model `{name}` does not exist. Valid aliases: {', '.join(served)}.",
        "NotFoundError",
        "model",
    )


def not_scaled_out() -> ApiError:
    """The 403 of the token-in, token-out routes, which need a flag."""
    return ApiError(
        403,
        "Scale-out endpoints are disabled. Restart vllm serve with --enable-scale-out to enable them.",
        "PermissionDeniedError",
    )


def overloaded() -> ApiError:
    """The 503 of an engine whose queue limit is reached."""
    return ApiError(
        503,
        "The engine is currently busy and cannot accept new requests. "
        "Please try again later or on a different instance.",
        "Service Unavailable",
    )


def engine_dead() -> ApiError:
    """The 500 that requests get when the engine core behind the API has died."""
    return ApiError(
        500,
        "EngineCore encountered an issue. See stack trace (above) for the root cause.",
        "InternalServerError",
    )
