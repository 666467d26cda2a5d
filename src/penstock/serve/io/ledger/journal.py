"""The journal of one gateway process: what was admitted and what is over, on disk before anybody is told.

Segments are files of fixed size, allocated before they are written and mapped into memory, so that putting a frame is
a copy of a few hundred bytes into the kernel's cache: no system call, nothing that a full or slow disk could hold up,
and nothing that `kill -9` can take away. A power cut takes what was put since the last `sync`.

Where no segment can be allocated (a full disk, a read-only one, the bound), frames go to memory, which a kill does take
away, and when that is full too they are dropped and counted: what was kept first stays. A journal is locked by its
process for as long as that lives. Used from one event loop; `prepare` and `sync` may run in a thread.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
import threading
from dataclasses import dataclass, field
from pathlib import Path

from penstock.serve.ledger import SEGMENT_HEAD, End, begin_frame, end_frame, ends, segment_head
from penstock.serve.record import RequestRecord

__all__ = ["SEGMENT_BYTES", "Cursor", "Journal", "lock_file", "segment_files"]

SEGMENT_BYTES = 4 * 1024 * 1024
"""Some 14,000 requests: quickly allocated, and little to keep for the sake of one long request."""
SEGMENTS_MAX = 256
"""Segments on disk: 1 GiB, some three million requests, an hour at a thousand a second while the store is away."""
MEMORY_SEGMENTS_MAX = 4
"""Segments in memory while no more fit on disk: 16 MiB, some fifty thousand requests."""

_Open = tuple[int, "_Segment | None", RequestRecord, str, int, int]
"""A request that is not over: number, segment of its begin, record, key id, reserved tokens and micro-dollars."""


@dataclass(slots=True, eq=False)
class _Segment:
    number: int
    buffer: mmap.mmap | bytearray
    path: Path | None = None
    """None: in memory."""
    fd: int = -1
    end: int = SEGMENT_HEAD
    """Where the next frame goes."""
    shipped: int = SEGMENT_HEAD
    """Up to where the store has it."""
    synced: int = SEGMENT_HEAD
    """Up to where it would outlive a power cut."""
    open: int = 0
    """Requests that are not over and have their begin here."""

    def close(self, *, removes: bool) -> None:
        """Lets go of the file, and takes it away."""
        if isinstance(self.buffer, mmap.mmap):
            self.buffer.close()
            fd, self.fd = self.fd, -1
            os.close(fd)
        if removes and self.path is not None:
            self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """What of the journal was handed out to be shipped."""

    ends: list[End] = field(repr=False)
    segment: int
    offset: int


class Journal:
    """One journal. `open`, then `begin` and `end` for each request, then `close`."""

    def __init__(
        self,
        folder: Path,
        fleet: str,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        segments_max: int = SEGMENTS_MAX,
        memory_segments_max: int = MEMORY_SEGMENTS_MAX,
    ) -> None:
        self.folder = folder
        self.id = secrets.token_hex(8)
        self.error = ""
        """Why segments are kept in memory; empty while they are on disk."""
        self.dropped_total = 0
        """Frames that found no room."""
        self.begun_total = 0
        self.ended_total = 0
        self.shipped_total = 0
        self._fleet = fleet
        self._bytes = segment_bytes
        self._segments_max = segments_max
        self._memory_max = memory_segments_max
        self._number = 0
        self._made = 0
        self._open: dict[int, _Open] = {}
        self._segments: list[_Segment] = []
        self._spare: _Segment | None = None
        self._lock = -1
        self._threads = threading.Lock()
        """Held by what may run in a thread, never by requests."""
        self._refusal = ""
        """Why the last segment could not be allocated."""

    def open(self) -> None:
        """Makes and locks it. Where the folder can't be written, everything is kept in memory: `error` says why."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = lock_file(self.folder / f"{self.id}.lock")
        except OSError as error:
            self.error = f"{self.folder} can't be written: {error.strerror or error}"
        self._rotate()

    # ------------------------------------------------------------------ requests

    def begin(self, record: RequestRecord, key_id: str, reserved_tokens: int, reserved_micros: int) -> None:
        """Notes that a request was admitted. Its record must live until `end`."""
        number = self._number = self._number + 1
        segment = self._put(begin_frame(number, record, key_id, reserved_tokens, reserved_micros))
        if segment is not None:
            segment.open += 1
        self._open[id(record)] = (number, segment, record, key_id, reserved_tokens, reserved_micros)
        self.begun_total += 1

    def end(self, record: RequestRecord, cost_micros: int) -> bool:
        """Notes that it is over; False where it was never admitted, or is over already: then nothing is noted."""
        begun = self._open.pop(id(record), None)
        if begun is None:
            return False
        number = self._number = self._number + 1
        if self._put(end_frame(number, begun[0], record, begun[3], cost_micros)) is not None:
            self.ended_total += 1
        if (segment := begun[1]) is not None:
            segment.open -= 1
        return True

    def _put(self, frame: bytes) -> _Segment | None:
        if not self._segments:  # not open yet, or closed
            self.dropped_total += 1
            return None
        segment = self._segments[-1]
        end = segment.end + len(frame)
        if end > self._bytes:
            if not self._rotate():
                self.dropped_total += 1
                return None
            segment = self._segments[-1]
            end = segment.end + len(frame)
        segment.buffer[segment.end : end] = frame
        segment.end = end
        return segment

    # ------------------------------------------------------------------ segments

    @property
    def open_requests(self) -> int:
        """Requests that are admitted and not over."""
        return len(self._open)

    @property
    def bytes(self) -> int:
        """Bytes that its segments take, on disk and in memory."""
        return len(self._segments) * self._bytes

    def prepare(self) -> None:
        """Allocates the segment after this one, so that nobody waits for it. May run in a thread."""
        with self._threads:
            if self._spare is None and self._lock >= 0 and len(self._segments) < self._segments_max:
                try:
                    self._spare = self._allocate()
                except OSError as error:
                    self._refusal = f"{self.folder} has no room: {error.strerror or error}"
                else:
                    self._refusal = ""

    def sync(self) -> None:
        """Writes to disk what was put, so that a power cut does not take it. May run in a thread.

        Raises:
            OSError: the disk fails; what was put is still safe from a kill.
        """
        with self._threads:
            for segment in list(self._segments):
                end = segment.end
                if segment.fd >= 0 and end > segment.synced:
                    try:
                        os.fdatasync(segment.fd)
                    except OSError:
                        if segment.fd >= 0:  # else it was shipped and closed meanwhile
                            raise
                    segment.synced = end

    def _rotate(self) -> bool:
        segment = self._next()
        if segment is not None:
            self._segments.append(segment)
        return segment is not None

    def _next(self) -> _Segment | None:
        """The spare one, else a new one, else one in memory; None where there is room for none."""
        segment, self._spare = self._spare, None
        if segment is None and self._lock >= 0:
            if len(self._segments) >= self._segments_max:
                self.error = f"the journal has {self._segments_max * self._bytes:,} bytes, its bound"
            elif self._refusal:  # it is tried again in the background, not for each request
                self.error = self._refusal
            else:
                try:
                    segment = self._allocate()
                except OSError as error:
                    self.error = self._refusal = f"{self.folder} has no room: {error.strerror or error}"
        if segment is not None:
            segment = self._named(segment)
        if segment is not None:
            self.error = ""
            return segment
        if sum(held.path is None for held in self._segments) >= self._memory_max:
            return None
        self._made += 1
        return _Segment(self._made, bytearray(self._bytes))

    def _allocate(self) -> _Segment:
        path = self.folder / f"{self.id}.{secrets.token_hex(4)}.spare"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.posix_fallocate(fd, 0, self._bytes)  # a write to a page without a block on disk would be a SIGBUS
            return _Segment(0, mmap.mmap(fd, self._bytes), path, fd)
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise

    def _named(self, spare: _Segment) -> _Segment | None:
        """The segment with its place in the order, which is that of use: a journal is read in the order of names."""
        assert spare.path is not None
        number = self._made + 1
        path = self.folder / f"{self.id}.{number:08d}.journal"
        spare.buffer[:SEGMENT_HEAD] = segment_head(self.id, self._fleet, number)
        try:
            spare.path.rename(path)
        except OSError as error:
            self.error = f"{self.folder} can't be written: {error.strerror or error}"
            spare.close(removes=True)
            return None
        self._made = number
        spare.number, spare.path = number, path
        return spare

    # ------------------------------------------------------------------ shipping

    @property
    def waiting(self) -> int:
        """Requests that are over and not in the store."""
        return self.ended_total - self.shipped_total

    def next_ends(self, most: int) -> Cursor | None:
        """The oldest ends that are not shipped, at most so many; None where there are none. Nothing changes yet."""
        found: list[End] = []
        cursor = (0, 0)
        for segment in self._segments:
            for offset, end in ends(memoryview(segment.buffer), segment.shipped, segment.end):
                cursor = (segment.number, offset)
                if end is not None:
                    found.append(end)
                    if len(found) == most:
                        return Cursor(ends=found, segment=cursor[0], offset=cursor[1])
        return Cursor(ends=found, segment=cursor[0], offset=cursor[1]) if found else None

    def shipped(self, cursor: Cursor) -> None:
        """The store has these: segments that nothing needs any more go."""
        self.shipped_total += len(cursor.ends)
        for segment in self._segments:
            if segment.number == cursor.segment:
                segment.shipped = cursor.offset
                break
            segment.shipped = segment.end
        self.release()

    def release(self) -> None:
        """Takes shipped segments away, the oldest first, so that no begin outlives its end. Begins of requests that
        still run are put once more into the present segment."""
        while len(self._segments) > 1:
            oldest = self._segments[0]
            if oldest.shipped < oldest.end and any(
                end is not None for _, end in ends(memoryview(oldest.buffer), oldest.shipped, oldest.end)
            ):
                return
            if oldest.open and not self._carry(oldest):
                return
            self._segments.pop(0).close(removes=True)

    def _carry(self, oldest: _Segment) -> bool:
        for place, held in list(self._open.items()):
            number, segment, record, key_id, tokens, micros = held
            if segment is oldest:
                taken = self._put(begin_frame(number, record, key_id, tokens, micros))
                if taken is None:
                    return False
                taken.open += 1
                oldest.open -= 1
                self._open[place] = (number, taken, record, key_id, tokens, micros)
        return True

    def close(self) -> None:
        """Ends it. What is shipped is taken away; what is not stays for the next gateway."""
        is_done = not self.waiting and not self._open
        with self._threads:
            spare, self._spare = self._spare, None
            if spare is not None:
                spare.close(removes=True)
            for segment in self._segments:
                segment.close(removes=is_done)
            self._segments = []
            if self._lock >= 0:
                if is_done:
                    (self.folder / f"{self.id}.lock").unlink(missing_ok=True)
                os.close(self._lock)
                self._lock = -1


def lock_file(path: Path) -> int:
    """Takes the lock and returns its descriptor; closing that, or dying, gives it back.

    Raises:
        BlockingIOError: another process holds it.
        OSError: it can't be made.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def segment_files(folder: Path) -> dict[str, list[Path]]:
    """The segments of each journal in a folder, in their order."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.*.journal")):
        found.setdefault(path.name.partition(".")[0], []).append(path)
    return found
