"""The fleet file's `requests` of a model come before the gateway's, and both before the defaults."""

from __future__ import annotations

from penstock.serve.admission.policy import compile_bounds
from penstock.spec import RequestsSpec


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
