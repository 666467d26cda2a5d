"""Copies of requests that go to another model, as a rule's `shadow` says; what it answers is thrown away.

Guarantees: a copy never waits, never keeps a client's request waiting, and takes only room that nobody waits for; it
counts for no tenant's limits or use. At most `COPIES_MAX` are under way; what finds no room is dropped and counted.
"""

from __future__ import annotations

import asyncio
from time import monotonic

from penstock.serve.commands import Copy, Dispatch
from penstock.serve.core import Core
from penstock.serve.flow import Ticket
from penstock.serve.io.upstream import UpstreamConnection, Upstreams
from penstock.serve.routing import Endpoint
from penstock.serve.routing.signals import Signal
from penstock.serve.wire.heads import request_head
from penstock.serve.wire.responses import EofBody, ResponseError, ResponseHead, parse_head

__all__ = ["COPIES_MAX", "Shadows"]

COPIES_MAX = 256
"""Copies under way: each holds a connection and a body."""
COPY_S_MAX = 600.0
"""Seconds after which a copy is given up."""
_TENANT = "shadow"


class Shadows:
    """All copies of one gateway. Belongs to its event loop."""

    def __init__(self, core: Core, upstreams: Upstreams) -> None:
        self._core = core
        self._upstreams = upstreams
        self._under_way: set[_Run] = set()
        self.sent_total = 0
        self.dropped_total = 0
        self.failed_total = 0

    def __len__(self) -> int:
        return len(self._under_way)

    def send(self, copy: Copy, now: float) -> None:
        """Sends a copy, or drops it."""
        ticket = Ticket(
            model=copy.model,
            tenant=_TENANT,
            traffic_class="experimental",
            need=copy.need,
            body_bytes=len(copy.body),
            arrived_at=now,
            wait_s=0.0,
        )
        flow = self._core.flow
        if len(self._under_way) < COPIES_MAX:
            flow.submit(ticket, now)
        if ticket.endpoint is None:
            flow.withdraw(ticket, now)
            self.dropped_total += 1
            return
        self.sent_total += 1
        run = _Run(self, ticket, ticket.endpoint)
        self._under_way.add(run)
        head = request_head(
            copy.path,
            ticket.endpoint.authority,
            content_type=b"application/json",
            content_length=len(copy.body),
            request_id=self._core.new_request_id(),
            forwarded=b"",
        )
        run.begin(self._upstreams, (head, copy.body), self._core.config.timeouts.connect_s, now)

    def over(self, run: _Run, signal: Signal, words: str = "") -> None:
        """A copy is over, whatever came of it."""
        if run not in self._under_way:
            return
        self._under_way.discard(run)
        now = monotonic()
        self.failed_total += signal != "ok"
        self._core.endpoints.heard(run.endpoint, signal, now, trial=run.ticket.trial, words=words)
        self._core.flow.ended(run.ticket, now, is_ok=signal == "ok")

    def sweep(self, now: float) -> None:
        """Gives up what takes too long."""
        for run in [r for r in self._under_way if now - r.ticket.arrived_at > COPY_S_MAX]:
            run.give_up()

    def close(self) -> None:
        """Cuts every copy."""
        for run in list(self._under_way):
            run.give_up()


class _Run:
    """One copy at its endpoint: reads the answer to its end."""

    def __init__(self, shadows: Shadows, ticket: Ticket, endpoint: Endpoint) -> None:
        self._shadows = shadows
        self.ticket = ticket
        self.endpoint = endpoint
        self._upstreams: Upstreams | None = None
        self._connection: UpstreamConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._begun = b""
        self._head: ResponseHead | None = None

    def begin(self, upstreams: Upstreams, request: tuple[bytes, bytes], connect_s: float, now: float) -> None:
        self._upstreams = upstreams
        self._task = upstreams.send(Dispatch(self.endpoint, request), self, connect_s, now)

    def upstream_ready(self, connection: UpstreamConnection) -> None:
        """The request is on its way."""
        self._connection, self._task = connection, None

    def upstream_data(self, data: bytes) -> None:
        """A read from the endpoint, which nobody gets."""
        try:
            if self._head is None:
                self._begun += data
                self._head = parse_head(self._begun)
                if self._head is None:
                    return
                data, self._begun = self._begun[self._head.size :], b""
            body = self._head.body
            if data:
                body.feed(data)
        except ResponseError as error:
            self._leave(is_kept=False)
            self._shadows.over(self, "bad_http", str(error))
            return
        if body.is_done:
            self._leave(is_kept=self._head.is_keep_alive and not body.is_overrun)
            self._shadows.over(self, "ok" if self._head.status < 400 else "client_error")

    def upstream_lost(
        self, reason: str, *, was_reused: bool = False, is_end: bool = False, signal: Signal = "reset"
    ) -> None:
        """The connection could not be made, or has ended. A copy is not tried again."""
        self._connection = self._task = None
        is_whole = is_end and self._head is not None and isinstance(self._head.body, EofBody)
        is_idle_end = was_reused and self._head is None
        self._shadows.over(self, "ok" if is_whole else "cancelled" if is_idle_end else signal, reason)

    def give_up(self) -> None:
        """Cuts the copy."""
        if self._task is not None:
            self._task.cancel()
        self._leave(is_kept=False)
        self._shadows.over(self, "cancelled")

    def _leave(self, *, is_kept: bool) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and self._upstreams is not None:
            self._upstreams.release(connection, is_kept=is_kept, now=monotonic())
