"""From request bytes to a typed request, with vLLM's words where they do not fit.

Guarantees: the same message, parameter and status as vLLM 0.32 for a missing body, malformed JSON (with its position),
a missing field, a wrong type or a wrong content type. Leaves to others: what the values mean.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError

from penstock.simulate.engine.api.errors import ApiError

__all__ = ["check_content_type", "parse_body", "parse_json"]

T = TypeVar("T")

_UNION_TAG = re.compile(
    r"""^(?:
        .*\[.*                                   # list[...], dict[...], function-before[...]
      | (?:constrained-)?(?:str|int|float|bool|bytes|dict|list|none)
      | nullable | lax-or-strict | literal
    )$""",
    re.VERBOSE,
)


def check_content_type(content_type: str | None) -> None:
    """Refuses a body that is not declared as JSON."""
    media = (content_type or "").lower().split(";", maxsplit=1)[0]
    if media != "application/json":
        raise _invalid(["Unsupported Media Type: Only 'application/json' is allowed"], None)


def parse_json(body: bytes) -> Any:
    """The JSON value of a body; `None` for an empty one, as the web framework of vLLM has it."""
    if not body:
        return None
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _parse_leniently(body)


def parse_body(adapter: TypeAdapter[T], body: bytes, check: Callable[[dict[str, Any]], None] | None = None) -> T:
    """The typed request of a body. `check` sees the JSON object first: some findings of vLLM come before the types."""
    value = parse_json(body)
    if value is None:
        raise _failed([{"type": "missing", "loc": ("body",), "msg": "Field required", "input": None}])
    if check is not None and isinstance(value, dict):
        check(value)
    try:
        return adapter.validate_python(value)
    except ValidationError as failure:
        errors = [{**error, "loc": ("body", *error["loc"])} for error in failure.errors(include_url=False)]
        raise _failed(errors) from None


def _parse_leniently(body: bytes) -> Any:
    """Python's own decoder: it accepts NaN as vLLM does, and its errors have the position that vLLM reports."""
    try:
        return json.loads(body)
    except json.JSONDecodeError as error:
        finding = {
            "type": "json_invalid",
            "loc": ("body", error.pos),
            "msg": "JSON decode error",
            "input": {},
            "ctx": {"error": error.msg},
        }
        raise _failed([finding]) from None
    except ValueError:
        raise ApiError(400, "There was an error parsing the body", "Bad Request") from None


def _failed(errors: Sequence[Mapping[str, Any]]) -> ApiError:
    return _invalid([_line(error) for error in errors], _place(errors[0]["loc"]))


def _invalid(lines: Sequence[str], param: str | None) -> ApiError:
    plural = "s" if len(lines) > 1 else ""
    text = "".join(f"\n  {line}" for line in lines)
    return ApiError(400, f"{len(lines)} validation error{plural}:{text}", "Bad Request", param)


def _line(error: Mapping[str, Any]) -> str:
    """One finding as vLLM prints it: a Python dict whose input is shortened."""
    shown: dict[str, Any] = {
        "type": error["type"],
        "loc": _place(error["loc"]),
        "msg": error["msg"],
        "input": _shorten(error.get("input")),
    }
    context = error.get("ctx")
    if context:
        shown["ctx"] = {key: str(value) if isinstance(value, Exception) else value for key, value in context.items()}
    return str(shown)


def _place(loc: Sequence[int | str]) -> str:
    """The dotted path without the names that pydantic gives to the branches of a union."""
    return ".".join(str(part) for part in loc if isinstance(part, int) or not _UNION_TAG.match(part))


def _shorten(value: object) -> str:
    if isinstance(value, dict):
        return f"<dict of {len(value)} items>"
    if isinstance(value, list):
        return f"<list of {len(value)} items>"
    return str(value)
