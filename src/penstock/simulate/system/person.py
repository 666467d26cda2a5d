"""A client on its virtual connection: sends requests, reads answers or not, hangs up, sends nonsense. Pure.

`Line` is the connection; towards the gateway it is an asyncio transport with small buffers, so that a client that does
not read is felt after a few hundred bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from penstock.simulate.system.clock import Clock
from penstock.simulate.system.draw import Visit, Wish
from penstock.simulate.system.reply import Reply

__all__ = ["ClientSide", "Line", "Person", "Request"]

KERNEL_BYTES = 1500
"""That may be on their way to a client that does not read."""
HIGH_BYTES, LOW_BYTES = 1000, 200
"""Bytes in the gateway's own buffer at which it is told to stop writing, and to go on."""
TRIES_MAX = 3
"""Times that a request is sent whose connection ended before any answer."""
_LATENCY_S = 0.001
_RESET = ConnectionResetError("connection reset by peer")


class ClientSide(Protocol):
    """The gateway's end of a client connection: an asyncio protocol."""

    def connection_made(self, transport: Line) -> None: ...

    def connection_lost(self, exc: Exception | None) -> None: ...

    def data_received(self, data: bytes) -> None: ...

    def eof_received(self) -> bool | None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


class Line:
    """One client connection, as the gateway's transport."""

    def __init__(self, clock: Clock, enter: Callable[[Callable[[], None]], None], person: Person) -> None:
        self._clock = clock
        self._enter = enter
        self._person = person
        self.side: ClientSide | None = None
        self.is_closing_ = False
        self.is_excused = False
        """The gateway was killed, or would take no more: what is not answered is not its fault."""
        self._arrives_at = 0.0
        self._has_eof = False
        self._is_paused = False
        self._is_writing_paused = False
        self._unsent = bytearray()
        self._in_kernel = 0
        self._held: list[bytes | None] = []

    # ------------------------------------------------------------------ the client's end

    def die(self) -> None:
        """The gateway's process is gone: the kernel closes the connection."""
        if self.side is not None or not self.is_closing_:
            self.side, self.is_closing_, self.is_excused = None, True, True
            self._clock.after(_LATENCY_S, lambda: self._person.ended(self, is_reset=True))

    def open(self, side: ClientSide) -> None:
        self.side = side
        side.connection_made(self)
        if self.is_closing_:
            self.is_excused = True

    def send(self, data: bytes | None, later_s: float = 0.0) -> None:
        """The client sends, after what it sent before; None is the end of what it sends."""
        self._arrives_at = max(self._arrives_at, self._clock.now + _LATENCY_S + later_s)
        self._clock.at(self._arrives_at, lambda: self._enter(lambda: self._receive(data)))

    def cut(self) -> None:
        """The client is gone: RST."""
        self._clock.after(_LATENCY_S, lambda: self._enter(lambda: self._lose(_RESET)))

    def consumed(self, count: int) -> None:
        """The client has read so much."""
        self._in_kernel -= count
        if self._unsent:
            self._clock.after(_LATENCY_S, lambda: self._enter(self._push))

    def _receive(self, data: bytes | None) -> None:
        if self._is_paused or self._held:
            self._held.append(data)
        elif self.side is not None and not self.is_closing_:
            if data is not None:
                self.side.data_received(data)
            elif not self.side.eof_received():
                self.close()

    def _lose(self, error: Exception | None) -> None:
        side, self.side = self.side, None
        self.is_closing_ = True
        if side is not None:
            side.connection_lost(error)

    # ------------------------------------------------------------------ the gateway's end

    def write(self, data: bytes) -> None:
        if self.side is None or self.is_closing_:
            return
        self._unsent += data
        self._push()
        if len(self._unsent) > HIGH_BYTES and not self._is_writing_paused:
            self._is_writing_paused = True
            self.side.pause_writing()

    def _push(self) -> None:
        room = KERNEL_BYTES - self._in_kernel
        if self._unsent and room > 0:
            piece = bytes(self._unsent[:room])
            del self._unsent[:room]
            self._in_kernel += len(piece)
            self._clock.after(_LATENCY_S, lambda: self._person.arrived(self, piece))
        if self._is_writing_paused and len(self._unsent) <= LOW_BYTES and self.side is not None:
            self._is_writing_paused = False
            self.side.resume_writing()
        if not self._unsent:
            if self.is_closing_ and self.side is not None:
                self._clock.after(_LATENCY_S, lambda: self._person.ended(self, is_reset=False))
                self._clock.at(self._clock.now, lambda: self._enter(lambda: self._lose(None)))
            elif self._has_eof:
                self._has_eof = False
                self._clock.after(_LATENCY_S, lambda: self._person.ended(self, is_reset=False))

    def close(self) -> None:
        if not self.is_closing_:
            self.is_closing_ = True
            self._push()

    def abort(self) -> None:
        if self.side is None:
            return
        self.is_closing_ = True
        self._unsent.clear()
        self._clock.after(_LATENCY_S, lambda: self._person.ended(self, is_reset=True))
        self._clock.at(self._clock.now, lambda: self._enter(lambda: self._lose(None)))

    def write_eof(self) -> None:
        self._has_eof = True
        self._push()

    @staticmethod
    def can_write_eof() -> bool:
        return True

    def is_closing(self) -> bool:
        return self.is_closing_

    def get_write_buffer_size(self) -> int:
        return len(self._unsent)

    def pause_reading(self) -> None:
        self._is_paused = True

    def resume_reading(self) -> None:
        self._is_paused = False
        if self._held:
            self._clock.at(self._clock.now, lambda: self._enter(self._release))

    def _release(self) -> None:
        held, self._held = self._held, []
        for data in held:
            self._receive(data)


