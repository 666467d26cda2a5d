"""Answers in a given form."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.simulate.engine.structured import Draws, choice_text, encode_forced, json_text, regex_text, tool_call
from penstock.simulate.engine.text import tokenizer


def _fits(value: Any, schema: dict[str, Any]) -> bool:
    """An independent check of the words that the strategy below uses."""
    if "enum" in schema:
        return value in schema["enum"]
    if "const" in schema:
        return bool(value == schema["const"])
    if "anyOf" in schema:
        return any(_fits(value, s) for s in schema["anyOf"])
    match schema["type"]:
        case "object":
            known = schema["properties"]
            return (
                isinstance(value, dict)
                and set(schema["required"]) <= set(value) <= set(known)
                and all(_fits(v, known[k]) for k, v in value.items())
            )
        case "array":
            low, high = schema["minItems"], schema["maxItems"]
            return (
                isinstance(value, list) and low <= len(value) <= high and all(_fits(v, schema["items"]) for v in value)
            )
        case "string":
            return isinstance(value, str) and schema["minLength"] <= len(value) <= schema["maxLength"]
        case "integer":
            return type(value) is int and schema["minimum"] <= value <= schema["maximum"]
        case "number":
            return isinstance(value, float) and schema["exclusiveMinimum"] < value < schema["exclusiveMaximum"]
        case "boolean":
            return isinstance(value, bool)
    return value is None


NAMES = st.sampled_from(["a", "b", "name", "size", "größe"])
LEAVES = st.one_of(
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.builds(lambda v: {"enum": v}, st.lists(st.one_of(st.integers(), st.text()), min_size=1, max_size=3)),
    st.builds(lambda v: {"const": v}, st.one_of(st.none(), st.integers(), st.text())),
    st.builds(
        lambda a, n: {"type": "string", "minLength": a, "maxLength": a + n}, st.integers(0, 40), st.integers(0, 9)
    ),
    st.builds(
        lambda a, n: {"type": "integer", "minimum": a, "maximum": a + n}, st.integers(-50, 50), st.integers(0, 99)
    ),
    st.builds(
        lambda a, n: {"type": "number", "exclusiveMinimum": a, "exclusiveMaximum": a + n},
        st.integers(-50, 50),
        st.integers(1, 99),
    ),
)


def _objects(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(NAMES, inner, max_size=4).flatmap(
        lambda known: st.builds(
            lambda required: {"type": "object", "properties": known, "required": sorted(required)},
            st.sets(st.sampled_from(sorted(known))) if known else st.just(set()),
        )
    )


SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        _objects(inner),
        st.builds(
            lambda items, low, more: {"type": "array", "items": items, "minItems": low, "maxItems": low + more},
            inner,
            st.integers(0, 3),
            st.integers(0, 3),
        ),
        st.builds(lambda some: {"anyOf": some}, st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(schema=SCHEMAS, context=st.lists(st.integers(0, 5000), max_size=5), seed=st.integers(0, 2**40))
def test_json_fits_its_schema_and_is_the_same_again(schema: dict[str, Any], context: list[int], seed: int) -> None:
    text = json_text(schema, Draws(context, seed))
    assert _fits(json.loads(text), schema)
    assert json_text(schema, Draws(context, seed)) == text
    assert tokenizer().decode(encode_forced(text)) == text


def test_context_and_seed_vary_the_answer() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    assert len({json_text(schema, Draws([n], s)) for n in range(5) for s in range(5)}) > 10


def test_references_allof_and_formats_are_followed() -> None:
    schema = {
        "$defs": {"person": {"type": "object", "properties": {"born": {"format": "date"}}, "required": ["born"]}},
        "allOf": [{"type": "object"}, {"properties": {"who": {"$ref": "#/$defs/person"}}, "required": ["who"]}],
    }
    value = json.loads(json_text(schema, Draws([1])))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", value["who"]["born"])


def test_a_tree_that_may_end_ends() -> None:
    schema = {
        "type": "object",
        "properties": {"value": {"type": "integer"}, "children": {"type": "array", "items": {"$ref": "#"}}},
        "required": ["value", "children"],
    }
    for seed in range(30):
        assert "value" in json.loads(json_text(schema, Draws([], seed)))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]},
        {"$ref": "#"},
        {"$ref": "#/$defs/none"},
    ],
)
def test_a_schema_without_end_or_target_is_an_error(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="JSON schema"):
        json_text(schema, Draws([]))


def test_pattern_of_a_string_is_met() -> None:
    assert re.search(
        r"^[A-Z]{3}-\d+$", json.loads(json_text({"type": "string", "pattern": r"^[A-Z]{3}-\d+$"}, Draws([])))
    )


def test_without_a_schema_the_answer_is_an_object() -> None:
    assert isinstance(json.loads(json_text(None, Draws([]))), dict)


def test_choice_is_one_of_them_and_each_comes_up() -> None:
    assert {choice_text(["yes", "no", "maybe"], Draws([n])) for n in range(40)} == {"yes", "no", "maybe"}


def test_regex_text_matches_whole() -> None:
    assert re.fullmatch(r"(red|blue)-\d\d", regex_text(r"(red|blue)-\d\d", Draws([4])))


WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CLOCK = {"type": "function", "function": {"name": "clock"}}


def test_tool_is_the_named_one_or_the_first_with_fitting_arguments() -> None:
    name, arguments = tool_call([CLOCK, WEATHER], "weather", Draws([]))
    assert (name, list(json.loads(arguments))) == ("weather", ["city"])
    assert tool_call([CLOCK, WEATHER], None, Draws([])) == ("clock", "{}")
