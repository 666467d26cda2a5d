"""What a request asks for in output, and what is reserved for it."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.serve.admission.outputs import UNNAMED_TOKENS, fitted, read_output, reserved_tokens


@pytest.mark.parametrize(
    ("schema", "fields", "expected"),
    [
        ("chat", {"max_tokens": 5}, ("max_tokens", 5, 1)),
        ("chat", {"max_tokens": 5, "max_completion_tokens": 7}, ("max_completion_tokens", 7, 1)),
        ("chat", {"max_tokens": 5, "max_completion_tokens": None}, ("max_tokens", 5, 1)),
        ("chat", {"n": 3}, ("max_tokens", None, 3)),
        ("completion", {}, ("max_tokens", 16, 1)),
        ("completion", {"max_tokens": None}, ("max_tokens", None, 1)),
        ("completion", {"n": 2, "best_of": 5, "max_tokens": 4}, ("max_tokens", 4, 5)),
        ("responses", {"max_output_tokens": 9}, ("max_output_tokens", 9, 1)),
        ("messages", {"max_tokens": 9}, ("max_tokens", 9, 1)),
        ("embeddings", {}, ("", None, 0)),
        ("chat", {"max_tokens": True, "n": "x"}, ("max_tokens", None, 1)),
    ],
)
def test_each_api_says_it_in_its_own_field(schema: str, fields: dict[str, Any], expected: tuple[object, ...]) -> None:
    output = read_output(schema, fields, 1)
    assert (output.field, output.asked, output.choices) == expected


@pytest.mark.parametrize(
    ("asked", "most", "default", "context", "expected"),
    [
        (5, None, None, None, (5, "kept")),
        (5, 4, None, None, (4, "clamped")),
        (5000, None, None, 1024, (1024, "clamped")),
        (5000, 9000, None, 1024, (1024, "clamped")),
        (None, None, None, 1024, (None, "kept")),
        (None, 100, None, 1024, (100, "given")),
        (None, 100, 50, 1024, (50, "given")),
        (None, 100, 500, 1024, (100, "given")),
        (None, None, 50, None, (50, "given")),
        (0, 100, 50, None, (0, "kept")),
    ],
)
def test_a_limit_lowers_what_is_asked_and_a_default_fills_what_is_not(
    asked: int | None, most: int | None, default: int | None, context: int | None, expected: tuple[int | None, str]
) -> None:
    output = read_output("chat", {"max_tokens": asked} if asked is not None else {}, 1)
    assert fitted(output, most=most, default=default, context=context) == expected


def test_what_is_reserved_covers_every_answer_and_ends_at_the_context() -> None:
    assert reserved_tokens(100, None, 3, 0.0) == 300
    assert reserved_tokens(100, 40, 3, 0.0) == 120
    assert reserved_tokens(None, 200_000, 1, 0.0) == UNNAMED_TOKENS
    assert reserved_tokens(None, 200_000, 1, 3_000.0) == 12_000
    assert reserved_tokens(None, 512, 1, 0.0) == 512
    assert reserved_tokens(-3, 512, 1, 0.0) == 0
    assert reserved_tokens(100, 512, 0, 0.0) == 0
