"""Tokenize and detokenize end to end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from simulate.io.engine.running import RunningEngine, running_engine


@pytest.fixture(scope="module")
def engine() -> Iterator[RunningEngine]:
    with running_engine() as running:
        yield running


@pytest.mark.parametrize("text", ["hello world", "café 🚀\n", "<|im_start|>user"])
def test_text_comes_back_from_its_tokens(engine: RunningEngine, text: str) -> None:
    made = engine.post("/tokenize", {"prompt": text}).json

    assert made["count"] == len(made["tokens"])
    assert engine.post("/detokenize", {"tokens": made["tokens"]}).json == {"prompt": text}


def test_a_conversation_counts_what_a_chat_counts(engine: RunningEngine) -> None:
    messages = [{"role": "user", "content": "hi"}]
    chat = engine.post("/v1/chat/completions", {"messages": messages, "max_tokens": 1}).json

    assert engine.post("/tokenize", {"messages": messages}).json["count"] == chat["usage"]["prompt_tokens"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tokenize", {"prompt": "hi", "model": "nope"}),
        ("/tokenize", {"prompt": "word " * 2000}),
        ("/tokenize", {}),
        ("/detokenize", {"tokens": [-1]}),
        ("/detokenize", {"tokens": [10**9]}),
        ("/detokenize", {"tokens": "x"}),
    ],
)
def test_what_cannot_be_tokenized_is_refused(engine: RunningEngine, path: str, body: dict[str, object]) -> None:
    assert engine.post(path, body).status in (400, 404)
