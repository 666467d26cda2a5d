"""JSON bytes and server-sent events as vLLM writes them.

Guarantees: compact JSON, text unescaped, never an exception for text that UTF-8 cannot write (half of a surrogate pair
becomes U+FFFD). Leaves to others: the shape of each answer.
"""

from __future__ import annotations

from typing import Any

import orjson

__all__ = ["DONE", "dump", "event", "quote"]

DONE = b"data: [DONE]\n\n"
"""The last event of an OpenAI stream."""


def dump(value: Any) -> bytes:
    """JSON of a value built from dict, list, str, numbers and None."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return orjson.dumps(_mend(value))


def quote(text: str) -> bytes:
    """One JSON string."""
    try:
        return orjson.dumps(text)
    except TypeError:
        return orjson.dumps(_mend(text))


def event(name: str, value: Any) -> bytes:
    """A named event, as the responses and messages routes send them."""
    return b"event: " + name.encode() + b"\ndata: " + dump(value) + b"\n\n"


def _mend(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {_mend(key): _mend(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mend(item) for item in value]
    return value
