"""A connection hands each answer to whoever asked, in order, and ends at the first sign that something is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import hiredis
import pytest

from penstock.serve.io.limits import link as module
from penstock.serve.io.limits.link import Link, LinkError


class Wire(asyncio.Transport):
    """Stands for the socket."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_cut = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def abort(self) -> None:
        self.is_cut = True

    def close(self) -> None:
        self.is_cut = True


def linked() -> tuple[Link, Wire, list[str]]:
    lost: list[str] = []
    link, wire = Link(lost.append), Wire()
    link.connection_made(wire)
    return link, wire, lost


def keep(into: list[Any]) -> Callable[[Any], None]:
    return into.append


def test_answers_come_in_order_however_they_are_cut() -> None:
    link, wire, _ = linked()
    first: list[Any] = []
    second: list[Any] = []
    link.send(("GET", "a"), keep(first))
    link.send(("GET", b"b"), keep(second))

    for byte in b"$3\r\nabc\r\n-ERR no\r\n":
        link.data_received(bytes([byte]))

    assert wire.written == b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n"
    assert first == [b"abc"]
    assert isinstance(second[0], hiredis.ReplyError)


@pytest.mark.parametrize(
    ("said", "why"), [(b"+OK\r\n", "it sent what nobody asked for"), (b"HTTP/1.1 400\r\n", "protocol")]
)
def test_nonsense_ends_the_connection(said: bytes, why: str) -> None:
    link, wire, lost = linked()

    link.data_received(said)
    link.connection_lost(None)

    assert wire.is_cut
    assert why in lost[0]


def test_an_answer_without_end_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BYTES_MAX", 100)
    link, _, lost = linked()
    link.send(("GET", "a"), keep([]))

    link.data_received(b"$999999\r\n")
    for _ in range(20):
        link.data_received(b"x" * 10)
    link.connection_lost(None)

    assert "more than 100 bytes" in lost[0]


def test_the_end_is_told_once_and_nothing_is_sent_or_answered_after_it() -> None:
    link, wire, lost = linked()
    heard: list[Any] = []
    link.send(("GET", "a"), keep(heard))

    link.connection_lost(ConnectionResetError("reset"))
    link.connection_lost(None)
    link.send(("GET", "b"), keep(heard))

    assert lost == ["reset"]
    assert heard == []
    assert b"b" not in wire.written


def test_a_refusal_is_raised_where_somebody_waits() -> None:
    async def main() -> None:
        link, _, _ = linked()
        asked = asyncio.gather(link.ask("AUTH", "x"), return_exceptions=True)
        await asyncio.sleep(0)
        link.data_received(b"-WRONGPASS invalid\r\n")
        [error] = await asked
        assert isinstance(error, LinkError)
        assert str(error) == "WRONGPASS invalid"

    asyncio.run(main())
