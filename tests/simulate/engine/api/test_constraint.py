"""Constrained output: it keeps its constraint, and a bad one is refused."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from penstock.simulate.engine.api.chat_request import ChatCompletionRequest
from penstock.simulate.engine.api.completion_request import CompletionRequest
from penstock.simulate.engine.api.constraint import Constrained, constrain_chat, constrain_completion
from penstock.simulate.engine.api.errors import ApiError
from penstock.simulate.engine.text import tokenizer

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}},
    {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}},
]


def constrained(content: str = "hello", **fields: Any) -> Constrained | None:
    request = ChatCompletionRequest.model_validate({"messages": [{"role": "user", "content": content}]} | fields)
    return constrain_chat(request, [1, 2], 0)


def text_of(found: Constrained | None) -> str:
    assert found is not None
    return tokenizer().decode(found.ids)


def refusal(**fields: Any) -> str:
    with pytest.raises(ApiError) as caught:
        constrained(**fields)
    return caught.value.message


def test_free_output_is_not_constrained() -> None:
    assert constrained() is None
    assert constrained(response_format={"type": "text"}) is None
    assert constrained(tools=TOOLS) is None
    assert constrained(tools=TOOLS, tool_choice="none", content="call get_time") is None


@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
        {"structured_outputs": {"json": SCHEMA}},
        {"structured_outputs": {"json": json.dumps(SCHEMA)}},
    ],
)
def test_json_by_schema_fits_the_schema(fields: dict[str, Any]) -> None:
    assert json.loads(text_of(constrained(**fields)))["city"] in ("Paris", "Rome")


@pytest.mark.parametrize(
    "fields", [{"response_format": {"type": "json_object"}}, {"structured_outputs": {"json_object": True}}]
)
def test_a_json_object_is_an_object(fields: dict[str, Any]) -> None:
    assert isinstance(json.loads(text_of(constrained(**fields))), dict)


def test_choices_and_patterns_are_kept() -> None:
    assert text_of(constrained(structured_outputs={"choice": ["yes", "no"]})) in ("yes", "no")
    assert re.fullmatch(r"\d{3}-[a-z]+", text_of(constrained(structured_outputs={"regex": r"\d{3}-[a-z]+"})))


def test_a_named_tool_is_called_and_ends_with_stop() -> None:
    choice = {"type": "function", "function": {"name": "get_time"}}
    found = constrained(tools=TOOLS, tool_choice=choice)

    assert found is not None
    assert (found.tool, found.finish_reason, found.is_demanded) == ("get_time", "stop", True)


def test_a_required_call_takes_the_tool_that_the_user_names() -> None:
    named = constrained("please call get_time", tools=TOOLS, tool_choice="required")
    first = constrained(tools=TOOLS, tool_choice="required")

    assert named is not None
    assert first is not None
    assert (named.tool, first.tool) == ("get_time", "get_weather")
    assert first.finish_reason == "tool_calls"
    assert json.loads(text_of(first))["city"] in ("Paris", "Rome")


def test_the_model_calls_a_tool_by_itself_when_the_user_names_it() -> None:
    found = constrained("use get_weather", tools=TOOLS)

    assert found is not None
    assert (found.tool, found.is_demanded) == ("get_weather", False)


def test_a_schema_that_cannot_be_read_is_a_grammar_error() -> None:
    bad = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "frob"}}}
    deep = {"type": "object", "properties": {"a": {"items": {"type": "frob"}}}}
    endless = {"$ref": "#"}

    assert refusal(response_format=bad) == "Grammar error: Invalid type: frob"
    assert refusal(structured_outputs={"json": deep}) == "Grammar error: Invalid type: frob"
    assert refusal(structured_outputs={"json": endless}).startswith("Grammar error: ")
    assert refusal(structured_outputs={"json": "{nonsense"}).startswith("Grammar error: ")


def test_a_pattern_that_cannot_be_read_shows_the_place() -> None:
    message = refusal(structured_outputs={"regex": "(("})

    assert "error: unclosed group\n" in message
    assert "    ((\n     ^\n" in message


def test_grammars_are_refused_and_said_to_be() -> None:
    assert "not simulated" in refusal(structured_outputs={"grammar": "root ::= x"})


def test_completions_are_constrained_the_same_way() -> None:
    request = CompletionRequest.model_validate({"prompt": "x", "structured_outputs": {"choice": ["only"]}})

    assert text_of(constrain_completion(request, [1], 0)) == "only"
    assert constrain_completion(CompletionRequest(prompt="x"), [1], 0) is None
