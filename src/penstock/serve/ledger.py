"""The usage ledger's entries and the journal that they are written to first. Pure: bytes in, entries out.

    begin frame (admitted, with what was reserved) ... end frame (over, whole entry)

A journal is a list of segments, each a run of frames: length, CRC-32, body. Guarantees: a frame that was put whole is
read as it was put; one that is torn or damaged ends its segment and is never read as another; an end stands alone, so
that segments may go as soon as they are shipped, the oldest first; a begin without an end becomes one entry, `lost`.
Never holds prompts, completions or keys. Leaves files to `io/ledger` and the store to `io/stores`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from penstock.serve.record import RequestRecord

__all__ = [
    "LOST",
    "SEGMENT_HEAD",
    "Begin",
    "End",
    "Entry",
    "JournalReader",
    "begin_frame",
    "end_frame",
    "ends",
    "frames",
    "is_segment_of",
    "lost_entry",
    "segment_head",
]

LOST = "lost"
"""Outcome of a request that was admitted and whose end nobody saw: its gateway was killed."""
TEXT_CHARS_MAX = 256
"""Of what a client or the file can make long; names in a fleet are shorter."""

_FRAME = struct.Struct("<HI")
"""Bytes of the body, and its CRC-32. A length of 0 ends the segment: it was made of zeros."""
_BEGIN = struct.Struct("<BQdqqB")
"""Kind, number, Unix seconds, tokens and micro-dollars reserved, whether it streams."""
_END = struct.Struct("<BQQdHBqqqqiii")
"""Kind, number, its begin's, Unix seconds, status, stream, prompt, cached and output tokens, micro-dollars; then
milliseconds of queue, first token and all."""
_KIND_BEGIN, _KIND_END = 1, 2
_BEGIN_TEXTS, _END_TEXTS = 7, 9
_BODY_BYTES_MAX = 0xFFFF
_SEPARATOR = "\0"
_MS_MAX = 2**31 - 1

_MAGIC = b"PSKLEDG1"
_HEAD = struct.Struct("<8s16s32sQ")
SEGMENT_HEAD = _HEAD.size
"""Bytes at the beginning of a segment that say whose it is."""

_Bytes = bytes | bytearray | memoryview


class Entry(NamedTuple):
    """One request in the ledger. A tuple, because thousands a second become rows of a table in this order.

    Tokens and milliseconds are None where nothing reported them.
    """

    number: int
    """Its begin's number: with the journal's id it names the entry, whatever request id a client chose."""
    at_ms: int
    """When its head was complete, Unix milliseconds."""
    request_id: str
    tenant: str
    key_id: str
    """Empty for a key of the fleet file, and without a key."""
    key_name: str
    model: str
    """Model that answered; empty when none was chosen."""
    requested_model: str
    traffic_class: str
    outcome: str
    reason: str
    status: int
    is_stream: int
    prompt_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    reserved_tokens: int
    """Of a lost request: what was reserved for it, as nobody knows what it used. Else 0."""
    cost_micros: int
    """US dollars, a millionth each."""
    queue_ms: int | None
    ttft_ms: int | None
    total_ms: int | None


class Begin(NamedTuple):
    """A request that was admitted."""

    number: int
    at_ms: int
    reserved_tokens: int
    reserved_micros: int
    is_stream: int
    request_id: str
    tenant: str
    key_id: str
    key_name: str
    model: str
    traffic_class: str
    requested_model: str


class End(NamedTuple):
    """A request that is over. `number` is the frame's own, and grows through the journal."""

    number: int
    entry: Entry


# ------------------------------------------------------------------------------------------------------- writing


def begin_frame(
    number: int, record: RequestRecord, key_id: str, reserved_tokens: int, reserved_micros: int = 0
) -> bytes:
    """The frame of a request that was admitted."""
    fixed = _BEGIN.pack(_KIND_BEGIN, number, record.at, reserved_tokens, reserved_micros, record.is_stream)
    texts = (
        record.request_id,
        record.tenant,
        key_id,
        record.key,
        record.model,
        record.traffic_class,
        record.requested_model,
    )
    return _framed(fixed, texts, _BEGIN_TEXTS)


def end_frame(number: int, begun: int, record: RequestRecord, key_id: str, cost_micros: int) -> bytes:
    """The frame of a request that is over, which began with frame `begun`."""
    fixed = _END.pack(
        _KIND_END,
        number,
        begun,
        record.at,
        record.status,
        record.is_stream,
        record.prompt_tokens,
        record.cached_tokens,
        record.output_tokens,
        cost_micros,
        _ms(record.queue_ms),
        _ms(record.ttft_ms),
        _ms(record.total_ms),
    )
    texts = (
        record.request_id,
        record.tenant,
        key_id,
        record.key,
        record.model,
        record.traffic_class,
        record.outcome,
        record.reason,
        record.requested_model,
    )
    return _framed(fixed, texts, _END_TEXTS)


def _ms(value: float) -> int:
    return int(value) if value < _MS_MAX else _MS_MAX


def _framed(fixed: bytes, texts: tuple[str, ...], count: int) -> bytes:
    text = _SEPARATOR.join(texts)
    if len(text) > TEXT_CHARS_MAX or text.count(_SEPARATOR) != count - 1:  # seldom: a client sent something odd
        text = _SEPARATOR.join(part.replace(_SEPARATOR, "?")[:TEXT_CHARS_MAX] for part in texts)
    body = fixed + text.encode("utf-8", "replace")
    return _FRAME.pack(len(body), zlib.crc32(body)) + body


