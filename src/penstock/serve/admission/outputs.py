"""How much output a request asks for: which field says it, what it becomes, and how much is to be reserved for it.

Guarantees: what is sent on asks for no more than the limits; a request that asks for less keeps its own words; what is
reserved covers what the engine may write, except where nothing was asked (`UNNAMED_TOKENS`). Values that are wrong in
themselves (0, negative) are left to the engine, which has the words for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Output", "fitted", "read_output", "reserved_tokens"]

UNNAMED_TOKENS = 4_096
"""Tokens reserved for a request that names no limit, where the context has room for more: nearly every answer is
shorter, and to reserve a whole context would refuse such clients under any limit of tokens a minute. What they use is
charged when it is known."""
COMPLETION_DEFAULT = 16
"""What vLLM takes for completions that name no limit, as OpenAI's API does."""

_FIELDS: dict[str, tuple[str, ...]] = {
    "chat": ("max_completion_tokens", "max_tokens"),
    "chats": ("max_completion_tokens", "max_tokens"),
    "completion": ("max_tokens",),
    "responses": ("max_output_tokens",),
    "messages": ("max_tokens",),
}
"""By schema, in the order in which the engine looks."""


@dataclass(slots=True)  # not keyword-only, not frozen: one is made for each request
class Output:
    """What a request asks for."""

    field: str
    """Name of the field that says it, or would; empty where the API writes no tokens."""
    asked: int | None
    """Tokens that it asks for; None where it says nothing."""
    choices: int
    """Answers that it asks for."""


NO_OUTPUT = Output("", None, 0)


def read_output(schema: str, fields: Mapping[str, Any], batch: int) -> Output:
    """What a body asks for. `batch` is its number of prompts."""
    names = _FIELDS.get(schema)
    if names is None:
        return NO_OUTPUT
    choices = 1
    if type(n := fields.get("n")) is int and n > 1:
        choices = n
    if type(best := fields.get("best_of")) is int and best > choices:
        choices = best
    for name in names:
        value = fields.get(name)
        if type(value) is int:
            return Output(name, value, choices * batch)
    asked = COMPLETION_DEFAULT if schema == "completion" and "max_tokens" not in fields else None
    return Output(names[-1], asked, choices * batch)


def fitted(
    output: Output, *, most: int | None, default: int | None, context: int | None
) -> tuple[int | None, Literal["kept", "clamped", "given"]]:
    """(tokens that one answer may have, how that came about). None: as much as the context leaves."""
    limit = context if most is None else most if context is None else min(most, context)
    if output.asked is not None:
        if limit is not None and output.asked > limit:
            return limit, "clamped"
        return output.asked, "kept"
    if default is None:
        return (None, "kept") if most is None else (limit, "given")
    return (default if limit is None else min(default, limit)), "given"


def reserved_tokens(limit: int | None, room: int | None, choices: int, expected: float) -> int:
    """Output tokens to reserve. `room` is what the context leaves behind the prompt; `expected`, what answers have."""
    if not choices:
        return 0
    if limit is None:
        limit = max(UNNAMED_TOKENS, int(4 * expected))
    if room is not None:
        limit = min(limit, room)
    return max(limit, 0) * choices
