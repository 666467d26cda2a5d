"""The connection of a request to its second endpoint, beside the one that its client connection holds itself.

It reports to the exchange until the two are one again: then it is cut, or handed over to the client connection, also
while it is still being made.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Protocol

from penstock.serve.commands import Decided, Dispatch
from penstock.serve.exchange import Exchange
from penstock.serve.io.upstream import UpstreamConnection, Upstreams, UpstreamUser
from penstock.serve.routing.signals import Signal

__all__ = ["SecondHost", "SecondLink"]


class SecondHost(UpstreamUser, Protocol):
    """What holds such a link: a client connection."""

    def decided(self, exchange: Exchange, out: Decided) -> None:
        """One of the two connections goes on."""

    def second_gone(self, link: SecondLink) -> None:
        """The second connection is no more."""


class SecondLink:
    """One such connection. Owned by the client connection."""

    __slots__ = ("_connection", "_exchange", "_host", "_is_handed_over", "_task", "_upstreams")

    def __init__(self, host: SecondHost, exchange: Exchange, upstreams: Upstreams) -> None:
        self._host = host
        self._exchange = exchange
        self._upstreams = upstreams
        self._connection: UpstreamConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_handed_over = False

    def begin(self, dispatch: Dispatch, now: float) -> None:
        """Sends the request."""
        connect_s = self._exchange.config.timeouts.connect_s
        self._task = self._upstreams.send(dispatch, self, connect_s, now)

    def upstream_ready(self, connection: UpstreamConnection) -> None:
        """The connection is there and the request is on its way."""
        self._task = None
        if self._is_handed_over:
            connection.user = self._host
            self._host.upstream_ready(connection)
        else:
            self._connection = connection

    def upstream_data(self, data: bytes) -> None:
        """A read from the second endpoint."""
        decided = self._exchange.second_data(data, monotonic())
        if decided is not None:
            self._host.decided(self._exchange, decided)

    def upstream_lost(
        self, reason: str, *, was_reused: bool = False, is_end: bool = False, signal: Signal = "reset"
    ) -> None:
        """The connection could not be made or has ended."""
        self._connection = self._task = None
        if self._is_handed_over:
            self._host.upstream_lost(reason, was_reused=was_reused, is_end=is_end, signal=signal)
            return
        now = monotonic()
        again = self._exchange.second_lost(reason, now, was_reused=was_reused, signal=signal)
        if again is not None:
            self.begin(again, now)
        else:
            self._host.second_gone(self)

    def hand_over(self) -> tuple[UpstreamConnection | None, asyncio.Task[None] | None]:
        """The client connection carries it on: what is there of it, or the task that makes it."""
        self._is_handed_over = True
        if self._connection is not None:
            self._connection.user = self._host
        return self._connection, self._task

    def cut(self, now: float) -> None:
        """Ends it, which makes the engine stop."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        connection, self._connection = self._connection, None
        if connection is not None:
            self._upstreams.release(connection, is_kept=False, now=now)
