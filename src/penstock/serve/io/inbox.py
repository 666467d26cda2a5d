"""What came from sockets in one turn of the event loop: taken in a row, answers first, then requests.

Between two reads the kernel works, and a request and an answer go through different code: dealt with as they come, each
finds the caches cold. Read first, and then dealt with kind by kind, most find them warm, and what they lead to leaves
in a row too (`outbox`). `docs/performance.md` has the figures.

Guarantees: each connection's reads are taken once and in their order, those of one turn as one; nothing waits past the
turn in which it came, nor behind more than `WAITING_MAX` others. Who hears that a connection has ended, or that time is
over, takes what came before first (`run`). Belongs to one event loop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from penstock.serve.io.outbox import Outbox

__all__ = ["LONG_BYTES", "WAITING_MAX", "Inbox", "Reader"]

_log = logging.getLogger("penstock.inbox")

WAITING_MAX = 32
"""Connections that wait to be dealt with: three milliseconds of requests."""
LONG_BYTES = 65_536
"""A read from which on nobody waits for more: the connection says so by `run`."""


class Reader(Protocol):
    """A connection that keeps what it read until it is asked to deal with it."""

    def take_read(self) -> None:
        """Deals with what it read in this turn."""

    def break_off(self, error: Exception) -> None:
        """Something was raised that never should be: ends the connection."""


class Inbox:
    """Owned by one gateway. `call_soon` calls what it is given when this turn of the loop is done."""

    __slots__ = ("_answers", "_call_soon", "_is_due", "_outbox", "_requests", "_waiting")

    def __init__(self, outbox: Outbox, call_soon: Callable[[Callable[[], None]], Any]) -> None:
        self._outbox = outbox
        self._call_soon = call_soon
        self._answers: list[Reader] = []
        self._requests: list[Reader] = []
        self._waiting = 0
        self._is_due = False

    def answer(self, reader: Reader) -> None:
        """An endpoint said something: at the end of this turn, or earlier, `reader` is asked to take it."""
        self._answers.append(reader)
        self._note()

    def request(self, reader: Reader) -> None:
        """A client said something, the same."""
        self._requests.append(reader)
        self._note()

    def _note(self) -> None:
        self._waiting += 1
        if self._waiting >= WAITING_MAX:
            self.run()
        elif not self._is_due:
            self._is_due = True
            self._call_soon(self._turn_over)

    def run(self) -> None:
        """Deals with what came, and writes what follows from it."""
        answers, self._answers = self._answers, []
        requests, self._requests = self._requests, []
        self._waiting = 0
        self._outbox.is_due = True
        for readers in (answers, requests):
            for reader in readers:
                try:
                    reader.take_read()
                except Exception as error:
                    self._broke(reader, error)
        self._outbox.is_due = False
        self._outbox.flush()

    def _broke(self, reader: Reader, error: Exception) -> None:
        _log.exception("what came on a connection could not be dealt with; others go on")
        reader.break_off(error)

    def _turn_over(self) -> None:
        self._is_due = False
        self.run()
