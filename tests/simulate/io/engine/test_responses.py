"""The responses route end to end."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from simulate.io.engine.running import RunningEngine, running_engine


@pytest.fixture(scope="module")
def engine() -> Iterator[RunningEngine]:
    with running_engine() as running:
        yield running


def test_a_response_says_what_a_chat_says(engine: RunningEngine) -> None:
    chat = {"messages": [{"role": "user", "content": "hi there"}], "max_tokens": 9}
    expected = engine.post("/v1/chat/completions", chat).json["choices"][0]["message"]["content"]
    body = {"input": "hi there", "max_output_tokens": 9}

    whole = engine.post("/v1/responses", body).json
    events = engine.post("/v1/responses", body | {"stream": True}).events

    assert whole["output"][0]["content"][0]["text"] == expected
    assert "".join(event["delta"] for event in events if event["type"].endswith("text.delta")) == expected
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == expected


def test_without_a_limit_it_may_fill_the_context(engine: RunningEngine) -> None:
    answer = engine.post("/v1/responses", {"input": "hi", "ignore_eos": True}).json

    assert answer["usage"]["total_tokens"] == 1024
    assert answer["status"] == "incomplete"


def test_the_request_id_is_used_with_one_prefix(engine: RunningEngine) -> None:
    body = {"input": "hi", "max_output_tokens": 1, "request_id": "resp_mine"}

    assert engine.post("/v1/responses", body).json["id"] == "resp_mine"


SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}


@pytest.mark.parametrize("stream", [False, True])
def test_a_format_binds_the_text_as_it_binds_a_chats(engine: RunningEngine, stream: bool) -> None:
    form = {"type": "json_schema", "name": "person", "schema": SCHEMA, "strict": True}
    body = {"input": "Who?", "max_output_tokens": 500, "text": {"format": form}, "stream": stream}

    answer = engine.post("/v1/responses", body)
    response = answer.events[-1]["response"] if stream else answer.json

    person = json.loads(response["output"][0]["content"][0]["text"])
    assert (type(person["name"]), type(person["age"])) == (str, int)
    assert response["text"]["format"] == form
    assert response["status"] == "completed"


def test_any_json_is_a_format_and_text_is_none(engine: RunningEngine) -> None:
    body = {"input": "Who?", "max_output_tokens": 500}

    some = engine.post("/v1/responses", body | {"text": {"format": {"type": "json_object"}}}).json
    plain = engine.post("/v1/responses", body | {"text": {"format": {"type": "text"}, "verbosity": "low"}}).json

    assert isinstance(json.loads(some["output"][0]["content"][0]["text"]), dict)
    assert plain["output"][0]["content"] == engine.post("/v1/responses", body).json["output"][0]["content"]


def test_a_schema_that_can_not_be_read_is_refused(engine: RunningEngine) -> None:
    form = {"type": "json_schema", "name": "x", "schema": {"type": "nope"}}

    answer = engine.post("/v1/responses", {"input": "Who?", "text": {"format": form}})

    assert answer.status == 400
    assert "Grammar error" in answer.json["error"]["message"]


WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "Weather of a town.",
    "parameters": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
    "strict": True,
}
CALLING = {"input": "Weather?", "max_output_tokens": 200, "tools": [WEATHER], "tool_choice": "required"}


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "weather"}])
def test_a_tool_that_must_be_called_is_an_item_of_its_own(engine: RunningEngine, choice: object) -> None:
    answer = engine.post("/v1/responses", CALLING | {"tool_choice": choice}).json

    (call,) = answer["output"]
    assert (call["type"], call["name"], call["status"]) == ("function_call", "weather", "completed")
    assert call["id"].startswith("fc_")
    assert call["call_id"]
    assert type(json.loads(call["arguments"])["town"]) is str
    assert answer["status"] == "completed"


def test_a_call_is_streamed_piece_by_piece(engine: RunningEngine) -> None:
    events = engine.post("/v1/responses", CALLING | {"stream": True}).events

    whole = engine.post("/v1/responses", CALLING).json["output"][0]["arguments"]
    kinds = [event["type"].removeprefix("response.") for event in events]
    deltas = [event["delta"] for event in events if event["type"].endswith("arguments.delta")]
    assert "".join(deltas) == whole
    assert [kind for kind in kinds if not kind.endswith("delta")] == [
        *("created", "in_progress", "output_item.added", "function_call_arguments.done", "output_item.done"),
        "completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["response"]["output"][0]["arguments"] == whole


def test_what_a_tool_returned_is_read_and_built_in_tools_are_passed_over(engine: RunningEngine) -> None:
    """A model that is free to call calls the tool that the user's last words name, and else answers."""
    turns = [
        {"role": "user", "content": "What of Oslo?"},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"town": "Oslo"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "Rain."},
    ]
    body = {"max_output_tokens": 5, "tools": [WEATHER, {"type": "web_search"}]}

    told = engine.post("/v1/responses", body | {"input": turns}).json
    other = engine.post("/v1/responses", body | {"input": [*turns[:3], turns[3] | {"output": "Sun."}]}).json

    assert told["output"][0]["type"] == "message"
    assert told["output"][0]["content"] != other["output"][0]["content"]
