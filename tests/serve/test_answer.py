"""An answer on its way through: what the client reads is what the engine said, whatever way the bytes were cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.answer import Answer
from penstock.serve.wire.responses import ChunkedBody, ResponseError, parse_head
from serve.exchanges import ANSWER, DONE, END, SSE_FIELDS, SSE_HEAD, TOKEN, USAGE_EVENT, chunk, event, head

COMMENT = b": keep-alive\n\n"
ERROR = event(error={"message": "engine died", "type": "InternalServerError", "code": 500})


def begun(data: bytes = SSE_HEAD, **options: bool) -> Answer:
    parsed = parse_head(data)
    assert parsed is not None
    defaults = {"is_http_1_0": False, "strips_usage": True, "has_last_event": True}
    return Answer(parsed, dialect="openai", **{**defaults, **options})


def read(answer: Answer, data: bytes) -> bytes:
    """As the exchange reads: what may go on as it came does, the rest is fed."""
    return data if answer.is_plain and answer.takes(data) else answer.feed(data)


def unframed(wire: bytes) -> bytes:
    body = ChunkedBody()
    payload = body.feed(wire)
    assert body.is_done
    assert not body.is_overrun
    return payload


@given(
    events=st.lists(st.sampled_from([TOKEN, COMMENT, event(choices=[{"delta": {"content": '"usage":'}}])]), max_size=8),
    grouping=st.lists(st.integers(1, 3), max_size=12),
    cuts=st.lists(st.integers(0, 4000), max_size=10),
    strips=st.booleans(),
)
def test_a_client_reads_every_event_but_an_unasked_usage_chunk(
    events: list[bytes], grouping: list[int], cuts: list[int], strips: bool
) -> None:
    said = [*events, USAGE_EVENT, DONE]
    wire, rest = b"", list(said)
    for size in [*grouping, len(said)]:
        together, rest = b"".join(rest[:size]), rest[size:]
        wire += chunk(together) if together else b""
    wire += END

    answer, out, place = begun(strips_usage=strips), b"", 0
    for cut in [*sorted({c % (len(wire) + 1) for c in cuts}), len(wire)]:
        out, place = out + (read(answer, wire[place:cut]) if cut > place else b""), cut

    assert unframed(out) == b"".join(e for e in said if not (strips and e is USAGE_EVENT))
    assert answer.usage == (5, 7, 4)
    assert answer.ending == ("ok", "")
    assert answer.payload_bytes == len(b"".join(said))
    assert answer.leaves_connection_usable


def test_a_read_of_one_whole_event_goes_on_as_it_came_once_the_answer_has_begun() -> None:
    answer = begun()
    answer.feed(chunk(COMMENT))
    assert not answer.is_plain
    answer.feed(chunk(TOKEN))
    assert answer.is_plain
    assert answer.takes(chunk(TOKEN))


@pytest.mark.parametrize(
    "data",
    [
        chunk(TOKEN)[:-1],
        chunk(TOKEN) + b"5",
        chunk(TOKEN) + chunk(TOKEN),
        chunk(TOKEN[:-1]),
        chunk(USAGE_EVENT),
        b"0" + chunk(TOKEN),
        chunk(TOKEN).replace(b"\r\n", b";x\r\n", 1),
        chunk(TOKEN) + END,
        END,
        b"",
    ],
)
def test_any_other_read_is_looked_at(data: bytes) -> None:
    answer = begun()
    answer.feed(chunk(TOKEN))
    assert not answer.takes(data)


def test_what_went_on_unlooked_at_still_tells_how_the_stream_ended() -> None:
    answer = begun()
    for piece in (TOKEN, TOKEN, DONE):
        read(answer, chunk(piece))
    answer.feed(END)
    assert (answer.ending, answer.fault) == (("ok", ""), "")


ABORTED = event(choices=[{"index": 0, "delta": {}, "finish_reason": "abort"}])
DIED = event(error={"message": "engine died", "type": "server_error", "param": None, "code": "engine_error"})


@pytest.mark.parametrize(("last", "told"), [(ERROR, DIED), (ABORTED, ABORTED)])
@pytest.mark.parametrize("is_joined", [False, True])
def test_an_engines_last_words_are_held_until_it_is_decided_who_hears_them(
    last: bytes, told: bytes, is_joined: bool
) -> None:
    """An error in the one shape: OpenAI's clients read the code as a word, and vLLM writes a number."""
    answer = begun(ends_in_choices=True)
    pieces = [chunk(TOKEN), chunk(last), chunk(DONE), END]
    out = b"".join(read(answer, piece) for piece in ([b"".join(pieces)] if is_joined else pieces))
    assert (out, bool(answer.fault)) == (chunk(TOKEN), True)
    assert unframed(out + answer.let_fault_pass()) == TOKEN + told + DONE
    assert answer.fault == ""


