"""The steps by which a stream goes on: what is asked about tokens, and what of the answers is taken for one."""

from __future__ import annotations

import json

import pytest

from penstock.serve.continuation import TOKENS_BYTES_MAX, Continuation, end_in, spelled_text, token_ids, token_list
from penstock.serve.delivered import Delivered
from penstock.serve.wire.responses import ResponseError
from serve.exchanges import answer, chunk
from serve.streams import chat

CHAT, PROMPT = "/v1/chat/completions", (1, 2)


def has(*events: bytes) -> Delivered:
    got = Delivered([chunk(e) for e in events], is_chunked=True)
    got.settle()
    return got


def test_the_answer_about_tokens_is_read_however_it_comes() -> None:
    whole = answer(json.dumps({"count": 3, "tokens": [7, 8, 7]}).encode())
    for size in (1, 7, len(whole)):
        continuation = Continuation(CHAT, {"max_tokens": 9}, has(*chat(["ab"])[:2]))
        continuation.diverged(PROMPT)
        done = [continuation.take(whole[at : at + size]) for at in range(0, len(whole), size)]
        assert done == [False] * (len(done) - 1) + [True]
        assert (continuation.status, continuation.go_on(), continuation.stage) == (200, True, "text")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"tokens":[]}', b'{"tokens":["x"]}', b'{"tokens":3}'])
def test_what_is_no_answer_about_tokens_has_none(body: bytes) -> None:
    assert token_ids(body) == ()


def test_an_endless_answer_about_tokens_is_refused() -> None:
    continuation = Continuation(CHAT, {}, has(*chat(["ab"])[:2]))
    continuation.diverged(PROMPT)
    with pytest.raises(ResponseError):
        continuation.take(b"HTTP/1.1 200 OK\r\n\r\n{")
    continuation.restart()
    size = TOKENS_BYTES_MAX + 2
    with pytest.raises(ResponseError):
        continuation.take(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (2 * size) + b" " * size)


@pytest.mark.parametrize(("listed", "ids"), [(b"1,2", (1, 2)), (b"", ()), (b"1,x", ()), (b"1.5", ()), (b"true", ())])
def test_tokens_in_an_event_are_numbers_or_none(listed: bytes, ids: tuple[int, ...]) -> None:
    assert token_list(listed) == ids


@pytest.mark.parametrize(
    ("body", "text"), [(b'{"prompt":"ab"}', "ab"), (b'{"prompt":1}', None), (b"[]", None), (b"", None)]
)
def test_what_is_no_answer_about_spelling_has_no_text(body: bytes, text: str | None) -> None:
    assert spelled_text(body) == text


@pytest.mark.parametrize(
    ("spelled", "end"),
    [("ab", 2), ("abc", 3), ("abcd", -1), ("b", -1), ("", -1), ("ab\ufffd", -1)],
)
def test_tokens_end_where_their_text_does(spelled: str, end: int) -> None:
    assert end_in("abc", spelled) == end


def test_the_blank_that_a_text_begins_with_may_be_missing() -> None:
    assert end_in(" abc", "ab") == 3