def segment_head(journal: str, fleet: str, number: int) -> bytes:
    """The first bytes of a segment. `journal` is 16 hexadecimal digits."""
    return _HEAD.pack(_MAGIC, journal.encode(), _fleet_mark(fleet), number)


def is_segment_of(head: _Bytes, journal: str, fleet: str) -> bool:
    """Whether these are the first bytes of a segment of that journal and fleet, in a format that is known here."""
    if len(head) < SEGMENT_HEAD:
        return False
    magic, found, mark, _ = _HEAD.unpack_from(head)
    return bool(magic == _MAGIC and found == journal.encode() and mark == _fleet_mark(fleet))


def _fleet_mark(fleet: str) -> bytes:
    """Enough of a fleet's name to tell it from others that share a folder."""
    name = fleet.encode()
    return (name[:24] + b"%08x" % zlib.crc32(name)).ljust(32, b"\0")


# ------------------------------------------------------------------------------------------------------- reading


def frames(segment: _Bytes, start: int = SEGMENT_HEAD, stop: int | None = None) -> Iterator[tuple[int, Begin | End]]:
    """The frames of a segment from `start` on, each with the offset behind it; ends at the first that is not whole."""
    for offset, frame in _frames(segment, start, stop, reads_begins=True):
        if frame is not None:
            yield offset, frame


def ends(segment: _Bytes, start: int, stop: int) -> Iterator[tuple[int, End | None]]:
    """As `frames`, of a segment that this process wrote itself: begins are passed over unread and are None here."""
    for offset, frame in _frames(segment, start, stop, reads_begins=False):
        yield offset, frame if isinstance(frame, End) else None


def _frames(
    segment: _Bytes, start: int, stop: int | None, *, reads_begins: bool
) -> Iterator[tuple[int, Begin | End | None]]:
    view, offset = memoryview(segment), start
    limit = len(view) if stop is None else stop
    while offset + _FRAME.size <= limit:
        size, crc = _FRAME.unpack_from(view, offset)
        end = offset + _FRAME.size + size
        if not size or end > limit:
            return
        if not reads_begins and view[offset + _FRAME.size] == _KIND_BEGIN:
            yield end, None
            offset = end
            continue
        body = bytes(view[offset + _FRAME.size : end])
        if zlib.crc32(body) != crc or (frame := _frame(body)) is None:
            return
        yield end, frame
        offset = end


def _frame(body: bytes) -> Begin | End | None:
    if body[0] == _KIND_BEGIN and len(body) >= _BEGIN.size:
        return _begin(body)
    if body[0] == _KIND_END and len(body) >= _END.size:
        return _end(body)
    return None


def _begin(body: bytes) -> Begin | None:
    _, number, at, tokens, micros, is_stream = _BEGIN.unpack_from(body)
    texts = body[_BEGIN.size :].decode("utf-8", "replace").split(_SEPARATOR)
    if len(texts) != _BEGIN_TEXTS:
        return None
    return Begin(number, int(at * 1000), tokens, micros, is_stream, *texts)


def _end(body: bytes) -> End | None:
    (_, number, begun, at, status, is_stream, prompt, cached, output, micros, queue, ttft, total) = _END.unpack_from(
        body
    )
    texts = body[_END.size :].decode("utf-8", "replace").split(_SEPARATOR)
    if len(texts) != _END_TEXTS:
        return None
    request_id, tenant, key_id, key_name, model, traffic_class, outcome, reason, requested = texts
    entry = Entry(
        begun,
        int(at * 1000),
        request_id,
        tenant,
        key_id,
        key_name,
        model,
        requested,
        traffic_class,
        outcome,
        reason,
        status,
        is_stream,
        prompt if prompt >= 0 else None,
        cached if cached >= 0 else None,
        output if output >= 0 else None,
        0,
        micros,
        queue if queue >= 0 else None,
        ttft if ttft >= 0 else None,
        total if total >= 0 else None,
    )
    return End(number, entry)


class JournalReader:
    """Reads a journal segment by segment, in their order, and knows which requests have not ended."""

    def __init__(self) -> None:
        self.open: dict[int, Begin] = {}
        """Begins without an end so far, by number. One may stand in several segments, always before its end."""
        self.damaged = 0
        """Segments that end in something else than zeros: a frame that was torn, or a bad disk."""

    def read(self, segment: _Bytes) -> Iterator[End]:
        """The ends of the next segment, in the order in which they were put."""
        offset = SEGMENT_HEAD
        for offset, frame in frames(segment):  # noqa: B007 — where the last whole frame ends
            if isinstance(frame, Begin):
                self.open[frame.number] = frame
            else:
                self.open.pop(frame.entry.number, None)
                yield frame
        self.damaged += any(segment[offset : offset + _FRAME.size])


def lost_entry(begin: Begin) -> Entry:
    """The entry of a request that began and whose end nobody saw: it counts with what was reserved for it."""
    return Entry(
        begin.number,
        begin.at_ms,
        begin.request_id,
        begin.tenant,
        begin.key_id,
        begin.key_name,
        begin.model,
        begin.requested_model,
        begin.traffic_class,
        LOST,
        "gateway_killed",
        0,
        begin.is_stream,
        None,
        None,
        None,
        begin.reserved_tokens,
        begin.reserved_micros,
        None,
        None,
        None,
    )
