"""A wire between a gateway and an engine: order, pauses, ends, and silence."""

from __future__ import annotations

from random import Random

from penstock.simulate.system.clock import Clock
from penstock.simulate.system.wire import Wire


class Ends:
    """Both ends, which keep what they get."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.wire = Wire(self.clock, Random(1), lambda act: act(), self)
        self.wire.gateway_side = self
        self.got = b""
        self.asked = b""
        self.lost: list[Exception | None] = []
        self.left = 0

    def data_received(self, data: bytes) -> None:
        assert not self.lost
        self.got += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)

    def read(self, wire: Wire, data: bytes) -> None:
        self.asked += data

    def gone(self, wire: Wire) -> None:
        self.left += 1

    def settle(self) -> None:
        while self.clock.step():
            pass


def test_bytes_arrive_late_whole_and_in_order_and_the_end_after_them() -> None:
    ends = Ends()
    sent = [b"%d," % n * 7 for n in range(60)]
    for piece in sent:
        ends.wire.answer(piece)
    ends.wire.end()
    assert ends.got == b""
    ends.settle()
    assert (ends.got, ends.lost) == (b"".join(sent), [None])


def test_a_gateway_that_does_not_read_loses_nothing() -> None:
    ends = Ends()
    ends.wire.pause_reading()
    ends.wire.answer(b"one")
    ends.wire.end(ConnectionResetError())
    ends.settle()
    assert (ends.got, ends.lost) == (b"", [])
    ends.wire.resume_reading()
    ends.settle()
    assert ends.got == b"one"
    assert len(ends.lost) == 1


def test_the_engine_hears_that_the_gateway_has_cut_it_and_the_gateway_hears_it_once() -> None:
    ends = Ends()
    ends.wire.write(b"ask")
    ends.wire.abort()
    ends.wire.abort()
    ends.wire.answer(b"too late")
    ends.settle()
    assert (ends.asked, ends.left, ends.lost, ends.got) == (b"ask", 1, [None], b"")


def test_a_black_wire_says_nothing_to_anybody() -> None:
    ends = Ends()
    ends.wire.is_black = True
    ends.wire.answer(b"x")
    ends.wire.write(b"y")
    ends.wire.end()
    ends.settle()
    assert (ends.got, ends.asked, ends.lost) == (b"", b"", [])
