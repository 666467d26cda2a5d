"""Streams that fail in the middle."""

from __future__ import annotations

import pytest

from simulate.io.engine.running import running_engine

BODY = {"max_tokens": 20, "stream": True, "ignore_eos": True, "return_token_ids": True}
CHAT = BODY | {"messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("path", "body"), [("/v1/chat/completions", CHAT), ("/v1/completions", BODY | {"prompt": "hi"})]
)
def test_a_dead_engine_ends_a_stream_with_an_error_and_done(path: str, body: dict[str, object]) -> None:
    with running_engine(has_faults=True) as engine:
        engine.post("/fault", {"mode": "error500", "at_token": 3, "count": 1})
        *tokens, error, done = engine.post(path, body).events
        healthy = engine.post(path, body).events

    assert sum(len(event["choices"][0].get("token_ids") or ()) for event in tokens) >= 3
    assert error["error"]["code"] == 500
    assert error["error"]["message"].startswith("EngineCore encountered an issue.")
    assert done == "[DONE]"
    assert "error" not in healthy[-2]


def test_a_dead_engine_ends_messages_with_an_error_event() -> None:
    body = {"model": "tiny", "max_tokens": 20, "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    with running_engine(has_faults=True) as engine:
        engine.post("/fault", {"mode": "error500", "at_token": 1})
        answer = engine.post("/v1/messages", body)

    assert answer.chunks[-1].startswith(b"event: error\n")
