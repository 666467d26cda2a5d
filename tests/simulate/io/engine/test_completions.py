"""Completions end to end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from simulate.io.engine.running import RunningEngine, running_engine

PATH = "/v1/completions"


@pytest.fixture(scope="module")
def engine() -> Iterator[RunningEngine]:
    with running_engine() as running:
        yield running


def ask(engine: RunningEngine, **fields: Any) -> Any:
    answer = engine.post(PATH, {"prompt": "The river", "max_tokens": 24, "ignore_eos": True} | fields)
    assert answer.status == 200, answer.body
    return answer


@pytest.mark.parametrize("cut", [1, 8, 23])
def test_a_completion_goes_on_from_its_token_ids_at_any_cut(engine: RunningEngine, cut: int) -> None:
    whole = ask(engine, return_token_ids=True).json["choices"][0]
    ids = whole["prompt_token_ids"] + whole["token_ids"][:cut]

    rest = ask(engine, prompt=ids, max_tokens=24 - cut, return_token_ids=True).json["choices"][0]

    assert rest["token_ids"] == whole["token_ids"][cut:]


def test_a_batch_has_choices_for_each_prompt_in_order(engine: RunningEngine) -> None:
    alone = [ask(engine, prompt=prompt).json["choices"][0]["text"] for prompt in ("one", "two")]

    choices = ask(engine, prompt=["one", "two"]).json["choices"]

    assert [choice["text"] for choice in choices] == alone
    assert [choice["index"] for choice in choices] == [0, 1]


def test_a_stream_says_what_the_whole_answer_says(engine: RunningEngine) -> None:
    events = ask(engine, stream=True, stream_options={"include_usage": True}).events

    assert events[-1] == "[DONE]"
    assert "".join(event["choices"][0]["text"] for event in events[:-2]) == ask(engine).json["choices"][0]["text"]
    assert events[-2]["usage"]["completion_tokens"] == 24


def test_echo_gives_the_prompt_first(engine: RunningEngine) -> None:
    assert ask(engine, echo=True).json["choices"][0]["text"].startswith("The river")
    only = ask(engine, echo=True, max_tokens=0).json
    assert (only["choices"][0]["text"], only["usage"]["completion_tokens"]) == ("The river", 1)


def test_min_tokens_and_ignore_eos_hold_off_the_end(engine: RunningEngine) -> None:
    long = ask(engine, ignore_eos=False, min_tokens=300, max_tokens=300).json["usage"]

    assert long["completion_tokens"] == 300


def test_equal_prefixes_are_cached(engine: RunningEngine) -> None:
    prompt = list(range(200))
    ask(engine, prompt=prompt)
    name = 'vllm:prefix_cache_hits_total{engine="0",model_name="tiny"}'
    before = engine.metrics()[name]
    ask(engine, prompt=prompt)

    assert engine.metrics()[name] - before >= 180


def test_a_suffix_is_refused(engine: RunningEngine) -> None:
    answer = engine.post(PATH, {"prompt": "a", "suffix": "b"})

    assert (answer.status, answer.json["error"]["param"]) == (400, "suffix")
