"""Sampling values: ranges, limits, defaults."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.simulate.engine.api.chat_request import ChatCompletionRequest
from penstock.simulate.engine.api.completion_request import CompletionRequest
from penstock.simulate.engine.api.errors import ApiError
from penstock.simulate.engine.api.fields import ChatMessage
from penstock.simulate.engine.api.sampling import (
    Sampling,
    prompt_too_long,
    sampling_of_chat,
    sampling_of_completion,
)


def chat(**fields: Any) -> ChatCompletionRequest:
    return ChatCompletionRequest(messages=[ChatMessage(role="user", content="x")], **fields)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n": 0}, "n must be at least 1, got 0."),
        ({"n": 2, "temperature": 0.0}, "n must be 1 when using greedy sampling, got 2."),
        ({"presence_penalty": 3.0}, "presence_penalty must be in [-2, 2], got 3.0."),
        ({"frequency_penalty": -3.0}, "frequency_penalty must be in [-2, 2], got -3.0."),
        ({"repetition_penalty": 0.0}, "repetition_penalty must be greater than zero, got 0.0."),
        ({"temperature": -1.0}, "temperature must be non-negative, got -1.0. (parameter=temperature, value=-1.0)"),
        ({"top_p": 0.0}, "top_p must be in (0, 1], got 0.0. (parameter=top_p, value=0.0)"),
        ({"top_k": -2}, "top_k must be 0 (disable), or at least 1, got -2."),
        ({"min_p": 2.0}, "min_p must be in [0, 1], got 2.0."),
        ({"max_tokens": 0}, "max_tokens must be at least 1, got 0. (parameter=max_tokens, value=0)"),
        ({"min_tokens": -1}, "min_tokens must be greater than or equal to 0, got -1."),
        ({"min_tokens": 9, "max_tokens": 8}, "min_tokens must be less than or equal to max_tokens=8, got 9."),
        ({"stop": ("a", "")}, "stop cannot contain an empty string."),
        ({"logprobs": -5}, "logprobs must be non-negative or -1, got -5. (parameter=logprobs, value=-5)"),
        (
            {"prompt_logprobs": 21},
            "Requested prompt logprobs of 21, which is greater than max allowed: 20 "
            "(parameter=prompt_logprobs, value=21)",
        ),
    ],
)
def test_a_value_out_of_range_is_refused_in_vllms_words(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ApiError) as caught:
        Sampling(**values).check()

    assert caught.value.message == message


@given(st.integers(1, 2000), st.none() | st.integers(1, 2000))
def test_prompt_and_output_always_fit_the_context(prompt_tokens: int, max_tokens: int | None) -> None:
    sampling = Sampling(max_tokens=max_tokens)

    if prompt_tokens >= 1024:
        with pytest.raises(ApiError, match="max_tokens must be at least 1"):
            sampling.within(prompt_tokens, 1024)
    else:
        fitted = sampling.within(prompt_tokens, 1024).max_tokens
        assert fitted is not None
        assert 1 <= fitted <= 1024 - prompt_tokens
        assert max_tokens is None or fitted <= max_tokens


def test_an_output_limit_above_the_context_is_refused_by_its_own_name() -> None:
    with pytest.raises(ApiError, match="max_completion_tokens=5000 cannot be greater than max_model_len=1024"):
        sampling_of_chat(chat(max_completion_tokens=5000, max_tokens=4), 1024)
    with pytest.raises(ApiError, match="max_tokens=5000 cannot be greater"):
        sampling_of_completion(CompletionRequest(prompt="x", max_tokens=5000), 1024)


def test_a_chat_without_values_has_vllms_defaults() -> None:
    assert sampling_of_chat(chat(), 1024) == Sampling()
    assert sampling_of_completion(CompletionRequest(prompt="x"), 1024) == replace(Sampling(), max_tokens=16)


def test_logprobs_of_a_chat_are_as_many_as_top_logprobs() -> None:
    assert sampling_of_chat(chat(logprobs=True, top_logprobs=3), 1024).logprobs == 3
    assert sampling_of_chat(chat(logprobs=True), 1024).logprobs == 0
    assert sampling_of_chat(chat(), 1024).logprobs is None


def test_echo_without_output_asks_for_one_token_and_echo_with_logprobs_scores_the_prompt() -> None:
    sampling = sampling_of_completion(CompletionRequest(prompt="x", echo=True, max_tokens=0, logprobs=1), 1024)

    assert sampling.max_tokens == 1
    assert sampling.prompt_logprobs == 1


def test_one_stop_string_is_a_list_of_one() -> None:
    assert sampling_of_chat(chat(stop="end"), 1024).stop == ("end",)
    assert sampling_of_chat(chat(stop=["a", "b"]), 1024).stop == ("a", "b")


def test_a_long_prompt_is_told_what_was_counted() -> None:
    assert "contains at least 1025 input tokens" in prompt_too_long(1025, 1024, at_least=True).message
    assert "contains 1030 input tokens" in prompt_too_long(1030, 1024, at_least=False).message
