"""What a client has of a stream, and what another attempt adds to it. The laws are in `test_failover_laws`."""

from __future__ import annotations

import pytest

from penstock.serve import delivered as module
from penstock.serve.delivered import Delivered, DivergedError, Replay
from serve.exchanges import DONE, chunk
from serve.streams import chat, heard

EVENTS = chat(["ab", "cd", "ef"])


def has(*events: bytes) -> Delivered:
    got = Delivered([chunk(e) for e in events], is_chunked=True)
    got.settle()
    return got


def test_reading_leaves_the_text_and_not_the_bytes() -> None:
    got = has(*EVENTS[:3])
    assert (got.texts, got.pieces, got.chars, got.events) == ({(0, "content"): "abcd"}, [], 4, 3)
    assert got.identity == {"id": "chatcmpl-r", "created": 1, "model": "chat"}
    got.pieces.append(chunk(EVENTS[3]))
    got.settle()
    assert got.texts == {(0, "content"): "abcdef"}


@pytest.mark.parametrize("piece", [b"data: {", b"data: nonsense\n\n", b"data: []\n\n", b'data: {"type":"x"}\n\n'])
def test_what_is_not_understood_can_not_be_resumed(piece: bytes) -> None:
    got = has(EVENTS[1], piece)
    assert not got.is_readable
    got.pieces.append(chunk(EVENTS[2]))
    got.settle()
    assert (got.texts, got.pieces) == ({}, [])


def test_more_text_than_is_kept_can_not_be_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TEXT_CHARS_MAX", 3)
    assert has(EVENTS[1]).is_readable
    assert not has(*EVENTS[1:3]).is_readable


def test_an_event_that_crosses_what_was_delivered_is_split() -> None:
    replay = Replay(has(*EVENTS[:2]))
    out = replay.feed(b"".join(chat(["abcd", "ef"], created=9)) + DONE)
    got = heard(out)
    assert (got[0, "content"], got["ids",], (0, "role") in got) == ("cdef", {("chatcmpl-r", 1, "chat")}, False)


@pytest.mark.parametrize("texts", [["ax"], ["a"], ["abcd", "x"]])
def test_another_text_is_never_joined(texts: list[str]) -> None:
    with pytest.raises(DivergedError):
        Replay(has(*EVENTS)).feed(b"".join(chat(texts)) + DONE)


def test_comments_pass_and_a_broken_event_diverges() -> None:
    replay = Replay(has(*EVENTS[:2]))
    assert replay.feed(b": keep-alive\n\n") == b": keep-alive\n\n"
    with pytest.raises(DivergedError):
        replay.feed(b"data: {\n\n")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}', "stop"),
        (b'{"choices":[{"index":1,"delta":{},"finish_reason":"stop"}]}', ""),
        (b'{"choices":[{"delta":{"content":"a"},"finish_reason":null}]}', ""),
        (b'{"type":"ping","choices":5}', ""),
    ],
)
def test_the_finish_reason_is_that_of_the_first_choice(data: bytes, reason: str) -> None:
    delivered = Delivered([b"data: %b\n\n" % data], is_chunked=False)
    delivered.settle()
    assert (delivered.finish_reason, delivered.is_readable) == (reason, True)
