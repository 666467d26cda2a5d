"""What a request fixes about its output beforehand: JSON by schema, a choice, a regular expression, a tool call.

Guarantees: text that keeps the constraint, as token ids; a constraint that cannot be read gets vLLM's `Grammar error`.
With `tool_choice: auto` the answer is plain text, unless the last user message names one of the tools. Leaves to
others: making the text (`structured.py` of the engine). EBNF grammars and structural tags are not simulated: refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock.simulate.engine.api.chat_request import ChatCompletionRequest
from penstock.simulate.engine.api.completion_request import CompletionRequest
from penstock.simulate.engine.api.errors import ApiError, bad_request
from penstock.simulate.engine.api.fields import (
    ChatCompletionNamedToolChoiceParam,
    ResponseFormat,
    StructuredOutputsParams,
)
from penstock.simulate.engine.structured import Draws, choice_text, encode_forced, json_text, regex_text, tool_call

__all__ = ["Constrained", "constrain_chat", "constrain_completion"]

_TYPES = {"object", "array", "string", "number", "integer", "boolean", "null"}
_REGEX_WORDS = {
    "missing ), unterminated subpattern": "unclosed group",
    "unbalanced parenthesis": "unopened group",
    "unterminated character set": "unclosed character class",
    "nothing to repeat": "repetition operator missing expression",
    "multiple repeat": "repetition operator missing expression",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Constrained:
    """Output that is known before the first step."""

    ids: tuple[int, ...]
    tool: str | None = None
    """Name of the tool whose arguments the output is."""
    finish_reason: str = "stop"
    is_demanded: bool = False
    """The request demanded a tool call; else the model chose it."""


def constrain_chat(request: ChatCompletionRequest, prompt_ids: Sequence[int], seed: int) -> Constrained | None:
    """The constrained output of a chat; None where it is free."""
    draws = Draws(prompt_ids, seed)
    if request.tools:
        called = _call(request, draws)
        if called is not None:
            return called
    return _constrain(request.response_format, request.structured_outputs, draws)


def constrain_completion(request: CompletionRequest, prompt_ids: Sequence[int], seed: int) -> Constrained | None:
    """The constrained output of a completion; None where it is free."""
    return _constrain(request.response_format, request.structured_outputs, Draws(prompt_ids, seed))


def _call(request: ChatCompletionRequest, draws: Draws) -> Constrained | None:
    """A tool call, where one is demanded or hinted at."""
    tools = [tool.model_dump(exclude_none=True) for tool in request.tools or ()]
    choice = request.tool_choice if "tool_choice" in request.model_fields_set else "auto"
    named: str | None = None
    if isinstance(choice, ChatCompletionNamedToolChoiceParam):
        named = choice.function.name
    elif choice == "none":
        return None
    else:
        named = _hinted(request, tools)
        if named is None and choice != "required":
            return None
    name, arguments = _checked(lambda: tool_call(tools, named, draws), [tool["function"] for tool in tools])
    is_named = isinstance(choice, ChatCompletionNamedToolChoiceParam)
    return Constrained(
        ids=encode_forced(arguments),
        tool=name,
        finish_reason="stop" if is_named else "tool_calls",
        is_demanded=is_named or choice == "required",
    )


def _hinted(request: ChatCompletionRequest, tools: Sequence[Mapping[str, Any]]) -> str | None:
    """The tool that the last message names, where a user wrote it."""
    last = request.messages[-1]
    if last.role != "user":
        return None
    text = last.content if isinstance(last.content, str) else json.dumps(last.content, default=str)
    names: list[str] = [tool["function"]["name"] for tool in tools]
    return next((name for name in names if name in text), None)


def _constrain(form: ResponseFormat | None, params: StructuredOutputsParams | None, draws: Draws) -> Constrained | None:
    if params is not None:
        text = _structured(params, draws)
        if text is not None:
            return Constrained(ids=encode_forced(text))
    if form is None or form.type == "text":
        return None
    schema = form.json_schema.json_schema if form.json_schema is not None and form.type == "json_schema" else None
    return Constrained(ids=encode_forced(_json(schema, draws)))


def _structured(params: StructuredOutputsParams, draws: Draws) -> str | None:
    if params.json_value is not None:
        return _json(_schema(params.json_value), draws)
    if params.regex is not None:
        return _regex(params.regex, draws)
    if params.choice:
        return choice_text(params.choice, draws)
    if params.json_object:
        return _json(None, draws)
    if params.grammar is not None or params.structural_tag is not None:
        raise bad_request("Grammar error: grammars and structural tags are not simulated by this engine")
    return None


def _schema(value: str | Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(value, str):
        return value
    try:
        schema = json.loads(value)
    except ValueError as error:
        raise bad_request(f"Grammar error: Invalid JSON grammar specification: {error}") from None
    return schema if isinstance(schema, dict) else {}


def _json(schema: Mapping[str, Any] | None, draws: Draws) -> str:
    text: str = _checked(lambda: json_text(schema, draws), schema)
    return text


def _checked(make: Any, schema: Any) -> Any:
    """What `make` returns; its complaint about the schema as an answer."""
    _check_types(schema, 0)
    try:
        return make()
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise bad_request(f"Grammar error: {error}") from None


def _check_types(schema: Any, depth: int) -> None:
    """Refuses a `type` that JSON schema does not have, as deep as `properties` and `items` go."""
    if depth > 64 or not isinstance(schema, (dict, list)):
        return
    if isinstance(schema, list):
        for part in schema:
            _check_types(part, depth + 1)
        return
    kinds = schema.get("type")
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if isinstance(kind, str) and kind not in _TYPES:
            raise bad_request(f"Grammar error: Invalid type: {kind}")
    for name in ("properties", "$defs", "definitions", "parameters"):
        parts = schema.get(name)
        if isinstance(parts, dict):
            _check_types([parts] if name == "parameters" else list(parts.values()), depth + 1)
    for name in ("items", "anyOf", "oneOf", "allOf", "prefixItems"):
        _check_types(schema.get(name), depth + 1)


def _regex(regex: str, draws: Draws) -> str:
    try:
        re.compile(regex)
    except re.error as error:
        raise _regex_error(regex, error) from None
    try:
        return regex_text(regex, draws)
    except ValueError as error:
        raise bad_request(f"Grammar error: {error}") from None


def _regex_error(regex: str, error: re.error) -> ApiError:
    """The words of vLLM's regular expression parser, with its two pictures of the place."""
    place = error.pos or 0
    reason = next((ours for theirs, ours in _REGEX_WORDS.items() if error.msg.startswith(theirs)), error.msg)
    column = 1 + len("start: ")
    return bad_request(
        f'Grammar error: at 1({column}): invalid regex "{regex}" (in regex): regex parse error:\n'
        f"    {regex}\n    {' ' * place}^\nerror: {reason}\n   1 | start: /{regex}/\n       {' ' * (column - 1)}^"
    )
