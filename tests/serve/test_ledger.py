"""Frames of the ledger's journal: read as they were put, or not at all, wherever a kill tore the last one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.ledger import (
    SEGMENT_HEAD,
    Begin,
    End,
    JournalReader,
    begin_frame,
    end_frame,
    ends,
    frames,
    is_segment_of,
    lost_entry,
    segment_head,
)
from penstock.serve.record import OUTCOMES, RequestRecord

HEAD = segment_head("0123456789abcdef", "demo", 1)
NAMES = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=30)
RECORDS = st.builds(
    RequestRecord,
    at=st.integers(0, 2**32).map(float),
    request_id=NAMES,
    model=NAMES,
    requested_model=NAMES,
    tenant=NAMES,
    key=NAMES,
    status=st.integers(0, 599),
    outcome=st.sampled_from(OUTCOMES),
    prompt_tokens=st.integers(-1, 2**40),
    output_tokens=st.integers(-1, 2**40),
    is_stream=st.booleans(),
    total_ms=st.floats(0, 1e12),
)
"""Texts of 7 and 9 such names fit into what is kept without a cut."""


def segment(*put: bytes, zeros: int = 50) -> bytes:
    return HEAD + b"".join(put) + bytes(zeros)


def record(number: int = 0, **more: object) -> RequestRecord:
    made = RequestRecord(1000.5, f"r{number}", "/v1/completions", model="chat", tenant="acme", key="ci")
    made.requested_model = "chat"  # the last byte of a frame; it would be 0, as what lies behind it, without
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_a_segment_says_whose_it_is() -> None:
    assert is_segment_of(HEAD, "0123456789abcdef", "demo")
    assert not is_segment_of(HEAD, "0123456789abcdee", "demo")
    assert not is_segment_of(HEAD, "0123456789abcdef", "other")
    assert not is_segment_of(HEAD[:-1], "0123456789abcdef", "demo")
    assert not is_segment_of(bytes(SEGMENT_HEAD), "0123456789abcdef", "demo")


@given(RECORDS, NAMES, st.integers(0, 2**50), st.integers(0, 2**50))
def test_what_is_put_is_read_as_it_was(put: RequestRecord, key_id: str, tokens: int, micros: int) -> None:
    both = segment(begin_frame(7, put, key_id, tokens, micros), end_frame(9, 7, put, key_id, micros))

    (_, begin), (offset, end) = frames(both)

    assert offset == len(both) - 50
    assert isinstance(begin, Begin)
    assert (begin.number, begin.at_ms, begin.reserved_tokens, begin.reserved_micros) == (
        7,
        put.at * 1000,
        tokens,
        micros,
    )
    assert (begin.request_id, begin.tenant, begin.key_id, begin.key_name) == (
        put.request_id,
        put.tenant,
        key_id,
        put.key,
    )
    assert isinstance(end, End)
    entry = end.entry
    assert (end.number, entry.number, entry.cost_micros, entry.reserved_tokens) == (9, 7, micros, 0)
    assert (entry.model, entry.requested_model, entry.outcome) == (put.model, put.requested_model, put.outcome)
    assert entry.prompt_tokens == (put.prompt_tokens if put.prompt_tokens >= 0 else None)
    assert entry.ttft_ms is None
    assert entry.total_ms == min(int(put.total_ms), 2**31 - 1)


@given(st.integers(1, 5), st.data())
def test_a_torn_tail_takes_its_own_frame_alone(count: int, data: st.DataObject) -> None:
    put = [end_frame(n + 1, n, record(n), "", n) for n in range(count)]
    whole = segment(*put, zeros=0)
    cut = data.draw(st.integers(SEGMENT_HEAD, len(whole)))

    read = [frame.number for _, frame in frames(whole[:cut] + bytes(len(whole) - cut))]

    lengths = [SEGMENT_HEAD + sum(map(len, put[: n + 1])) for n in range(count)]
    assert read == [n + 1 for n in range(count) if lengths[n] <= cut]


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_no_changed_byte_makes_another_entry(place: int, change: int) -> None:
    put = [end_frame(n + 1, n, record(n), "key_1", 5) for n in range(3)]
    whole = bytearray(segment(*put))
    whole[SEGMENT_HEAD + place % sum(map(len, put))] ^= change

    read = [frame for _, frame in frames(whole)]

    assert read == [frame for _, frame in frames(segment(*put))][: len(read)]
    assert len(read) < 3


def test_ends_alone_are_the_ends_of_all_frames_at_the_same_places() -> None:
    put = [begin_frame(1, record(1), "", 5), begin_frame(2, record(2), "", 5), end_frame(3, 1, record(1), "", 5)]
    whole = segment(*put)

    read = list(ends(whole, SEGMENT_HEAD, len(whole)))

    expected = [(offset, frame if isinstance(frame, End) else None) for offset, frame in frames(whole)]
    assert read == expected
    assert [end is None for _, end in read] == [True, True, False]


def test_texts_that_a_client_made_odd_stay_in_their_fields() -> None:
    odd = record(requested_model="a\0b" + "x" * 100_000, reason="\ud800")

    ((_, end),) = frames(segment(end_frame(2, 1, odd, "key_1", 0)))

    assert isinstance(end, End)
    assert end.entry.requested_model == "a?b" + "x" * 253
    assert (end.entry.key_name, end.entry.reason) == ("ci", "?")


def test_a_begin_without_an_end_is_lost_with_what_was_reserved() -> None:
    reader = JournalReader()
    first = segment(begin_frame(1, record(1), "key_1", 900, 7), begin_frame(2, record(2), "", 50))
    second = segment(begin_frame(1, record(1), "key_1", 900, 7), end_frame(3, 2, record(2), "", 0))

    assert [end.entry.request_id for part in (first, second) for end in reader.read(part)] == ["r2"]

    (lost,) = map(lost_entry, reader.open.values())
    assert (lost.number, lost.request_id, lost.outcome, lost.key_id) == (1, "r1", "lost", "key_1")
    assert (lost.reserved_tokens, lost.cost_micros, lost.prompt_tokens, lost.output_tokens) == (900, 7, None, None)
    assert reader.damaged == 0


def test_a_torn_frame_is_counted() -> None:
    reader = JournalReader()

    assert list(reader.read(segment(end_frame(1, 0, record(), "", 0)[:-3]))) == []
    assert reader.damaged == 1