@dataclass(slots=True)
class Request:
    """One request and what became of it."""

    wish: Wish
    sent_at: float = -1.0
    tries: int = 0
    ended_at: float = -1.0
    reply: Reply = field(default_factory=Reply)
    has_hung_up: bool = False
    has_paused: bool = False
    is_excused: bool = False
    """The connection or the gateway ended for a reason that needs no answer."""
    is_lost: bool = False
    """The connection ended without an answer, or in its middle."""

    @property
    def is_over(self) -> bool:
        return self.ended_at >= 0

    @property
    def is_given_up(self) -> bool:
        """Whether it is not sent again when its connection ends."""
        ends = self.has_hung_up or self.is_lost or self.tries >= TRIES_MAX or self.wish.manner == "half_body"
        return bool(self.tries) and ends


class Person:
    """Who makes the requests of one visit, one after another, on a connection as long as it holds."""

    def __init__(self, clock: Clock, visit: Visit, connect: Callable[[Person], Line | None]) -> None:
        self.clock = clock
        self.visit = visit
        self.requests = [Request(wish) for wish in visit.wishes]
        self._connect = connect
        self._line: Line | None = None
        self._is_reading = True
        self._unread: list[bytes] = []
        self._pipelined = 0

    @property
    def is_done(self) -> bool:
        return all(request.is_over for request in self.requests)

    @property
    def current(self) -> Request | None:
        """The request whose answer is awaited."""
        return next((request for request in self.requests if not request.is_over), None)

    # ------------------------------------------------------------------ sending

    def go(self) -> None:
        """Sends the next request."""
        request = self.current
        if request is None:
            if self._line is not None:
                self._line.send(None)
            return
        if self._line is None:
            self._line = self._connect(self)
            self._is_reading, self._unread, self._pipelined = True, [], 0
            if self._line is None:  # nobody listens: again later
                self.clock.after(0.5, self.go)
                return
        if self._pipelined:
            self._pipelined -= 1
            return
        self._send(request, self._line)
        if request.wish.manner == "pipelines":
            for other in self.requests[self.requests.index(request) + 1 :]:
                if other.wish.manner != "plain":
                    break
                self._pipelined += 1
                self._send(other, self._line)

    def _send(self, request: Request, line: Line) -> None:
        wish, now = request.wish, self.clock.now
        request.tries += 1
        request.sent_at = now
        key = "not-a-key-at-all" if wish.manner == "bad_key" else self.visit.key
        version = "1.0" if wish.manner == "http_1_0" else "1.1"
        head = (
            f"POST {wish.path} HTTP/{version}\r\nhost: gateway\r\nauthorization: Bearer {key}\r\n"
            f"content-type: application/json\r\nx-request-id: {wish.id}\r\ncontent-length: {len(wish.body)}\r\n\r\n"
        ).encode()
        if wish.manner == "half_body":
            line.send(head + wish.body[: int(wish.amount * len(wish.body))])
            if wish.amount < 0.4:
                self.clock.after(0.5, lambda: self._hang_up(request, line))
            return
        if wish.amount < 0.3:
            line.send(head)
            line.send(wish.body, 0.05 * wish.amount)
        else:
            line.send(head + wish.body)
        if wish.manner == "half_closes":
            self.clock.after(0.1, lambda: line.send(None))
        elif wish.manner == "hangs_up":
            self.clock.after(2 * wish.amount**2, lambda: self._hang_up(request, line))

    def _hang_up(self, request: Request, line: Line) -> None:
        if request.is_over or self._line is not line or self.current is not request:
            return
        request.has_hung_up = True
        line.cut()
        self._lost_line()

    # ------------------------------------------------------------------ reading

    def arrived(self, line: Line, data: bytes) -> None:
        """Bytes of answers."""
        if self._line is not line:
            line.cut()  # gone: the kernel answers with RST
            return
        if not self._is_reading:
            self._unread.append(data)
            return
        self._read(line, data)
        line.consumed(len(data))

    def _read(self, line: Line, data: bytes) -> None:
        request = self.current
        if request is None:
            return
        wish, reply = request.wish, request.reply
        rest = self._own(reply, data)
        if wish.manner == "hangs_up_at" and reply.bytes > 900 * wish.amount:
            self._hang_up(request, line)
            return
        is_enough = wish.manner == "stops_reading" and reply.bytes > 600 * wish.amount
        if is_enough and not (reply.is_whole or request.has_paused):
            self._is_reading, request.has_paused = False, True
            self.clock.after(0.2 + 5 * wish.amount, lambda: self._read_on(line))
        if reply.is_whole:
            request.ended_at = self.clock.now
            if wish.manner == "half_body":  # refused; nothing more will come of this connection
                line.cut()
                self._lost_line()
            elif wish.manner == "half_closes" or reply.ends_connection:
                self._lost_line()
            else:
                self.go()
            if rest and self._line is line:
                self._read(line, rest)

    @staticmethod
    def _own(reply: Reply, data: bytes) -> bytes:
        """Gives the answer what is its own, and returns the bytes of the next one."""
        for at in range(len(data)):
            if reply.is_whole:
                return data[at:]
            if at == 0 and not data.count(b"HTTP/1.1 ", 1):
                reply.take(data)
                return b""
            reply.take(data[at : at + 1])
        return b""

    def _read_on(self, line: Line) -> None:
        if self._line is not line or self._is_reading:
            return
        self._is_reading = True
        unread, self._unread = self._unread, []
        for data in unread:
            if self._line is line:
                self._read(line, data)
                line.consumed(len(data))

    # ------------------------------------------------------------------ ends

    def ended(self, line: Line, *, is_reset: bool) -> None:
        """The gateway closed the connection."""
        if self._line is not line:
            return
        if self._unread and not self._is_reading:
            self._read_on(line)
            if self._line is not line:
                return
        line.send(None)
        request = self.current
        if request is not None and not is_reset:
            request.reply.end()
            if request.reply.is_whole:
                request.ended_at = self.clock.now
                request = None
        if request is not None and request.tries and request.reply.bytes:
            request.is_lost = True  # in the middle
            request.is_excused = line.is_excused or (is_reset and request.wish.manner == "stops_reading")
        self._lost_line()

    def _lost_line(self) -> None:
        """The connection is no more: the request on it is over or sent again, and the rest goes on another."""
        self._line = None
        request = self.current
        if request is not None and request.is_given_up:
            request.is_lost = not request.has_hung_up
            request.is_excused = request.is_excused or request.wish.manner == "half_body"
            request.ended_at = self.clock.now
        if self.current is not None:
            self.clock.after(0.05, self.go)
