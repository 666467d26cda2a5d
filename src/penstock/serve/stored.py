"""Stored responses: what `/v1/responses` keeps of an answer, so that a later request may go on from it. Pure.

The engines keep nothing: vLLM 0.32 has a store in the memory of one process, off by default and without an end. Here
the gateway keeps a response with the whole conversation before it, and writes that conversation out in front of the new
input where a request names `previous_response_id`. So it holds over engines that come and go, and over gateways that
share a store.

Guarantees: a response is its tenant's alone, to everybody else it does not exist; each is bounded in size and in time;
`instructions` do not carry over, as in OpenAI's API; the client's own fields are never changed in place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, assert_never

import orjson

from penstock.serve.wire.errors import Failure
from penstock.serve.wire.routes import StoredPath

__all__ = [
    "RESPONSE_BYTES_MAX",
    "TTL_S",
    "Stored",
    "answer_about",
    "deleted",
    "expand",
    "input_items",
    "is_storing",
    "last_response",
    "not_cancelled",
    "previous_id",
    "remember",
    "unknown_response",
    "unsupported_state",
]

TTL_S = 30 * 86_400
"""Seconds that a response is kept: 30 days, as OpenAI keeps them
(https://platform.openai.com/docs/api-reference/responses/create, `store`)."""
RESPONSE_BYTES_MAX = 4 << 20
"""Bytes of one response with its conversation; a larger one is not kept. A million tokens of text are about as many."""
ITEMS_MAX = 4096
"""Items of one conversation that is gone on with: one that is longer is a loop."""

_LAST = re.compile(rb'(?m)^data: ?(\{.*"type": ?"response\.(?:completed|incomplete)".*\})\r?$')
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One response as it is kept."""

    id: str
    tenant: str
    expires: int
    """Unix seconds."""
    body: bytes
    """The response, as JSON."""
    items: bytes
    """The conversation that it answered, as a JSON list of input items, earlier turns first."""

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return len(self.body) + len(self.items)


# ------------------------------------------------------------------ before the request


def unsupported_state(fields: dict[str, Any]) -> Failure | None:
    """The refusal of what would need state that nobody keeps here; None when there is nothing of the kind."""
    if fields.get("background") is True:
        message = "'background' is not served here: leave it out and read the answer as a stream, or send a batch."
        return Failure(status=400, code="unsupported_parameter", message=message, param="background")
    if fields.get("conversation") is not None:
        message = "'conversation' is not served here: name the last response with 'previous_response_id' instead."
        return Failure(status=400, code="unsupported_parameter", message=message, param="conversation")
    return None


def previous_id(fields: dict[str, Any]) -> str:
    """The response that a request goes on from; empty when it begins anew."""
    value = fields.get("previous_response_id")
    return value if type(value) is str else ""


def expand(fields: dict[str, Any], found: Stored | None) -> dict[str, Any] | Failure:
    """The request as an engine answers it that knows nothing of the past: the conversation before it written out.

    Args:
        fields: the parsed request; never changed.
        found: what the caller's tenant has kept under `previous_id(fields)`; None when that is nothing.
    """
    if found is None:
        return unknown_response(previous_id(fields), param="previous_response_id")
    response = orjson.loads(found.body)
    output = response.get("output") if type(response) is dict else None
    items = [*orjson.loads(found.items), *_as_input(output), *_items_of(fields)]
    if len(items) > ITEMS_MAX:
        message = f"The conversation before '{found.id}' has more than {ITEMS_MAX} items. Begin a new one."
        return Failure(status=400, code="conversation_too_long", message=message, param="previous_response_id")
    rest = {name: value for name, value in fields.items() if name != "previous_response_id"}
    return rest | {"input": items, "store": False}


def is_storing(fields: dict[str, Any]) -> bool:
    """Whether the client wants its response kept, which is so unless it says otherwise."""
    return fields.get("store") is not False


def _items_of(fields: dict[str, Any]) -> list[Any]:
    value = fields.get("input")
    if type(value) is str:
        return [{"role": "user", "content": value}]
    return value if type(value) is list else []


def _as_input(output: Any) -> list[Any]:
    """What was answered, as input of a next turn. A message becomes one text: vLLM reads only the first part of one."""
    items: list[Any] = []
    for item in output if type(output) is list else ():
        kind = item.get("type") if type(item) is dict else None
        if kind == "message":
            items.append({"role": "assistant", "content": _text_of(item.get("content"))})
        elif kind == "function_call":
            names = ("type", "call_id", "name", "namespace", "arguments")
            items.append({name: item[name] for name in names if item.get(name) is not None})
        elif type(item) is dict:
            items.append({name: value for name, value in item.items() if value is not None})
    return items


def _text_of(content: Any) -> str:
    if type(content) is str:
        return content
    parts = [p for p in content if type(p) is dict] if type(content) is list else []
    return "".join(str(p.get("text") or p.get("refusal") or "") for p in parts)


# ------------------------------------------------------------------ after the answer


def last_response(events: bytes) -> bytes:
    """The response that the last event of a stream carries; empty where none does. Read once, at the end: give it the
    last pieces of the stream."""
    found = None
    for found in _LAST.finditer(events):  # noqa: B007 — the last one counts
        pass
    if found is None:
        return b""
    try:
        response = orjson.loads(found[1]).get("response")
    except orjson.JSONDecodeError:
        return b""
    return orjson.dumps(response) if type(response) is dict else b""


def remember(answer: bytes, fields: dict[str, Any], *, tenant: str, previous: str, now: float) -> Stored | None:
    """What to keep of an answer; None where it is not to be kept, or can't be.

    Args:
        answer: the response as JSON: the body of a plain answer, or `last_response` of a stream.
        fields: the request that was answered, as `expand` returned it, or the client's own without one.
        tenant: whose it is.
        previous: the response that the client went on from, which the engine was not told of.
        now: Unix seconds.
    """
    if len(answer) > RESPONSE_BYTES_MAX:
        return None
    try:
        response = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return None
    if type(response) is not dict or response.get("status") not in ("completed", "incomplete"):
        return None
    response_id = response.get("id")
    if type(response_id) is not str or not _ID.fullmatch(response_id):
        return None
    if previous:
        response["previous_response_id"] = previous
    body, items = orjson.dumps(response | {"store": True}), orjson.dumps(_items_of(fields))
    if len(body) + len(items) > RESPONSE_BYTES_MAX:
        return None
    return Stored(id=response_id, tenant=tenant, expires=int(now) + TTL_S, body=body, items=items)


# ------------------------------------------------------------------ paths with an id


def answer_about(path: StoredPath, method: str, found: Stored | None) -> bytes | Failure:
    """The body that answers `method` on a path with an id, of a response that the caller's tenant has or has not.

    A DELETE of what was found is the caller's to perform, before this is sent.
    """
    if method not in path.allow.split(", "):
        message = f"{path.pattern} does not take {method}; use {path.allow.replace(', ', ' or ')}."
        return Failure(status=405, code="method_not_allowed", message=message, allow=path.allow)
    if found is None:
        return unknown_response(path.response_id)
    match path.action:
        case "response":
            return deleted(found.id) if method == "DELETE" else found.body
        case "input_items":
            return input_items(found)
        case "cancel":
            return not_cancelled(found.id)
        case _:
            assert_never(path.action)


def input_items(stored: Stored) -> bytes:
    """The answer to GET `/v1/responses/{id}/input_items`: all of them on one page, earliest first."""
    items = []
    for number, item in enumerate(orjson.loads(stored.items)):
        shown = dict(item) if type(item) is dict else {"type": "message", "role": "user", "content": str(item)}
        shown.setdefault("type", "message")
        shown.setdefault("id", f"item_{stored.id.removeprefix('resp_')}_{number}")
        if type(shown.get("content")) is str:
            kind = "output_text" if shown.get("role") == "assistant" else "input_text"
            shown["content"] = [{"type": kind, "text": shown["content"]}]
        items.append(shown)
    ids = [item["id"] for item in items] or [None]
    page = {"object": "list", "data": items, "first_id": ids[0], "last_id": ids[-1], "has_more": False}
    return orjson.dumps(page)


def deleted(response_id: str) -> bytes:
    """The answer to a DELETE that found something."""
    return orjson.dumps({"id": response_id, "object": "response", "deleted": True})


def unknown_response(response_id: str, *, param: str | None = None) -> Failure:
    """404: no such response, or another tenant's, which is the same."""
    message = (
        f"Response '{response_id[:128]}' was not found: it was never stored (store: false, or larger than "
        f"{RESPONSE_BYTES_MAX >> 20} MiB), was deleted, or is too old."
    )
    code = "previous_response_not_found" if param else "response_not_found"
    return Failure(status=404, code=code, message=message, param=param)


def not_cancelled(response_id: str) -> Failure:
    """400: only a response in the background can be cancelled, and there are none here."""
    message = f"Response '{response_id[:128]}' is complete: only a response in the background can be cancelled."
    return Failure(status=400, code="not_cancellable", message=message)
