"""The inbox: one row of reads a turn, answers before requests, each taken once, whatever one of them raises."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from penstock.serve.io.inbox import WAITING_MAX, Inbox
from penstock.serve.io.outbox import Outbox


class Turn:
    """What was put off to the end of the turn."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []
        self.outbox = Outbox(self.call_soon)
        self.inbox = Inbox(self.outbox, self.call_soon)

    def call_soon(self, act: Callable[[], None]) -> None:
        self.soon.append(act)

    def end(self) -> None:
        soon, self.soon = self.soon, []
        for act in soon:
            act()


class Taker:
    """A connection that writes down that it was asked."""

    def __init__(self, log: list[str], name: str, then: Callable[[], None] | None = None) -> None:
        self._log, self._name, self._then = log, name, then

    def take_read(self) -> None:
        self._log.append(self._name)
        if self._then is not None:
            self._then()

    def break_off(self, error: Exception) -> None:
        self._log.append(f"{self._name} broke: {error}")


class Paper(asyncio.Transport):
    """A transport that writes down what left."""

    def __init__(self, log: list[str]) -> None:
        super().__init__()
        self._log = log

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._log.append(bytes(data).decode())

    def is_closing(self) -> bool:
        return False


def test_at_the_end_of_the_turn_answers_are_taken_before_requests_and_what_follows_leaves_at_once() -> None:
    log: list[str] = []
    turn, paper = Turn(), Paper(log)
    turn.inbox.request(Taker(log, "request", lambda: turn.outbox.write(paper, b"to the engine")))
    turn.inbox.answer(Taker(log, "answer", lambda: turn.outbox.write(paper, b"to the client")))
    assert (log, len(turn.soon)) == ([], 1)
    turn.end()
    assert log == ["answer", "request", "to the client", "to the engine"]
    assert turn.soon == []  # nobody is to be called once more for what has left


def test_what_was_taken_is_not_taken_again() -> None:
    log: list[str] = []
    turn = Turn()
    turn.inbox.answer(Taker(log, "one"))
    turn.inbox.run()
    turn.end()
    assert log == ["one"]
    turn.inbox.answer(Taker(log, "two"))
    turn.end()
    assert log == ["one", "two"]


def test_nobody_waits_behind_more_than_the_bound() -> None:
    log: list[str] = []
    turn = Turn()
    for _ in range(WAITING_MAX):
        turn.inbox.request(Taker(log, "x"))
    assert len(log) == WAITING_MAX


def test_what_comes_while_others_are_taken_has_its_turn_after_them() -> None:
    log: list[str] = []
    turn = Turn()
    late = Taker(log, "late")
    turn.inbox.answer(Taker(log, "first", lambda: turn.inbox.answer(late)))
    turn.inbox.request(Taker(log, "request"))
    turn.end()
    turn.end()
    assert log == ["first", "request", "late"]


def test_one_that_raises_is_broken_off_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    log: list[str] = []
    turn = Turn()

    def fail() -> None:
        raise ValueError("no such thing")

    turn.inbox.answer(Taker(log, "bad", fail))
    turn.inbox.request(Taker(log, "good"))
    with caplog.at_level(logging.ERROR):
        turn.end()
    assert log == ["bad", "bad broke: no such thing", "good"]
    assert "no such thing" in caplog.text
