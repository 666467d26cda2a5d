"""An answer of chat completions, told as one of the Messages API."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.wire.messages import from_chat


def answer(message: dict[str, Any], finish: str = "stop", **choice: Any) -> dict[str, Any]:
    return {"id": "chatcmpl-7", "model": "m", "choices": [{"message": message, "finish_reason": finish, **choice}]}


def test_usage_counts_cached_tokens_apart() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 8}}
    assert from_chat({**answer({"content": "x"}), "usage": usage})["usage"] == {
        "input_tokens": 2,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 8,
        "output_tokens": 3,
    }


@pytest.mark.parametrize(
    ("finish", "matched", "reason", "sequence"),
    [
        ("stop", None, "end_turn", None),
        ("stop", 128009, "end_turn", None),
        ("stop", "END", "stop_sequence", "END"),
        ("length", None, "max_tokens", None),
        ("tool_calls", None, "tool_use", None),
        ("content_filter", None, "refusal", None),
        ("abort", None, None, None),
    ],
)
def test_why_it_stopped_is_told_in_the_other_apis_words(
    finish: str, matched: object, reason: str | None, sequence: str | None
) -> None:
    message = from_chat(answer({"content": "x"}, finish, stop_reason=matched))
    assert (message["stop_reason"], message["stop_sequence"]) == (reason, sequence)


def test_a_call_that_was_asked_for_by_name_is_still_a_call() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert from_chat(answer({"content": None, "tool_calls": [call]}, "stop"))["stop_reason"] == "tool_use"


def test_thoughts_come_first() -> None:
    kinds = [b["type"] for b in from_chat(answer({"content": "x", "reasoning": "hm"}))["content"]]
    assert kinds == ["thinking", "text"]


@pytest.mark.parametrize("arguments", ["{broken", "[1]", "5"])
def test_arguments_that_are_no_object_are_shown_and_not_made_up(arguments: str) -> None:
    call = {"id": "c", "function": {"name": "f", "arguments": arguments}}
    assert from_chat(answer({"tool_calls": [call]}))["content"][0]["input"] == {"_unparsed": arguments}


def test_the_model_has_the_name_that_the_client_gave_it() -> None:
    assert from_chat(answer({"content": "x"}), model="claude-x")["model"] == "claude-x"
    assert from_chat(answer({"content": "x"}))["model"] == "m"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["choices", "message", "content", "tool_calls", "function", "arguments", "usage"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=15,
    )
)
def test_whatever_an_engine_answers_is_a_message(odd: Any) -> None:
    message = from_chat({"choices": [{"message": odd}], "usage": odd, "id": odd})
    assert message["type"] == "message"
    assert isinstance(message["content"], list)
