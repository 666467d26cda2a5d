"""How an event grows an answer: which parts a visitor is shown, and what stays when it keeps nothing."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.serve.walk import Key, UnreadableError, walk


class Seen:
    """Notes what it is shown, and keeps all of it or nothing."""

    def __init__(self, *, keeps: bool) -> None:
        self.parts: dict[Key, Any] = {}
        self._keeps = keeps

    def text(self, key: Key, piece: str) -> str:
        self.parts[key] = piece
        return piece if self._keeps else ""

    def items(self, key: Key, piece: list[Any]) -> list[Any]:
        self.parts[key] = piece
        return piece if self._keeps else []

    def mark(self, key: Key) -> bool:
        self.parts[key] = True
        return self._keeps

    def finish(self, index: int) -> bool:
        return self.mark((index, "finish"))


def choice(**fields: Any) -> dict[str, Any]:
    return {"id": "x", "choices": [{"index": 1, **fields}]}


CASES: list[tuple[dict[str, Any], dict[Key, Any]]] = [
    (choice(delta={"role": "assistant", "content": ""}), {(1, "role"): True, (1, "content"): ""}),
    (choice(delta={"content": "a", "reasoning": None}), {(1, "content"): "a"}),
    (choice(text="a", token_ids=[4]), {(1, "text"): "a", (1, "token_ids"): [4]}),
    (choice(delta={}, finish_reason="stop"), {(1, "finish"): True}),
    (choice(delta={}, logprobs={"content": [{"token": "a"}]}), {(1, "logprobs", "content"): [{"token": "a"}]}),
    (
        choice(delta={"tool_calls": [{"index": 2, "id": "t", "function": {"name": "f", "arguments": "{"}}]}),
        {
            (1, "tool", 2, "id"): True,
            (1, "tool", 2, "function", "name"): "f",
            (1, "tool", 2, "function", "arguments"): "{",
        },
    ),
    ({"id": "x", "choices": [], "usage": {}}, {(-1, "usage"): True}),
    ({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}}, {(0, "text"): "a"}),
    ({"type": "content_block_stop", "index": 0}, {(0, "finish"): True}),
]


@pytest.mark.parametrize(("event", "parts"), CASES)
def test_every_part_is_shown_once_and_only_what_is_kept_is_news(event: dict[str, Any], parts: dict[Key, Any]) -> None:
    before = str(event)
    seen = Seen(keeps=True)
    assert walk(event, seen) is True
    assert (seen.parts, str(event)) == (parts, before)
    assert walk(event, Seen(keeps=False)) is False


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"type": "response.created"},
        {"choices": ["x"]},
        choice(delta={"content": 5}),
        choice(delta={"tool_calls": "x"}),
        {"choices": [{"index": "0", "delta": {}}]},
        {"type": "content_block_delta", "index": 0, "delta": 5},
    ],
)
def test_what_is_not_understood_is_said_to_be(event: dict[str, Any]) -> None:
    with pytest.raises(UnreadableError):
        walk(event, Seen(keeps=True))
