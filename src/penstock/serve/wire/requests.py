"""Reading a request body: what the gateway needs of it, and the few edits it makes before an engine sees it.

The body is parsed once; unless an edit is needed the client's own bytes go on unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from penstock.serve.wire.errors import Failure
from penstock.serve.wire.fields import wrong_field
from penstock.serve.wire.multipart import form_boundary, form_fields
from penstock.serve.wire.routes import Route

__all__ = [
    "ApiRequest",
    "edits_between",
    "json_object",
    "read_json",
    "read_multipart",
    "upstream_body",
    "without_ids",
]

MODEL_BYTES_MAX = 1024
"""Bytes of the model's name in a form; a longer field is no name."""
_NO_EDITS: Mapping[str, Any] = {}
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    **dict.fromkeys((b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"), "deflate"),
}
"""How bodies begin that are no JSON because they are compressed: RFC 1952 §2.3.1, RFC 8878 §3.1.1, RFC 1950 §2.2 with
the window of 32 KiB that everybody uses."""
_ASKS_IDS = b'"return_token_ids":true,'
_INCLUDE_USAGE = b'"stream_options":{"include_usage":true},'


@dataclass(slots=True)  # not keyword-only: one is made for each request, and keywords cost time
class ApiRequest:
    """What the gateway knows of a request after one look at its body."""

    model: str
    is_stream: bool = False
    wants_usage: bool = False
    """Whether the client itself asked for the usage chunk of a stream."""
    fields: dict[str, Any] | None = None
    """The parsed JSON body; None for multipart."""
    model_span: tuple[int, int] | None = None
    """Where the model's name is in a multipart body."""


def read_json(route: Route, body: bytes) -> ApiRequest | Failure:
    """Parses and checks a JSON body. A `Failure` names the position or the field that is wrong."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return _not_json(body, error)
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
    wants_usage = type(options) is dict and bool(options.get("include_usage"))
    return ApiRequest(model, is_stream, wants_usage, fields)


def json_object(body: bytes) -> dict[str, Any]:
    """A body that was read before, once more; empty where it is no JSON object."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return fields if type(fields) is dict else {}


def _not_json(body: bytes, error: orjson.JSONDecodeError) -> Failure:
    for magic, name in _COMPRESSED.items():
        if body.startswith(magic):
            message = f"The request body is compressed ({name}), which this gateway does not read: send it as it is."
            return Failure(status=415, code="unsupported_encoding", message=message)
    return Failure(status=400, code="invalid_json", message=_json_words(body, error))


def _json_words(body: bytes, error: orjson.JSONDecodeError) -> str:
    if not body.strip():
        return "The request body is empty; it must be a JSON object."
    reason = str(error).partition(": line")[0]
    return (
        f"The request body is not valid JSON: {reason} at line {error.lineno} column {error.colno} "
        f"(character {error.pos})."
    )


def read_multipart(body: bytes, content_type: str) -> ApiRequest | Failure:
    """Finds `model` and `stream` in a multipart form. Of two equal names the last counts, as for the engine."""
    boundary = form_boundary(content_type)
    if not boundary:
        message = "This path takes multipart/form-data with a boundary, as the audio API of OpenAI does."
        return Failure(status=400, code="invalid_content_type", message=message)
    request = ApiRequest(model="")
    for name, start, end in form_fields(body, boundary):
        if name == b"model" and end - start <= MODEL_BYTES_MAX:
            request.model, request.model_span = body[start:end].decode("utf-8", "replace").strip(), (start, end)
        elif name == b"stream":
            request.is_stream = body[start : min(end, start + 8)].strip().lower() in (b"true", b"1")
    if not request.model:
        message = "The form has no 'model' field. GET /v1/models lists the models."
        return Failure(status=400, code="missing_field", message=message, param="model")
    return request


def edits_between(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What `upstream_body` must be told so that a request read as `before` goes on as `after`."""
    edits = {name: value for name, value in after.items() if before.get(name, edits_between) is not value}
    edits.update((name, None) for name in before if name not in after)
    return edits


def upstream_body(
    route: Route,
    request: ApiRequest,
    body: bytes,
    model: str,
    seed: int | None = None,
    *,
    asks_ids: bool = False,
    edits: Mapping[str, Any] = _NO_EDITS,
) -> bytes:
    """The body that goes to the engine: under the model's own name, asking for usage at the end of a stream, with
    `seed` and asking for token ids where the caller has found that it needs them, and with `edits` (None takes a field
    out)."""
    fields = request.fields
    if fields is None:
        span = request.model_span
        if span is None or request.model == model:
            return body
        return b"".join((body[: span[0]], model.encode(), body[span[1] :]))
    asks_usage = request.is_stream and route.has_stream_options and not request.wants_usage
    adds_usage = asks_usage and "stream_options" not in fields
    only_adds = adds_usage == asks_usage and (seed is None or "seed" not in fields)
    only_adds = only_adds and not (asks_ids and "return_token_ids" in fields)
    if edits:
        edits = {name: value for name, value in edits.items() if value is not None or name in fields}
        only_adds = only_adds and fields.keys().isdisjoint(edits)
    if request.model == model and only_adds:
        added = (b'"seed":%d,' % seed if seed is not None else b"") + (_INCLUDE_USAGE if adds_usage else b"")
        if asks_ids:
            added += _ASKS_IDS
        if edits:
            added += orjson.dumps(edits)[1:-1] + b","
        if not added:
            return body
        start = body.index(b"{") + 1
        return b"".join((body[:start], added, body[start:]))
    edited = dict(fields)
    edited["model"] = model
    if seed is not None:
        edited["seed"] = seed
    if asks_ids:
        edited["return_token_ids"] = True
    if asks_usage:
        # usage on every chunk comes only with include_usage, which this client did not ask for
        options = {k: v for k, v in (fields.get("stream_options") or {}).items() if k != "continuous_usage_stats"}
        edited["stream_options"] = options | {"include_usage": True}
    for name, value in edits.items():
        if value is None:
            del edited[name]
        else:
            edited[name] = value
    return orjson.dumps(edited)


def without_ids(body: bytes) -> bytes:
    """A body of `upstream_body` that asks for no token ids."""
    return orjson.dumps({name: value for name, value in json_object(body).items() if name != "return_token_ids"})
