"""Prompts: from text, ids, messages and continuations to ids that fit."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.simulate.engine.api.chat_request import ChatCompletionRequest
from penstock.simulate.engine.api.completion_request import CompletionRequest
from penstock.simulate.engine.api.errors import ApiError
from penstock.simulate.engine.api.fields import ChatMessage
from penstock.simulate.engine.api.prompt import PromptLimits, chat_prompt, completion_prompts, pooling_prompts
from penstock.simulate.engine.text import chat_template, tokenizer

LIMITS = PromptLimits(max_model_len=64, served_name="tiny")


def prompts_of(prompt: Any, **fields: Any) -> list[list[int]]:
    return [made.ids for made in completion_prompts(CompletionRequest(prompt=prompt, **fields), LIMITS)]


def chat_of(*contents: Any, **fields: Any) -> ChatCompletionRequest:
    messages = [ChatMessage(role="user", content=content) for content in contents]
    return ChatCompletionRequest(messages=messages, **fields)


def test_a_prompt_may_be_text_ids_or_a_batch_of_either() -> None:
    hello = tokenizer().encode("hello")

    assert prompts_of("hello") == [hello]
    assert prompts_of([1, 2]) == [[1, 2]]
    assert prompts_of(["hello", "hello"]) == [hello, hello]
    assert prompts_of([[1], [2, 3]]) == [[1], [2, 3]]


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ([], "You must pass at least one prompt"),
        ([[]], "The decoder prompt cannot be empty"),
        ([9_999_999], "Token id 9999999 is out of vocabulary"),
        ([1] * 65, "your prompt contains 65 input tokens"),
        ("a b " * 40, "your prompt contains at least 65 input tokens"),
        ("x" * (64 * 64 + 1), "your prompt contains 4097 characters"),
    ],
)
def test_a_prompt_that_cannot_run_is_refused(prompt: Any, words: str) -> None:
    with pytest.raises(ApiError, match=words):
        prompts_of(prompt)


def test_ids_that_only_the_real_model_has_are_taken() -> None:
    limits = PromptLimits(max_model_len=64, served_name="tiny", vocabulary=150_000)

    (made,) = completion_prompts(CompletionRequest(prompt=[99_999], echo=True), limits)

    assert made.ids == [99_999]
    assert made.text == ""


@given(st.lists(st.integers(0, 255), min_size=1, max_size=200), st.integers(1, 64))
def test_truncation_keeps_the_end_or_the_start(ids: list[int], keep: int) -> None:
    assert prompts_of(ids, truncate_prompt_tokens=keep) == [ids[-keep:]]
    assert prompts_of(ids, truncate_prompt_tokens=keep, truncation_side="right") == [ids[:keep]]
    assert prompts_of(ids, truncate_prompt_tokens=-1) == [ids[-64:]]


def test_truncation_beyond_the_context_is_refused() -> None:
    with pytest.raises(ApiError, match="truncate_prompt_tokens=65 cannot be greater"):
        prompts_of([1], truncate_prompt_tokens=65)


def test_a_chat_is_rendered_with_its_template() -> None:
    assert chat_prompt(chat_of("hello"), LIMITS) == chat_template([{"role": "user", "content": "hello"}])


def test_continuation_ids_stand_for_the_messages() -> None:
    request = chat_of("hello", kv_transfer_params={"prompt_token_ids": [1, 2, 3]})

    assert chat_prompt(request, LIMITS) == [1, 2, 3]


def test_continuation_ids_are_ignored_with_echo_and_checked_otherwise() -> None:
    ids = {"prompt_token_ids": [9_999_999]}

    assert chat_prompt(chat_of("hello", kv_transfer_params=ids, echo=True), LIMITS) != [9_999_999]
    with pytest.raises(ApiError) as caught:
        chat_prompt(chat_of("hello", kv_transfer_params=ids), LIMITS)
    assert caught.value.param == "kv_transfer_params.prompt_token_ids"


def test_a_chat_without_messages_or_with_an_image_is_refused() -> None:
    with pytest.raises(ApiError, match="empty conversation"):
        chat_prompt(chat_of(), LIMITS)
    with pytest.raises(ApiError, match="tiny is not a multimodal model"):
        chat_prompt(chat_of([{"type": "text", "text": "x"}, {"type": "image_url"}]), LIMITS)


def test_inputs_of_an_embedding_model_are_truncated_at_the_end() -> None:
    assert pooling_prompts([1, 2, 3], 2, LIMITS) == [[1, 2]]
    assert pooling_prompts([[1], [2]], None, LIMITS) == [[1], [2]]
    assert pooling_prompts("hello", None, LIMITS) == [tokenizer().encode("hello")]
    with pytest.raises(ApiError, match="at least one prompt"):
        pooling_prompts([], None, LIMITS)


def test_text_for_an_embedding_model_is_bounded_by_wordpiece_length() -> None:
    limits = PromptLimits(max_model_len=256, served_name="minilm", task="embed")

    with pytest.raises(ApiError, match="more than 4608 characters"):
        pooling_prompts("x" * 6000, None, limits)
