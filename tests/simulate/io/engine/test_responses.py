"""The responses route end to end."""

from __future__ import annotations

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