def test_an_error_that_is_the_clients_own_goes_on() -> None:
    answer = begun()
    mistake = event(error={"message": "too long", "type": "BadRequestError", "code": 400})
    assert answer.feed(chunk(TOKEN) + chunk(mistake)) == chunk(TOKEN) + chunk(mistake)
    assert answer.fault == ""


def test_a_text_that_is_the_word_abort_is_a_text() -> None:
    answer = begun(ends_in_choices=True)
    word = event(choices=[{"index": 0, "delta": {"content": "abort"}}])
    answer.feed(chunk(TOKEN))
    assert (read(answer, chunk(word)), answer.fault) == (chunk(word), "")


def test_a_stream_without_its_last_event_is_given_an_error_event() -> None:
    answer = begun()
    out = answer.feed(chunk(TOKEN)) + answer.feed(END)
    assert answer.fault
    assert b'"code":"stream_incomplete"' in unframed(out + answer.let_fault_pass())
    assert answer.ending == ("upstream_error", "stream_incomplete")


def test_a_cut_stream_ends_with_an_error_event_after_the_last_whole_one() -> None:
    answer = begun()
    out = answer.feed(chunk(TOKEN)) + answer.feed(chunk(TOKEN[:20]))
    cut = answer.cut("stream_interrupted", "gone", "upstream_error")
    assert cut is not None
    first, _, last = unframed(out + cut).partition(TOKEN)
    assert first == b""
    assert last.startswith(b'data: {"error":')


def test_a_plain_answer_cannot_be_cut_honestly() -> None:
    answer = begun(head(ANSWER))
    answer.feed(ANSWER[:10])
    assert answer.cut("stream_interrupted", "gone", "upstream_error") is None


@given(cut=st.integers(1, len(ANSWER) - 1))
def test_usage_of_a_plain_answer_is_found_across_any_seam(cut: int) -> None:
    answer = begun(head(ANSWER))
    assert answer.feed(ANSWER[:cut]) + answer.feed(ANSWER[cut:]) == ANSWER
    assert answer.usage == (5, 7, 4)


def test_a_client_of_http_1_0_reads_to_the_end_of_the_connection() -> None:
    answer = begun(is_http_1_0=True)
    assert answer.framing == "eof"
    assert answer.feed(chunk(TOKEN)) + answer.feed(chunk(DONE)) + answer.feed(END) == TOKEN + DONE


def test_an_answer_without_length_is_whole_when_its_connection_ends_in_order() -> None:
    answer = begun(SSE_FIELDS.replace(b"text/event-stream; charset=utf-8", b"application/json") + b"\r\n")
    out = answer.feed(ANSWER)
    assert not answer.is_whole(is_end=False)
    assert answer.is_whole(is_end=True)
    assert unframed(out + answer.end()) == ANSWER
    assert not answer.leaves_connection_usable


def test_a_stream_that_lost_its_connection_after_done_is_whole() -> None:
    answer = begun()
    read(answer, chunk(TOKEN))
    read(answer, chunk(DONE))
    assert answer.is_whole(is_end=False)


def test_a_probe_stands_between_events_only() -> None:
    answer = begun()
    answer.feed(chunk(TOKEN))
    assert answer.probe() == b"3\r\n:\n\n\r\n"
    answer.feed(b"ff\r\nda")
    assert answer.probe() == b""


def test_a_broken_chunk_is_an_error_and_never_passed_on() -> None:
    answer = begun()
    answer.feed(chunk(TOKEN))
    broken = b"zz\r\n" + TOKEN + b"\r\n"
    assert not answer.takes(broken)
    with pytest.raises(ResponseError):
        answer.feed(broken)
