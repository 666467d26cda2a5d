"""Checks on combinations of fields, before types."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.simulate.engine.api.checks import check_chat, check_completion
from penstock.simulate.engine.api.errors import ApiError

TOOL = {"type": "function", "function": {"name": "a", "parameters": {}}}


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"stream_options": {"include_usage": True}}, "stream_options", "Stream options can only be defined"),
        ({"prompt_logprobs": 1, "stream": True}, "prompt_logprobs", "not available when `stream=True`"),
        ({"prompt_logprobs": -3}, "prompt_logprobs", "positive value"),
        ({"top_logprobs": 2}, "top_logprobs", "`logprobs` must be set to true"),
        ({"top_logprobs": -2, "logprobs": True}, "top_logprobs", "positive value"),
        ({"response_format": {"type": "json_schema"}}, "response_format", "'json_schema' field must be provided"),
        ({"structured_outputs": {"regex": "a", "choice": ["b"]}}, "structured_outputs", "only use one kind"),
        ({"tool_choice": "auto"}, "tool_choice", "`tools` must be set"),
        ({"tool_choice": "maybe", "tools": [TOOL]}, "tool_choice", "Invalid value for `tool_choice`: maybe!"),
        ({"tool_choice": {"type": "function"}, "tools": [TOOL]}, "tool_choice", "Expected field `function`"),
        ({"tool_choice": {"function": {"name": "b"}}, "tools": [TOOL]}, "tool_choice", "does not match any"),
        ({"continue_final_message": True}, None, "Cannot set both"),
    ],
)
def test_a_chat_that_contradicts_itself_is_refused(body: dict[str, Any], param: str | None, words: str) -> None:
    with pytest.raises(ApiError) as caught:
        check_chat(body)

    assert caught.value.param == param
    assert words in caught.value.message


@pytest.mark.parametrize("ids", [[], "x", [-1], [1.5], [True], None])
def test_continuation_ids_are_whole_numbers_from_zero(ids: object) -> None:
    with pytest.raises(ApiError, match="non-empty list of non-negative integers"):
        check_chat({"kv_transfer_params": {"prompt_token_ids": ids}})


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"logprobs": True, "top_logprobs": 2},
        {"tools": [TOOL], "tool_choice": "required"},
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "a"}}},
        {"continue_final_message": True, "add_generation_prompt": False},
        {"kv_transfer_params": {"prompt_token_ids": [0, 1]}},
        {"kv_transfer_params": {"other": 1}},
    ],
)
def test_a_chat_that_agrees_with_itself_passes(body: dict[str, Any]) -> None:
    check_chat(body)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "x", "logprobs": -1}, "logprobs"),
        ({"prompt": "x", "stream_options": {"include_usage": True}}, "stream_options"),
    ],
)
def test_a_completion_that_contradicts_itself_is_refused(body: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        check_completion(body)

    assert caught.value.param == param


def test_a_completion_of_ids_passes() -> None:
    check_completion({"prompt": [1], "logprobs": 0})
