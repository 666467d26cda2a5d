"""The client's side of the data plane: one protocol object per client connection.

Reads requests with httptools, drives one `Exchange` at a time, and carries bytes both ways with back-pressure. All
decisions are the exchange's; this file only performs them. Pipelined requests are served in order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING

import httptools

from penstock.serve.exchange import Dispatch, Exchange, Reply
from penstock.serve.io.request_reader import RequestReader
from penstock.serve.local import too_large
from penstock.serve.wire.errors import Failure
from penstock.serve.wire.heads import RequestHead

if TYPE_CHECKING:
    from penstock.serve.io.gateway import Gateway
    from penstock.serve.io.upstream import UpstreamConnection

__all__ = ["ClientConnection"]

BACKLOG_BYTES_MAX = 65_536
"""Bytes of pipelined requests that are held while one is served; past it the client is not read."""
LINGER_S = 2.0
"""Seconds that a refused body is still read, so that the client sees the answer and not a reset."""
PROBE_DELAYS_S = (0.0, 0.02)
"""When a client that sent FIN is probed. One that is gone answers the first with RST, and the second then fails; one
that only closed its sending half ignores both. Nothing else tells the two apart."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class ClientConnection(asyncio.Protocol):
    """One client connection. Owned by the gateway, which sweeps it for deadlines."""

    __slots__ = (
        "_backlog",
        "_connect_task",
        "_exchange",
        "_gateway",
        "_has_begun",
        "_has_eof",
        "_idle_since",
        "_is_broken",
        "_is_pumping",
        "_is_serving",
        "_linger_until",
        "_loop",
        "_paused_at",
        "_queue",
        "_reader",
        "_transport",
        "_upstream",
    )

    def __init__(self, gateway: Gateway, loop: asyncio.AbstractEventLoop) -> None:
        self._gateway = gateway
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._reader = RequestReader(self, gateway.core.config.limits)
        self._exchange: Exchange | None = None
        self._upstream: UpstreamConnection | None = None
        self._connect_task: asyncio.Task[None] | None = None
        self._queue: deque[tuple[RequestHead, bytes]] | None = None
        self._backlog = b""
        self._has_begun = False  # telemetry was told of the exchange
        self._is_serving = False  # a whole request is being answered
        self._is_pumping = False
        self._is_broken = False  # what follows on this connection can't be read
        self._has_eof = False
        self._idle_since = monotonic()
        self._linger_until = 0.0
        self._paused_at = 0.0

    # ------------------------------------------------------------------ transport events

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        if not self._gateway.client_connected(self):
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._reader.close()
        exchange = self._exchange
        if exchange is not None:
            exchange.client_lost(monotonic())
            self._finish(exchange)
        self._gateway.client_disconnected(self)

    def data_received(self, data: bytes) -> None:
        if self._linger_until or self._is_broken:
            return
        if self._is_serving:
            self._backlog += data
            if len(self._backlog) > BACKLOG_BYTES_MAX and self._transport is not None:
                self._transport.pause_reading()
            return
        self._feed(data)

    def eof_received(self) -> bool:
        self._has_eof = True
        exchange = self._exchange
        if exchange is None or not self._is_serving or self._gateway.core.config.tls is not None:
            return False  # nothing to answer: close
        for delay in PROBE_DELAYS_S:
            self._loop.call_later(delay, self._probe, exchange)
        return True

    def pause_writing(self) -> None:
        self._paused_at = monotonic()
        if self._upstream is not None and self._upstream.transport is not None:
            self._upstream.transport.pause_reading()

    def resume_writing(self) -> None:
        self._paused_at = 0.0
        if self._upstream is not None and self._upstream.transport is not None:
            self._upstream.transport.resume_reading()

    def _probe(self, exchange: Exchange) -> None:
        if self._exchange is exchange and self._transport is not None:
            probe = exchange.probe()
            if probe:
                self._transport.write(probe)

    # ------------------------------------------------------------------ reading requests

    def _feed(self, data: bytes) -> None:
        try:
            self._reader.feed(data, monotonic())
        except httptools.HttpParserError as error:
            self._broken_request(str(error))

    def _broken_request(self, reason: str) -> None:
        """What came is not HTTP: says so if that can still be said, and closes."""
        self._is_broken = True
        if self._is_serving or self._transport is None:
            return
        if self._exchange is None:
            self._begin(self._reader.partial_head())
        if self._exchange is not None:
            failure = self._reader.failure or Failure(
                status=400, code="bad_http", message=f"The request is not valid HTTP/1.1: {reason}."
            )
            self._exchange.is_client_kept = False
            self._perform(self._exchange.refuse(failure, monotonic()))

    def head_complete(self, head: RequestHead, *, expects_continue: bool) -> None:
        """A request head was read."""
        if self._is_serving or self._queue:
            return  # a pipelined request: looked at when its turn comes
        refusal = self._begin(head).check_head(monotonic())
        if refusal is not None:
            self._perform(refusal)
        elif expects_continue and not head.is_http_1_0 and self._transport is not None:
            self._transport.write(_CONTINUE)

    def body_too_large(self) -> None:
        """A body of unknown length has passed the limit."""
        exchange = self._exchange
        if exchange is not None and not self._is_serving:
            exchange.is_client_kept = False
            limit = self._gateway.core.config.limits.body_bytes_max
            self._perform(exchange.refuse(too_large(limit), monotonic()))

    def request_complete(self, head: RequestHead, body: bytes) -> None:
        """A whole request was read."""
        if self._is_serving or self._queue:
            if self._queue is None:
                self._queue = deque()
            self._queue.append((head, body))
        elif self._exchange is not None:
            self._is_serving = True
            self._perform(self._exchange.request(body, monotonic()))
        # else: it was refused by its head and the body is now behind us

    def _begin(self, head: RequestHead) -> Exchange:
        self._exchange = exchange = Exchange(self._gateway.core, head, monotonic())
        self._has_begun = False
        return exchange

    def _pump(self) -> None:
        """Serves what came while another request was being answered."""
        if self._is_pumping:
            return
        self._is_pumping = True
        while self._exchange is None and self._transport is not None and not self._transport.is_closing():
            if self._queue:
                head, body = self._queue.popleft()
                exchange = self._begin(head)
                refusal = exchange.check_head(monotonic())
                if refusal is not None:
                    self._perform(refusal)
                else:
                    self._is_serving = True
                    self._perform(exchange.request(body, monotonic()))
            elif self._backlog:
                data, self._backlog = self._backlog, b""
                self._transport.resume_reading()
                self._feed(data)
            else:
                break
        self._is_pumping = False

    # ------------------------------------------------------------------ performing commands

    def _perform(self, command: Reply | Dispatch) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        if isinstance(command, Dispatch):
            if not self._has_begun:
                self._has_begun = True
                self._gateway.telemetry.begin(exchange.record.model, monotonic())
            self._leave_upstream(is_kept=False)
            self._connect_task = self._gateway.upstreams.send(
                command, self, exchange.config.timeouts.connect_s, monotonic()
            )
            return
        if self._transport is not None:
            self._transport.write(command.data)
        self._finish(exchange)

    def upstream_ready(self, connection: UpstreamConnection) -> None:
        """The endpoint's connection is there and the request is on its way."""
        self._connect_task = None
        self._upstream = connection
        if self._paused_at and connection.transport is not None:
            connection.transport.pause_reading()

    def upstream_data(self, data: bytes) -> None:
        """A read from the endpoint: the hot path."""
        exchange = self._exchange
        if exchange is None:
            return
        out = exchange.upstream_data(data, monotonic())
        if type(out) is bytes:
            if out and self._transport is not None:
                self._transport.write(out)
            if exchange.phase == "over":
                self._finish(exchange)
        else:
            self._after(exchange, out)

    def upstream_lost(self, reason: str, *, was_reused: bool = False, is_end: bool = False) -> None:
        """The endpoint's connection could not be made or has ended."""
        exchange = self._exchange
        self._connect_task = self._upstream = None
        if exchange is not None:
            self._after(exchange, exchange.upstream_lost(reason, monotonic(), was_reused=was_reused, is_end=is_end))

    def _after(self, exchange: Exchange, out: bytes | Reply | Dispatch | None) -> None:
        if isinstance(out, Reply | Dispatch):
            self._perform(out)
            return
        if out and self._transport is not None:
            self._transport.write(out)
        if exchange.phase == "over":
            self._finish(exchange)

    def _leave_upstream(self, *, is_kept: bool) -> None:
        if self._connect_task is not None:
            self._connect_task.cancel()
            self._connect_task = None
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            if self._paused_at and is_kept and upstream.transport is not None:
                upstream.transport.resume_reading()
            self._gateway.upstreams.release(upstream, is_kept=is_kept, now=monotonic())

    def _finish(self, exchange: Exchange) -> None:
        """The exchange is over: accounts for it, and readies the connection for the next request or closes it."""
        self._exchange = None
        self._leave_upstream(is_kept=exchange.is_upstream_kept)
        self._gateway.exchange_over(exchange.record, has_begun=self._has_begun)
        transport = self._transport
        if transport is None:
            return
        was_serving, self._is_serving = self._is_serving, False
        self._idle_since = monotonic()
        if not exchange.is_client_kept or self._is_broken:
            if was_serving or self._has_eof:
                transport.close()
            else:
                self._linger(transport)
        elif self._queue or self._backlog:
            self._pump()
        elif self._has_eof:
            transport.close()

    def _linger(self, transport: asyncio.Transport) -> None:
        """Closes after the client has had time to read a refusal that came before its body was read."""
        self._linger_until = monotonic() + LINGER_S
        if transport.can_write_eof():
            transport.write_eof()

    # ------------------------------------------------------------------ deadlines

    def sweep(self, now: float) -> None:
        """Acts on what has taken too long. Called a few times a second."""
        transport, exchange = self._transport, self._exchange
        if transport is None:
            return
        if self._linger_until:
            if now > self._linger_until:
                transport.abort()
        elif exchange is None:
            self._sweep_idle(transport, now)
        elif self._paused_at:
            if now - self._paused_at > exchange.config.timeouts.client_write_s:
                transport.abort()
            exchange.last_progress_at = now  # it is the client that is slow
        elif not self._is_serving:
            if now - self._reader.last_data_at > exchange.config.timeouts.body_s:
                self._late_request(exchange, "body", exchange.config.timeouts.body_s, now)
        elif late := exchange.is_late(now):
            self._after(exchange, exchange.timed_out(late, now))

    def _sweep_idle(self, transport: asyncio.Transport, now: float) -> None:
        timeouts = self._gateway.core.config.timeouts
        if self._reader.head_began_at:
            if now - self._reader.head_began_at > timeouts.header_s:
                self._late_request(self._begin(self._reader.partial_head()), "head", timeouts.header_s, now)
        elif now - self._idle_since > timeouts.idle_s:
            transport.close()

    def _late_request(self, exchange: Exchange, part: str, limit_s: float, now: float) -> None:
        self._is_broken = True
        exchange.is_client_kept = False
        message = f"The {part} of the request did not arrive within {limit_s:g} s."
        self._perform(exchange.refuse(Failure(status=408, code="request_timeout", message=message), now))

    def shut_down(self, *, is_final: bool) -> None:
        """The gateway is stopping: an idle connection closes now, a busy one after its answer; `is_final` ends that
        too, with an SSE error event where the answer is a stream."""
        exchange, transport = self._exchange, self._transport
        if transport is None:
            return
        if exchange is None:
            transport.close()
            return
        exchange.is_client_kept = False
        if is_final:
            if self._is_serving:
                self._after(exchange, exchange.shut_down(monotonic()))
            else:
                transport.abort()
