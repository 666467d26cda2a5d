"""Our own answers to the main requests, as shapes, beside the kept ones: coverage without the recorded answers.

A change on purpose is written with `PENSTOCK_WRITE_GOLDENS=1 pytest tests/simulate/io/engine/test_golden_answers.py`
and reviewed as code.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from simulate.io.engine.recorded import body_shape, header_shape
from simulate.io.engine.running import Answer, RunningEngine, running_engine

GOLDENS = Path(__file__).with_name("goldens.json")
IS_WRITING = os.environ.get("PENSTOCK_WRITE_GOLDENS") == "1"

_USER = [{"role": "user", "content": "Tell me of the river"}]
_CHAT = {"model": "tiny", "messages": _USER, "max_tokens": 6, "ignore_eos": True}
_TEXT = {"model": "tiny", "prompt": "The river", "max_tokens": 6, "ignore_eos": True}
_TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "parameters": {"type": "object", "properties": {"at": {"const": "x"}}, "required": ["at"]},
    },
}
_NAMED = {"type": "function", "function": {"name": "look"}}
_MESSAGE = {"model": "tiny", "max_tokens": 6, "messages": _USER}
_USAGE = {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}}

GENERATE: dict[str, tuple[str, str, Any]] = {
    "health": ("GET", "/health", None),
    "models": ("GET", "/v1/models", None),
    "version": ("GET", "/version", None),
    "not found": ("GET", "/nope", None),
    "wrong method": ("GET", "/v1/completions", None),
    "chat": ("POST", "/v1/chat/completions", _CHAT),
    "chat stream": ("POST", "/v1/chat/completions", _CHAT | {"stream": True}),
    "chat stream with usage": ("POST", "/v1/chat/completions", _CHAT | _USAGE),
    "chat stream of two": ("POST", "/v1/chat/completions", _CHAT | {"stream": True, "n": 2}),
    "chat with logprobs": ("POST", "/v1/chat/completions", _CHAT | {"logprobs": True, "top_logprobs": 2}),
    "chat with ids": ("POST", "/v1/chat/completions", _CHAT | {"return_token_ids": True}),
    "chat stream with ids": ("POST", "/v1/chat/completions", _CHAT | {"return_token_ids": True, "stream": True}),
    "tool call": ("POST", "/v1/chat/completions", _CHAT | {"tools": [_TOOL], "tool_choice": _NAMED, "max_tokens": 90}),
    "tool call stream": (
        "POST",
        "/v1/chat/completions",
        _CHAT | {"tools": [_TOOL], "tool_choice": "required", "max_tokens": 90, "stream": True},
    ),
    "batch": ("POST", "/v1/chat/completions/batch", {"messages": [_USER, _USER], "max_tokens": 2}),
    "completion": ("POST", "/v1/completions", _TEXT),
    "completion stream": ("POST", "/v1/completions", _TEXT | {"stream": True}),
    "completion stream with usage": ("POST", "/v1/completions", _TEXT | _USAGE),
    "completion echo with logprobs": ("POST", "/v1/completions", _TEXT | {"echo": True, "logprobs": 1}),
    "response": ("POST", "/v1/responses", {"input": "hi", "max_output_tokens": 4, "ignore_eos": True}),
    "response stream": (
        "POST",
        "/v1/responses",
        {"input": "hi", "max_output_tokens": 4, "ignore_eos": True, "stream": True},
    ),
    "message": ("POST", "/v1/messages", _MESSAGE),
    "message stream": ("POST", "/v1/messages", _MESSAGE | {"stream": True}),
    "tokenize": ("POST", "/tokenize", {"prompt": "hi"}),
    "unknown model": ("POST", "/v1/completions", _TEXT | {"model": "nope"}),
    "unknown model of a message": ("POST", "/v1/messages", _MESSAGE | {"model": "nope"}),
    "wrong type": ("POST", "/v1/completions", _TEXT | {"temperature": "hot"}),
    "malformed": ("POST", "/v1/completions", b'{"prompt": '),
    "too long": ("POST", "/v1/completions", _TEXT | {"prompt": [1] * 1025}),
    "out of range": ("POST", "/v1/completions", _TEXT | {"top_p": 2}),
    "forbidden": ("POST", "/inference/v1/generate", {}),
}
EMBED: dict[str, tuple[str, str, Any]] = {
    "embedding": ("POST", "/v1/embeddings", {"input": ["a", "b"]}),
    "embedding in base64": ("POST", "/v1/embeddings", {"input": "a", "encoding_format": "base64"}),
    "pooling": ("POST", "/pooling", {"input": "a"}),
    "score": ("POST", "/score", {"text_1": "a", "text_2": ["b", "c"]}),
    "rerank": ("POST", "/rerank", {"query": "a", "documents": ["a", "zebra"]}),
}


@pytest.fixture(scope="module")
def answers() -> dict[str, Answer]:
    def ask(engine: RunningEngine, cases: dict[str, tuple[str, str, Any]]) -> dict[str, Answer]:
        return {name: engine.ask(method, path, body) for name, (method, path, body) in cases.items()}

    with running_engine() as generating, running_engine(task="embed") as embedding:
        made = ask(generating, GENERATE) | ask(embedding, EMBED)
    if IS_WRITING:
        GOLDENS.write_text(json.dumps({name: shown(a) for name, a in made.items()}, indent=1) + "\n")
    return made


def shown(answer: Answer) -> dict[str, Any]:
    """An answer as it is kept: JSON bodies as lines, for a readable difference."""
    shape = body_shape(answer.body, answer.header("content-type"))
    return {
        "status": answer.status,
        "headers": [": ".join(pair) for pair in header_shape(answer.headers, is_exact=False)],
        "body": shape.split("\n") if isinstance(shape, str) else shape,
    }


@pytest.mark.parametrize("name", [*GENERATE, *EMBED])
def test_our_answer_is_the_kept_one(name: str, answers: dict[str, Answer]) -> None:
    kept = json.loads(GOLDENS.read_text())

    assert shown(answers[name]) == kept[name]


def test_nothing_is_kept_that_is_not_asked_for() -> None:
    assert set(json.loads(GOLDENS.read_text())) == set(GENERATE) | set(EMBED)
