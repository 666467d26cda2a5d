"""Reading a request body: what the gateway needs of it, and the few edits it makes before an engine sees it.

The body is parsed once; unless an edit is needed the client's own bytes go on unchanged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

from penstock.serve.wire.errors import Failure
from penstock.serve.wire.fields import wrong_field
from penstock.serve.wire.routes import Route

__all__ = ["ApiRequest", "read_json", "read_multipart", "upstream_body"]

_INCLUDE_USAGE = b'"stream_options":{"include_usage":true}'


@dataclass(slots=True, kw_only=True)
class ApiRequest:
    """What the gateway knows of a request after one look at its body."""

    model: str
    is_stream: bool = False
    wants_usage: bool = False
    """Whether the client itself asked for the usage chunk of a stream."""
    fields: dict[str, Any] | None = None
    """The parsed JSON body; None for multipart."""


def read_json(route: Route, body: bytes) -> ApiRequest | Failure:
    """Parses and checks a JSON body. A `Failure` names the position or the field that is wrong."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return Failure(status=400, code="invalid_json", message=_json_words(body, error))
    if type(fields) is not dict:
        return Failure(status=400, code="invalid_json", message="The request body must be a JSON object.")
    model = fields.get("model")
    if model is None or model == "":
        message = "You must provide a 'model'. GET /v1/models lists them."
        return Failure(status=400, code="missing_field", message=message, param="model")
    wrong = wrong_field(route.schema, fields)
    if wrong is not None:
        code = "missing_field" if wrong[1].startswith("Missing") else "invalid_type"
        return Failure(status=400, code=code, message=wrong[1], param=wrong[0])
    is_stream = fields.get("stream") is True
    options = fields.get("stream_options") if is_stream else None
    wants_usage = options is not None and bool(options.get("include_usage"))
    return ApiRequest(model=model, is_stream=is_stream, wants_usage=wants_usage, fields=fields)


def _json_words(body: bytes, error: orjson.JSONDecodeError) -> str:
    if not body.strip():
        return "The request body is empty; it must be a JSON object."
    reason = str(error).partition(": line")[0]
    return (
        f"The request body is not valid JSON: {reason} at line {error.lineno} column {error.colno} "
        f"(character {error.pos})."
    )


_FORM_FIELD = re.compile(
    rb'content-disposition:\s*form-data;[^\r\n]*?\bname="(model|stream)"[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n([^\r\n]{0,200})\r\n',
    re.IGNORECASE,
)


def read_multipart(body: bytes, content_type: str) -> ApiRequest | Failure:
    """Finds `model` and `stream` in a multipart form; the form itself goes on unchanged."""
    if not content_type.lower().startswith("multipart/form-data"):
        message = "This path takes multipart/form-data, as the audio API of OpenAI does."
        return Failure(status=400, code="invalid_content_type", message=message)
    found = {m[1].lower(): m[2].decode("utf-8", "replace").strip() for m in _FORM_FIELD.finditer(body)}
    model = found.get(b"model", "")
    if not model:
        message = "The form has no 'model' field. GET /v1/models lists the models."
        return Failure(status=400, code="missing_field", message=message, param="model")
    return ApiRequest(model=model, is_stream=found.get(b"stream", "").lower() in ("true", "1"))


def upstream_body(route: Route, request: ApiRequest, body: bytes, model: str) -> bytes:
    """The body that goes to the engine: under the model's own name, and asking for usage at the end of a stream."""
    fields = request.fields
    if fields is None:
        return body
    asks_usage = request.is_stream and route.has_stream_options and not request.wants_usage
    if request.model == model:
        if not asks_usage:
            return body
        if "stream_options" not in fields:
            start = body.index(b"{") + 1
            return b"".join((body[:start], _INCLUDE_USAGE, b",", body[start:]))
    edited = dict(fields)
    edited["model"] = model
    if asks_usage:
        edited["stream_options"] = {**(fields.get("stream_options") or {}), "include_usage": True}
    return orjson.dumps(edited)
