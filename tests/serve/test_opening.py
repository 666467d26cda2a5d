"""When an answer has begun: what came of it is held until then, byte for byte."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.opening import OPENING_BYTES_MAX, Opening
from penstock.serve.wire.responses import ResponseError
from serve.exchanges import ANSWER, END, SSE_FIELDS, SSE_HEAD, TOKEN, answer, chunk, event

RECORDED = Path(__file__).resolve().parents[2].parent / "shared" / "reference" / "vllm-api"
ROLE = event(choices=[{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])
EMPTY = event(choices=[{"index": 0, "text": "", "logprobs": None, "finish_reason": None}])
FINISH = event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
REASONS = event(choices=[{"index": 0, "delta": {"reasoning": "hm"}}])
CALLS = event(choices=[{"index": 0, "delta": {"tool_calls": [{"index": 0}]}}])
ABORTS = event(choices=[{"index": 0, "delta": {}, "finish_reason": "abort"}])
ERROR = event(error={"message": "EngineCore encountered an issue.", "code": 500})


def named(kind: str, **fields: object) -> bytes:
    return b"event: %b\n" % kind.encode() + event(type=kind, **fields)


def opened(*reads: bytes) -> tuple[Opening, bool]:
    """Fed in turn until it says something."""
    opening = Opening()
    for data in reads:
        if opening.feed(data):
            return opening, True
    return opening, False


def test_a_plain_answer_begins_with_its_whole_head() -> None:
    whole = answer()
    opening, has_begun = opened(whole[:40])
    assert not has_begun
    assert opening.feed(whole[40:-10])
    assert opening.head is not None
    assert opening.head.status == 200
    assert opening.rest == ANSWER[:-10]


@pytest.mark.parametrize(
    "said", [TOKEN, FINISH, REASONS, CALLS, event(choices=[]), b"data: [DONE]\n\n", b"data: x\n\n"]
)
def test_a_stream_begins_with_its_first_event_that_says_something(said: bytes) -> None:
    opening, has_begun = opened(SSE_HEAD, chunk(ROLE), chunk(b": ping\n\n"))
    assert not has_begun
    assert opening.feed(chunk(said))
    assert not opening.fault
    assert opening.rest == chunk(ROLE) + chunk(b": ping\n\n") + chunk(said)


@pytest.mark.parametrize("opener", [ROLE, EMPTY, ROLE.replace(b"\n", b"\r\n"), b": hello\n\n"])
def test_who_speaks_and_comments_say_nothing(opener: bytes) -> None:
    assert not opened(SSE_HEAD, chunk(opener), chunk(opener))[1]


def test_a_stream_of_messages_begins_with_its_first_delta() -> None:
    message = named("message_start", message={"content": []}) + named("content_block_start", index=0) + named("ping")
    assert not opened(SSE_HEAD + chunk(message))[1]
    delta = named("content_block_delta", index=0, delta={"type": "text_delta", "text": "a"})
    assert opened(SSE_HEAD + chunk(message), chunk(delta))[1]


def test_a_stream_of_responses_begins_with_its_first_delta_as_the_engine_says_at_once_that_it_was_created() -> None:
    created = named("response.created", response={"error": None}) + named("response.in_progress", response={})
    assert not opened(SSE_HEAD + chunk(created))[1]
    assert opened(SSE_HEAD + chunk(created), chunk(named("response.output_text.delta", delta="a")))[1]


@pytest.mark.parametrize(
    ("reads", "fault"),
    [
        ((answer(b"{}", status="503 Busy"),), "answered 503"),
        ((answer(b"{}", status="429 Many"),), "answered 429"),
        ((SSE_HEAD, chunk(ERROR)), "sent an error event"),
        ((SSE_HEAD, chunk(named("error", error={"message": "no"}))), "sent an error event"),
        ((SSE_HEAD, chunk(ABORTS)), "dropped the request"),
        ((SSE_HEAD, chunk(ROLE), END), "ended the stream before its first text"),
    ],
)
def test_what_is_no_answer_says_so(reads: tuple[bytes, ...], fault: str) -> None:
    opening, has_begun = opened(*reads)
    assert has_begun
    assert opening.fault == fault


def test_a_word_of_the_text_is_no_fault() -> None:
    said = event(choices=[{"index": 0, "delta": {"content": 'the "error" was "abort"'}}])
    opening, has_begun = opened(SSE_HEAD, chunk(said))
    assert has_begun
    assert not opening.fault


def test_a_refusal_of_the_clients_request_is_an_answer() -> None:
    opening, has_begun = opened(answer(b"{}", status="400 Bad"))
    assert has_begun
    assert not opening.fault


@pytest.mark.parametrize("read", [b"SSH-2.0-x\r\n\r\n", answer(b"", status="307 Go"), SSE_HEAD + b"zz\r\n"])
def test_what_is_no_http_or_leads_elsewhere_is_an_error(read: bytes) -> None:
    with pytest.raises(ResponseError):
        Opening().feed(read)


def test_what_says_nothing_for_long_is_not_held_for_ever() -> None:
    opening, reads = Opening(), 0
    assert not opening.feed(SSE_HEAD)
    while not opening.feed(chunk(b": ping " + b"x" * 1000 + b"\n\n")):
        reads += 1
        assert reads * 1000 < 2 * OPENING_BYTES_MAX


def test_a_stream_that_ends_with_its_connection_is_read_too() -> None:
    opening, has_begun = opened(SSE_FIELDS + b"\r\n", ROLE)
    assert not has_begun
    assert opening.feed(TOKEN)


def test_is_empty_until_something_came() -> None:
    opening = Opening()
    assert opening.is_empty
    opening.feed(b"HTTP/1.1 2")
    assert not opening.is_empty


@given(st.lists(st.integers(1, 400), max_size=12), st.booleans())
def test_however_it_is_cut_nothing_of_it_is_lost(cuts: list[int], is_stream: bool) -> None:
    whole = SSE_HEAD + chunk(ROLE) + chunk(TOKEN) + chunk(TOKEN) + END if is_stream else answer()
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    reads = [whole[a:b] for a, b in pairwise(places)]
    opening, taken = Opening(), 0
    for data in reads:
        taken += len(data)
        if opening.feed(data):
            break
    else:
        raise AssertionError("a whole answer says something")
    assert opening.head is not None
    assert whole[: opening.head.size] + opening.rest == whole[:taken]
    assert not opening.fault


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded answers are not here")
@pytest.mark.parametrize(
    ("name", "openers", "said"),
    [
        ("chat_stream", 1, b'"content":" total"'),
        ("chat_reasoning_stream", 1, b'"reasoning'),
        ("chat_n2_stream", 2, b'"content":"'),
        ("chat_return_token_ids_stream", 1, b'"content":"'),
        ("comp_stream", 0, b'"text":"PU"'),
        ("messages_anthropic_stream", 2, b'"text_delta"'),
        ("responses_stream", 4, b'"delta":" BLOCK"'),
    ],
)
def test_streams_of_a_real_vllm_begin_with_their_first_text(name: str, openers: int, said: bytes) -> None:
    body = (RECORDED / f"{name}.http").read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")[2]
    events = [part + b"\n\n" for part in body.split(b"\n\n") if part.strip()]
    opening = Opening()
    assert not opening.feed(SSE_HEAD)
    for part in events[:openers]:
        assert not opening.feed(chunk(part))
    assert said in events[openers]
    assert opening.feed(chunk(events[openers]))
    assert not opening.fault
