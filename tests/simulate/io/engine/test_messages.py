"""Anthropic's messages end to end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from simulate.io.engine.running import RunningEngine, running_engine

BODY = {"model": "tiny", "max_tokens": 12, "messages": [{"role": "user", "content": "Tell me of the river"}]}
TOOL = {"name": "look", "input_schema": {"type": "object", "properties": {"at": {"enum": ["x"]}}, "required": ["at"]}}


@pytest.fixture(scope="module")
def engine() -> Iterator[RunningEngine]:
    with running_engine() as running:
        yield running


def deltas(events: list[Any], key: str) -> str:
    return "".join(event["delta"].get(key, "") for event in events if event["type"] == "content_block_delta")


def test_a_message_says_what_a_chat_says(engine: RunningEngine) -> None:
    chat = {"messages": BODY["messages"], "max_tokens": 12}
    expected = engine.post("/v1/chat/completions", chat).json["choices"][0]["message"]["content"]

    assert engine.post("/v1/messages", BODY).json["content"][0]["text"] == expected
    assert deltas(engine.post("/v1/messages", BODY | {"stream": True}).events, "text") == expected


def test_a_demanded_tool_is_used(engine: RunningEngine) -> None:
    body = BODY | {"max_tokens": 60, "tools": [TOOL], "tool_choice": {"type": "any"}}

    block = engine.post("/v1/messages", body).json["content"][0]
    streamed = deltas(engine.post("/v1/messages", body | {"stream": True}).events, "partial_json")

    assert (block["type"], block["name"], block["input"]) == ("tool_use", "look", {"at": "x"})
    assert json.loads(streamed) == {"at": "x"}


def test_a_tool_call_that_was_cut_has_no_input(engine: RunningEngine) -> None:
    body = BODY | {"max_tokens": 1, "tools": [TOOL], "tool_choice": {"type": "any"}}

    answer = engine.post("/v1/messages", body)

    assert answer.status == 200
    assert answer.json["stop_reason"] == "max_tokens"
    assert answer.json["content"][0]["input"] == {}


def test_tokens_are_counted_without_an_answer(engine: RunningEngine) -> None:
    body = {"model": "tiny", "messages": BODY["messages"]}

    count = engine.post("/v1/messages/count_tokens", body).json["input_tokens"]

    assert count == engine.post("/v1/messages", BODY).json["usage"]["input_tokens"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_format_binds_the_text(engine: RunningEngine, stream: bool) -> None:
    schema = {"type": "object", "properties": {"at": {"enum": ["x"]}}, "required": ["at"]}
    config = {"format": {"type": "json_schema", "schema": schema}, "effort": "low"}

    answer = engine.post("/v1/messages", BODY | {"max_tokens": 60, "output_config": config, "stream": stream})

    text = deltas(answer.events, "text") if stream else answer.json["content"][0]["text"]
    assert json.loads(text) == {"at": "x"}
