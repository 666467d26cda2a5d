"""The end of a stream that lacks nothing else: when it is known, and what is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.serve.closing import End, end_of_count, end_of_text, known_end, last_events
from penstock.serve.delivered import Delivered
from serve.exchanges import event
from serve.speaker import PROMPT_IDS, Speaker
from serve.streams import heard

CHAT = "/v1/chat/completions"


@settings(deadline=None)
@given(
    seed=st.integers(0, 50), limit=st.integers(1, 30), stop=st.sampled_from([None, "c d", "ab"]), cut=st.integers(0, 40)
)
def test_wherever_a_stream_is_cut_an_end_that_is_told_is_the_one_it_would_have_had(
    seed: int, limit: int, stop: str | None, cut: int
) -> None:
    asked = {"max_tokens": limit, **({"stop": stop} if stop else {})}
    speaker = Speaker(asked=asked, seed=seed)
    said = speaker.answer()
    whole = sum(len(ids) for _, ids, _ in said)
    delivered = Delivered([], is_chunked=False, keeps_ids=True)
    delivered.pieces.extend(events(said[:cut], finishes=cut > len(said)))
    delivered.settle()
    end = known_end(CHAT, asked, delivered, len(PROMPT_IDS))
    if cut > len(said):
        assert end == End("", len(PROMPT_IDS), whole)
    elif end is not None:
        assert "".join(text for text, _, _ in said[:cut]) == "".join(text for text, _, _ in said)
        assert end == End(said[-1][2] or "", len(PROMPT_IDS), whole)


def events(said: list[tuple[str, list[int], str | None]], *, finishes: bool) -> list[bytes]:
    """Events of an engine that tells the finish reason by itself, after the text."""
    frame = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "chat"}
    told = [
        event(**frame, choices=[{"index": 0, "delta": {"content": text}, "finish_reason": None, "token_ids": ids}])
        for text, ids, _ in said
    ]
    if finishes:
        told.append(event(**frame, choices=[{"index": 0, "delta": {}, "finish_reason": said[-1][2]}]))
    return told


@pytest.mark.parametrize(
    ("reason", "ids", "asked", "output"),
    [
        ("length", None, {"max_tokens": 7}, 7),
        ("stop", None, {"max_tokens": 7}, None),
        ("stop", (1, 2), {"max_tokens": 7}, 3),
        ("stop", (1, 2), {"max_tokens": 2}, 2),
        ("length", (1, 2), {}, 2),
        ("length", None, {}, None),
        ("", (1, 2), {"max_tokens": 7}, None),
    ],
)
def test_a_count_is_as_honest_as_what_is_known(
    reason: str, ids: tuple[int, ...] | None, asked: dict[str, Any], output: int | None
) -> None:
    end = end_of_count(CHAT, asked, reason, 5, ids)
    assert end == (None if output is None else End("", 5, output))
    assert end_of_count(CHAT, asked, reason, 0, ids) is None


def test_completions_without_a_word_on_it_end_after_sixteen_tokens() -> None:
    assert end_of_count("/v1/completions", {}, "length", 5) == End("", 5, 16)


def test_only_a_limit_of_one_is_known_to_be_reached_by_a_text_that_was_cut_anew() -> None:
    assert end_of_text(CHAT, {"max_tokens": 2}, "ab", (1, 2), 5) is None
    assert end_of_text(CHAT, {"max_tokens": 1}, "ab", (), 5) is None
    assert end_of_text(CHAT, {"max_completion_tokens": 1}, "ab", (1, 2), 5) == End("length", 5, 1)


def test_a_message_that_has_its_stop_reason_lacks_one_event() -> None:
    delivered = Delivered([], is_chunked=False)
    told = last_events("/v1/messages", delivered, None, wants_usage=True)
    assert told == b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


def test_what_is_told_is_an_end_that_clients_read() -> None:
    delivered = Delivered([], is_chunked=False)
    delivered.identity = {"id": "x", "created": 3, "model": "m"}
    got = heard(last_events(CHAT, delivered, End("length", 2, 3), wants_usage=True))
    assert (got[0, "finish"], got["done",], got["ids",]) == ("length", 1, {("x", 3, "m")})
    assert got["usage",] == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}


@pytest.mark.parametrize("marks", [set(), {(0, "finish")}])
def test_a_message_ends_with_its_block_its_stop_reason_and_its_usage(marks: set[Any]) -> None:
    delivered = Delivered([], is_chunked=False)
    delivered.text((0, "text"), "a")
    delivered.marks.update(marks)
    told = last_events("/v1/messages", delivered, End("length", 5, 1), wants_usage=True).decode()
    events = [json.loads(line[6:]) for line in told.split("\n") if line.startswith("data: ")]
    stop = [] if marks else [{"type": "content_block_stop", "index": 0}]
    delta = {"stop_reason": "max_tokens", "stop_sequence": None}
    usage = {"input_tokens": 5, "output_tokens": 1}
    assert events == [*stop, {"type": "message_delta", "delta": delta, "usage": usage}, {"type": "message_stop"}]
