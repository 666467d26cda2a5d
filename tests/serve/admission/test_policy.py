"""The fleet file's `requests` of a model come before the gateway's, and both before the defaults."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.serve.admission.policy import compile_bounds, context_of
from penstock.spec import ModelSpec, RequestsSpec


def test_a_models_own_words_come_first() -> None:
    gateway = RequestsSpec(output_tokens_max=100, choices_max=4, over_output="reject")
    model = RequestsSpec(output_tokens_max=200)
    bounds = compile_bounds(gateway, model, context=1024, version="0.32.0")
    assert (bounds.output_tokens_max, bounds.choices_max, bounds.logprobs_max) == (200, 4, 20)
    assert bounds.rejects_output
    assert bounds.unsupported == "strip"


def test_a_limit_of_nothing_is_a_limit() -> None:
    bounds = compile_bounds(RequestsSpec(images_max=3), RequestsSpec(images_max=0), context=None, version="0.32.0")
    assert bounds.images_max == 0


def test_what_an_older_engine_takes_is_not_foreign_to_it() -> None:
    new = compile_bounds(RequestsSpec(), RequestsSpec(), context=None, version="0.32.0")
    old = compile_bounds(RequestsSpec(), RequestsSpec(), context=None, version="0.10.1")
    assert "guided_json" in new.foreign["chat"]
    assert "guided_json" not in old.foreign["chat"]
    assert "store" in old.foreign["chat"]


@pytest.mark.parametrize(
    ("said", "context"),
    [
        ({"name": "x", "contextLength": 512}, 512),
        ({"name": "x", "engine": {"args": {"max_model_len": 2048}}}, 2048),
        ({"name": "x", "engine": {"args": {"max-model-len": "4096"}}}, 4096),
        ({"name": "x", "engine": {"args": {"max-model-len": "auto"}}}, None),
        ({"name": "x", "engine": {"args": {"max-model-len": -1}}}, None),
        ({"name": "x", "source": "Qwen/Qwen3-8B"}, 40_960),
        ({"name": "x", "source": "Qwen/Qwen3-8B", "endpoints": ["http://127.0.0.1:9"]}, None),
        ({"name": "somebodys-own-model"}, None),
    ],
)
def test_the_context_is_what_the_file_says_or_what_the_model_is_known_for(
    said: dict[str, Any], context: int | None
) -> None:
    assert context_of(ModelSpec.model_validate(said)) == context
