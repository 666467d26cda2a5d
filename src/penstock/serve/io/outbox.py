"""What goes to sockets in one turn of the event loop: held for a moment, and written in a row.

A write wakes whoever reads that socket, and to wake a process that sleeps costs the kernel more than most of what the
gateway does for a request. Written one at a time, between two pieces of other work, each write finds its reader asleep
again; written in a row, most find them awake (`docs/performance.md` has the figures).

Guarantees: what is written to one transport leaves in its order; nothing is held past the turn in which it came, nor
behind more than `HELD_MAX` others, nor behind `HELD_BYTES_MAX`. Whoever closes a transport flushes first. Belongs to
one event loop.
"""

from __future__ import annotations

from asyncio import WriteTransport
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["HELD_BYTES_MAX", "HELD_MAX", "Outbox"]

HELD_MAX = 32
"""Pieces that are held: as many as one row of `inbox` leads to. The first waits for three milliseconds at most."""
HELD_BYTES_MAX = 65_536
"""A longer piece is not held: its copying costs more than a wake-up."""


class Outbox:
    """Owned by one gateway. `call_soon` calls what it is given when this turn of the loop is done."""

    __slots__ = ("_call_soon", "_held", "flushes", "is_due")

    def __init__(self, call_soon: Callable[[Callable[[], None]], Any]) -> None:
        self._call_soon = call_soon
        self._held: deque[tuple[WriteTransport, bytes]] = deque()
        self.is_due = False
        """Whether somebody flushes when this turn is done."""
        self.flushes = 0
        """Times that everything left: what was written when it was less is on its way."""

    def write(self, transport: WriteTransport, data: bytes) -> None:
        """Takes a piece for `transport`; it leaves at the end of this turn, or earlier."""
        held = self._held
        held.append((transport, data))
        if not self.is_due:
            self.is_due = True
            self._call_soon(self._turn_over)
        if len(held) >= HELD_MAX or len(data) > HELD_BYTES_MAX:
            self.flush()

    def flush(self) -> None:
        """Writes what is held. Writing may lead to more, which leaves too, in its turn."""
        self.flushes += 1
        held = self._held
        while held:
            transport, data = held.popleft()
            if not transport.is_closing():
                transport.write(data)

    def _turn_over(self) -> None:
        self.is_due = False
        self.flush()
