"""The outbox: one row of writes a turn, each transport's in its order, none for one that is closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from penstock.serve.io.outbox import HELD_BYTES_MAX, HELD_MAX, Outbox


class Paper(asyncio.Transport):
    """A transport that writes down what left, and calls back as a socket does whose buffer fills or drains."""

    def __init__(self, log: list[tuple[str, bytes]], name: str, on_write: Callable[[], None] | None = None) -> None:
        super().__init__()
        self.is_closed = False
        self._log, self._name, self._on_write = log, name, on_write

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._log.append((self._name, bytes(data)))
        on_write, self._on_write = self._on_write, None
        if on_write is not None:
            on_write()

    def is_closing(self) -> bool:
        return self.is_closed


class Turn:
    """What was put off to the end of the turn."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []

    def call_soon(self, act: Callable[[], None]) -> None:
        self.soon.append(act)

    def end(self) -> None:
        soon, self.soon = self.soon, []
        for act in soon:
            act()


def test_nothing_leaves_before_the_turn_is_over_and_then_all_in_order() -> None:
    log: list[tuple[str, bytes]] = []
    turn, one, other = Turn(), Paper(log, "one"), Paper(log, "other")
    outbox = Outbox(turn.call_soon)
    outbox.write(one, b"1")
    outbox.write(other, b"2")
    outbox.write(one, b"3")
    assert (log, len(turn.soon)) == ([], 1)
    turn.end()
    assert log == [("one", b"1"), ("other", b"2"), ("one", b"3")]


def test_the_next_turn_is_waited_for_anew() -> None:
    log: list[tuple[str, bytes]] = []
    turn, one = Turn(), Paper(log, "one")
    outbox = Outbox(turn.call_soon)
    outbox.write(one, b"1")
    turn.end()
    outbox.write(one, b"2")
    assert log == [("one", b"1")]
    turn.end()
    assert log == [("one", b"1"), ("one", b"2")]


def test_no_piece_is_held_behind_more_than_the_bound_nor_behind_a_long_one() -> None:
    log: list[tuple[str, bytes]] = []
    turn, one = Turn(), Paper(log, "one")
    outbox = Outbox(turn.call_soon)
    for _ in range(HELD_MAX):
        outbox.write(one, b"x")
    assert len(log) == HELD_MAX
    outbox.write(one, b"y")
    outbox.write(one, b"z" * (HELD_BYTES_MAX + 1))
    assert [data[:1] for _, data in log[HELD_MAX:]] == [b"y", b"z"]
    turn.end()
    assert len(log) == HELD_MAX + 2


def test_a_flush_is_counted_so_that_who_wrote_knows_that_it_left() -> None:
    turn, one = Turn(), Paper([], "one")
    outbox = Outbox(turn.call_soon)
    before = outbox.flushes
    outbox.write(one, b"1")
    assert outbox.flushes == before
    outbox.flush()
    assert outbox.flushes > before


def test_a_transport_that_is_closed_meanwhile_gets_nothing_and_holds_nobody_up() -> None:
    log: list[tuple[str, bytes]] = []
    turn, gone, other = Turn(), Paper(log, "gone"), Paper(log, "other")
    outbox = Outbox(turn.call_soon)
    outbox.write(gone, b"1")
    outbox.write(other, b"2")
    gone.is_closed = True
    turn.end()
    assert log == [("other", b"2")]


def test_what_is_written_while_it_flushes_leaves_after_what_was_there() -> None:
    log: list[tuple[str, bytes]] = []
    turn = Turn()
    outbox = Outbox(turn.call_soon)
    other = Paper(log, "other")

    def drained() -> None:
        outbox.write(other, b"3")
        outbox.flush()  # as one who closes does

    outbox.write(Paper(log, "one", drained), b"1")
    outbox.write(other, b"2")
    turn.end()
    assert log == [("one", b"1"), ("other", b"2"), ("other", b"3")]
