"""The client's side of the data plane: one protocol object per client connection.

Reads requests with httptools, drives one `Exchange` at a time, and carries bytes both ways with back-pressure. All
decisions are the exchange's; this file only performs them. Pipelined requests are served in order; while a client does
not read its answers, none of its further requests is begun.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import deque
from time import monotonic

import httptools

from penstock.serve.config import GatewayConfig
from penstock.serve.exchange import Decided, Dispatch, Exchange, Reply
from penstock.serve.io.client_host import ClientHost
from penstock.serve.io.inbox import LONG_BYTES
from penstock.serve.io.request_reader import RequestReader
from penstock.serve.io.second import SecondLink
from penstock.serve.io.upstream import UpstreamConnection
from penstock.serve.local import too_large
from penstock.serve.routing.signals import Signal
from penstock.serve.wire.errors import Failure
from penstock.serve.wire.heads import RequestHead

__all__ = ["ClientConnection"]

_log = logging.getLogger("penstock.client")

BACKLOG_BYTES_MAX = 65_536
"""Bytes of pipelined requests that are held while one is served; past it the client is not read."""
TURN_BYTES = 16_384
"""Bytes of pipelined requests that are looked at in one turn of the loop, so that nobody else waits long for theirs."""
LINGER_S = 2.0
"""Seconds that a refused body is still read, so that the client sees the answer and not a reset."""
PROBE_DELAYS_S = (0.0, 0.02)
"""When a client that sent FIN is probed. One that is gone answers the first with RST, and the second then fails; one
that only closed its sending half ignores both. Nothing else tells the two apart."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_REQUEST_S = 1.0
"""Seconds that a connection of a stopping gateway may lie idle: a request may be on its way on it, also the first."""
_NO_REQUESTS: deque[tuple[RequestHead, bytes | None]] = deque(maxlen=0)
"""The queue of a connection that never had one, which is nearly every connection."""
_OUR_FAULT = Failure(
    status=500,
    code="internal_error",
    message="The gateway failed on this request; its log says why. Other requests are not affected.",
    outcome="upstream_error",
)


class ClientConnection(asyncio.Protocol):
    """One client connection. Owned by the gateway, which sweeps it for deadlines."""

    __slots__ = (
        "_backlog",
        "_came",
        "_connect_task",
        "_ends_at",
        "_exchange",
        "_failure",
        "_gateway",
        "_has_begun",
        "_has_eof",
        "_held",
        "_held_at_flush",
        "_idle_since",
        "_is_ending",
        "_is_pumping",
        "_is_serving",
        "_loop",
        "_paused_at",
        "_queue",
        "_reader",
        "_second",
        "_transport",
        "_unsent_bytes",
        "_upstream",
    )

    def __init__(self, gateway: ClientHost, loop: asyncio.AbstractEventLoop) -> None:
        self._gateway = gateway
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        config = gateway.core.config
        self._reader = RequestReader(self, config.limits, config.headers_kept)
        self._exchange: Exchange | None = None
        self._upstream: UpstreamConnection | None = None
        self._connect_task: asyncio.Task[None] | None = None
        self._second: SecondLink | None = None  # while the request is at two endpoints
        self._queue: deque[tuple[RequestHead, bytes | None]] = _NO_REQUESTS  # whole, waiting; None: body too large
        self._held: tuple[RequestHead, bool] | None = None  # a head that waits, its body still coming; expects continue
        self._held_at_flush = -1  # when the outbox took something last
        self._backlog = b""
        self._came = b""  # was read, and not dealt with yet
        self._has_begun = False  # telemetry was told of the exchange
        self._is_serving = False  # a whole request is being answered
        self._is_pumping = False
        self._failure: Failure | None = None  # why what follows on this connection can't be read
        self._is_ending = False  # nothing more is read or answered
        self._ends_at = 0.0  # when an ending connection is cut
        self._has_eof = False
        self._idle_since = monotonic()
        self._paused_at = 0.0
        self._unsent_bytes = 0

    # ------------------------------------------------------------------ transport events

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        if not self._gateway.client_connected(self):
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._came:
            self._gateway.inbox.run()
        self._transport = None
        self._reader.close()
        exchange = self._exchange
        if exchange is not None:
            exchange.client_lost(monotonic())
            self._finish(exchange)
        self._gateway.client_disconnected(self)

    def data_received(self, data: bytes) -> None:
        if self._came:
            self._came += data
        else:
            self._came = data
            self._gateway.inbox.request(self)
        if len(data) >= LONG_BYTES:
            self._gateway.inbox.run()

    def break_off(self, error: Exception) -> None:
        """What was read could not be dealt with."""
        if self._transport is not None:
            self._transport.abort()

    def take_read(self) -> None:
        """Deals with what was read in this turn."""
        data, self._came = self._came, b""
        if self._is_ending or self._failure is not None:
            return
        if self._is_serving or self._paused_at or self._backlog:
            self._backlog += data
            if len(self._backlog) > BACKLOG_BYTES_MAX and self._transport is not None:
                self._transport.pause_reading()
            return
        if len(data) > TURN_BYTES and self._exchange is None:
            self._feed_in_turns(data)
        else:
            self._feed(data)

    def eof_received(self) -> bool:
        if self._came:
            self._gateway.inbox.run()
        self._has_eof = True
        is_tls = self._gateway.core.config.tls is not None  # TLS has no half-closed state
        if is_tls or not (self._is_serving or self._queue):
            self._close()
            return False
        if self._exchange is not None:
            for delay in PROBE_DELAYS_S:
                self._loop.call_later(delay, self._probe, self._exchange)
        return True

    def pause_writing(self) -> None:
        self._paused_at = monotonic()
        self._unsent_bytes = sys.maxsize
        if self._upstream is not None and self._upstream.transport is not None:
            self._upstream.transport.pause_reading()

    def resume_writing(self) -> None:
        self._paused_at = 0.0
        if self._upstream is not None and self._upstream.transport is not None:
            self._upstream.transport.resume_reading()
        if not self._is_serving:
            self._pump()

    def _probe(self, exchange: Exchange) -> None:
        if self._exchange is exchange and self._transport is not None:
            probe = exchange.probe()
            if probe:
                self._write(probe)

    # ------------------------------------------------------------------ reading requests

    def _feed_in_turns(self, data: bytes) -> None:
        """Takes a long read that begins with a head: the rest of a body goes on at once, more requests wait a turn."""
        self._feed(data[:TURN_BYTES])
        rest = data[TURN_BYTES:]
        if self._exchange is not None and not self._is_serving:
            self._feed(rest)
        elif not self._is_ending and self._failure is None:
            self._backlog = rest
            self._loop.call_soon(self._pump)

    def _feed(self, data: bytes) -> None:
        try:
            self._reader.feed(data, monotonic())
        except httptools.HttpParserCallbackError:
            self._our_fault()
        except httptools.HttpParserError as error:
            message = f"The request is not valid HTTP/1.1: {error}."
            self._broken_request(self._reader.failure or Failure(status=400, code="bad_http", message=message))

    def _broken_request(self, failure: Failure) -> None:
        """What came can't be read: says so if that can still be said, and closes."""
        if self._is_ending or self._transport is None:
            return
        self._failure = failure
        self._backlog = b""
        if self._is_serving or self._queue or self._paused_at:
            self._held = None  # what came before it is answered first
        else:
            self._refuse_last(failure)

    def _our_fault(self) -> None:
        """Something was raised that never should be: this client is told, the log holds it, all others go on."""
        _log.exception("a request could not be processed")
        exchange = self._exchange
        self._failure, self._backlog = _OUR_FAULT, b""
        if exchange is None:
            self._close()
        elif exchange.phase in ("receiving", "queued", "waiting"):
            self._refuse_last(_OUR_FAULT)
        else:
            exchange.is_client_kept = False
            exchange.client_lost(monotonic())
            self._finish(exchange)

    def _refuse_last(self, failure: Failure) -> None:
        """Refuses a request that could not be read to its end, with which the connection ends."""
        now = monotonic()
        exchange = self._exchange or self._begin(self._reader.partial_head(), now)
        exchange.is_client_kept = False
        self._perform(exchange.refuse(failure, now))

    def head_complete(self, head: RequestHead, *, expects_continue: bool) -> bool:
        """A request head was read. Whether its body is wanted."""
        if self._is_ending:
            return False
        if self._is_serving or self._queue or self._paused_at:
            self._held = (head, expects_continue)
            return True
        return self._accept(head, expects_continue=expects_continue)

    def _accept(self, head: RequestHead, *, expects_continue: bool) -> bool:
        now = monotonic()
        refusal = self._begin(head, now).check_head(now)
        if refusal is not None:
            self._perform(refusal)
            return False
        if expects_continue and not head.is_http_1_0:
            self._write(_CONTINUE)
        return True

    def body_too_large(self, head: RequestHead) -> None:
        """A body of unknown length has passed the limit."""
        if self._held is not None:
            self._wait(head, None)
        elif self._exchange is not None:
            self._perform(self._refuse_body(self._exchange))

    def request_complete(self, head: RequestHead, body: bytes) -> None:
        """A whole request was read."""
        if self._held is not None:
            self._wait(head, body)
        elif self._exchange is not None:
            self._is_serving = True
            self._perform(self._exchange.request(body, monotonic()))

    def _wait(self, head: RequestHead, body: bytes | None) -> None:
        """Queues a request; one read of a client bounds how many."""
        self._held = None
        if self._queue is _NO_REQUESTS:
            self._queue = deque()
        self._queue.append((head, body))

    def _refuse_body(self, exchange: Exchange) -> Reply:
        exchange.is_client_kept = False
        return exchange.refuse(too_large(exchange.config.limits.body_bytes_max), monotonic())

    def _begin(self, head: RequestHead, now: float) -> Exchange:
        self._exchange = exchange = Exchange(self._gateway.core, head, now, self)
        self._has_begun = False
        return exchange

    def _pump(self) -> None:
        """Serves what came while another request was being answered, or while the client did not read."""
        if self._is_pumping:
            return
        self._is_pumping = True
        try:
            while not (self._is_serving or self._is_ending or self._paused_at) and self._transport is not None:
                if self._queue:
                    self._serve_waiting()
                elif self._held is not None:
                    (head, expects_continue), self._held = self._held, None
                    if not self._accept(head, expects_continue=expects_continue):
                        self._reader.drop_body()
                elif self._backlog:
                    self._feed_backlog()
                    if self._backlog:
                        break  # the rest has its turn later
                elif self._failure is not None:
                    self._refuse_last(self._failure)
                else:
                    if self._has_eof:
                        self._close()
                    break
        finally:
            self._is_pumping = False

    def _feed_backlog(self) -> None:
        data, self._backlog = self._backlog, b""
        if len(data) > TURN_BYTES and self._exchange is None:
            self._feed_in_turns(data)
        else:
            self._feed(data)
        if len(self._backlog) <= BACKLOG_BYTES_MAX and self._transport is not None:
            self._transport.resume_reading()

    def _serve_waiting(self) -> None:
        """Answers the request that has waited longest."""
        head, body = self._queue.popleft()
        now = monotonic()
        exchange = self._begin(head, now)
        try:
            command: Reply | Dispatch | None = exchange.check_head(now)
            if command is None:
                if body is None:
                    command = self._refuse_body(exchange)
                else:
                    self._is_serving = True
                    command = exchange.request(body, now)
            self._perform(command)
        except Exception:
            self._our_fault()

    # ------------------------------------------------------------------ performing commands

    def go_on(self, exchange: Exchange, out: bytes | Reply | Dispatch | None) -> None:
        """An exchange that waited was woken and wants this done."""
        if self._exchange is exchange:
            self._after(exchange, out)

    def go_beside(self, exchange: Exchange, dispatch: Dispatch) -> None:
        """An exchange that is late to be answered is sent to a second endpoint too."""
        if self._exchange is exchange and self._second is None:
            self._second = SecondLink(self, exchange, self._gateway.upstreams)
            self._second.begin(dispatch, monotonic())

    def decided(self, exchange: Exchange, out: Decided) -> None:
        """What came from the second endpoint decides which of the two goes on."""
        if self._exchange is exchange:
            self._after(exchange, out)

    def second_gone(self, link: SecondLink) -> None:
        """The second endpoint is lost; the first is still asked."""
        if self._second is link:
            self._second = None

    def _keep_one(self, *, is_second: bool) -> None:
        """Cuts one of the two connections; the other is the only one from here on."""
        now = monotonic()
        link, self._second = self._second, None
        if link is None:
            return
        if not is_second:
            link.cut(now)
            return
        self._leave_upstream(now, is_kept=False)
        self._upstream, self._connect_task = link.hand_over()
        if self._paused_at and self._upstream is not None and self._upstream.transport is not None:
            self._upstream.transport.pause_reading()

    def broke(self, exchange: Exchange) -> None:
        """Something was raised while an exchange that waited was woken."""
        if self._exchange is exchange:
            self._our_fault()

    def _perform(self, command: Reply | Dispatch | None) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        if not isinstance(command, Reply):
            now = monotonic()
            if self._has_begun:
                if exchange.record.counted_as != exchange.record.model:
                    self._gateway.exchange_moved(exchange.record)
            elif exchange.is_admitted:
                self._has_begun = True
                self._gateway.exchange_begun(exchange.record, now)
            if command is None:
                if self._upstream is not None or self._connect_task is not None:
                    self._leave_upstream(now, is_kept=False)
                return  # it waits for its turn
            if self._upstream is not None or self._connect_task is not None:
                self._leave_upstream(now, is_kept=False)
            if command.first:
                self._write(command.first)
            if command.copy is not None:
                self._gateway.shadows.send(command.copy, now)
            self._connect_task = self._gateway.upstreams.send(command, self, exchange.config.timeouts.connect_s, now)
            return
        self._write(command.data)
        self._finish(exchange)

    def upstream_ready(self, connection: UpstreamConnection) -> None:
        """The endpoint's connection is there and the request is on its way."""
        self._connect_task = None
        self._upstream = connection
        if self._paused_at and connection.transport is not None:
            connection.transport.pause_reading()

    def upstream_data(self, data: bytes) -> bool:
        """A read from the endpoint: the hot path. Whether it goes on."""
        exchange = self._exchange
        if exchange is None:
            return False
        out = exchange.upstream_data(data, monotonic())
        if type(out) is bytes:
            if exchange.phase == "relaying":
                if out and self._transport is not None:
                    if self._held_at_flush == self._gateway.outbox.flushes:
                        self._gateway.outbox.flush()
                    self._transport.write(out)  # at once: who reads a stream is seldom asleep
                return True
            self._after(exchange, out)
        else:
            self._after(exchange, out)
        return False

    def upstream_lost(
        self, reason: str, *, was_reused: bool = False, is_end: bool = False, signal: Signal = "reset"
    ) -> None:
        """The endpoint's connection could not be made or has ended."""
        exchange = self._exchange
        self._connect_task = self._upstream = None
        if exchange is not None:
            out = exchange.upstream_lost(reason, monotonic(), was_reused=was_reused, is_end=is_end, signal=signal)
            self._after(exchange, out)

    def _after(self, exchange: Exchange, out: bytes | Reply | Dispatch | Decided | None) -> None:
        if isinstance(out, Decided):
            self._keep_one(is_second=out.is_second)
            out = out.out
        if isinstance(out, Reply | Dispatch):
            self._perform(out)
            return
        if out:
            self._write(out)
        if exchange.phase == "over":
            self._finish(exchange)
        elif exchange.endpoint is None:
            self._perform(None)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            outbox = self._gateway.outbox
            self._held_at_flush = outbox.flushes
            outbox.write(self._transport, data)

    def _leave_upstream(self, now: float, *, is_kept: bool) -> None:
        if self._connect_task is not None:
            self._connect_task.cancel()
            self._connect_task = None
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            if self._paused_at and is_kept and upstream.transport is not None:
                upstream.transport.resume_reading()
            self._gateway.upstreams.release(upstream, is_kept=is_kept, now=now)

    def _finish(self, exchange: Exchange) -> None:
        """The exchange is over: accounts for it, and readies the connection for the next request or closes it."""
        now = monotonic()
        self._exchange = None
        if self._second is not None:
            self._keep_one(is_second=False)
        self._leave_upstream(now, is_kept=exchange.is_upstream_kept)
        self._gateway.exchange_over(exchange.record, has_begun=self._has_begun)
        transport = self._transport
        if transport is None:
            return
        was_serving, self._is_serving = self._is_serving, False
        self._idle_since = now
        if not exchange.is_client_kept:
            self._end(transport, lingers=not (was_serving or self._has_eof))
        elif self._queue or self._backlog or self._held is not None or self._has_eof or self._failure is not None:
            self._pump()

    def _close(self) -> None:
        if self._transport is not None:
            self._end(self._transport, lingers=False)

    def _end(self, transport: asyncio.Transport, *, lingers: bool) -> None:
        """Closes once what is written has left; `lingers` after the client had time to read a refusal of a body that it
        is still sending. What takes too long is cut by `sweep`."""
        self._gateway.outbox.flush()
        self._is_ending = True
        self._backlog, self._held, self._queue = b"", None, _NO_REQUESTS
        if lingers:
            self._ends_at = monotonic() + LINGER_S
            if transport.can_write_eof():
                transport.write_eof()
        else:
            self._ends_at = monotonic() + self._gateway.core.config.timeouts.client_write_s
            transport.close()

    # ------------------------------------------------------------------ deadlines

    def sweep(self, now: float) -> None:
        """Acts on what has taken too long. Called a few times a second."""
        transport, exchange = self._transport, self._exchange
        if transport is None:
            return
        if self._is_ending:
            if now > self._ends_at:
                transport.abort()
        elif self._paused_at:
            self._sweep_paused(transport, exchange, now)
        elif exchange is None:
            self._sweep_idle(now)
        elif not self._is_serving:
            if now - self._reader.last_data_at > exchange.config.timeouts.body_s:
                self._refuse_late("body", exchange.config.timeouts.body_s)
        elif exchange.endpoint is None and not exchange.is_late(now):
            if comment := exchange.keep_alive(now):
                self._write(comment)
        elif late := exchange.is_late(now):
            self._after(exchange, exchange.timed_out(late, now))

    def _sweep_paused(self, transport: asyncio.Transport, exchange: Exchange | None, now: float) -> None:
        unsent = transport.get_write_buffer_size()
        if unsent < self._unsent_bytes:
            self._unsent_bytes, self._paused_at = unsent, now  # slow, but it reads
        elif now - self._paused_at > self._gateway.core.config.timeouts.client_write_s:
            transport.abort()
        if exchange is not None:
            exchange.last_progress_at = now  # it is the client that is slow

    def _sweep_idle(self, now: float) -> None:
        core = self._gateway.core
        timeouts, idle_s = core.config.timeouts, LAST_REQUEST_S if core.is_leaving else core.config.timeouts.idle_s
        if self._reader.head_began_at:
            if now - self._reader.head_began_at > timeouts.header_s:
                self._refuse_late("head", timeouts.header_s)
        elif now - self._idle_since > idle_s:
            self._close()

    def _refuse_late(self, part: str, limit_s: float) -> None:
        message = f"The {part} of the request did not arrive within {limit_s:g} s."
        self._refuse_last(Failure(status=408, code="request_timeout", message=message))

    def take_config(self, config: GatewayConfig) -> None:
        """What is read of the requests to come."""
        self._reader.limits, self._reader.kept = config.limits, config.headers_kept

    @property
    def is_ending(self) -> bool:
        """Whether nothing more is read or answered: the last bytes leave, and it closes."""
        return self._is_ending

    def leave(self, now: float) -> None:
        """The gateway stops: the client hears with its answer, or the next, that this connection ends. One that lies
        idle for long closes now."""
        if self._exchange is not None:
            self._exchange.leave_connection()
        elif self._transport is not None and not (self._is_ending or self._paused_at):
            self._sweep_idle(now)

    def shut_down(self) -> None:
        """The gateway's time is over: what is under way ends, with an SSE error event where the answer is a stream."""
        exchange, transport = self._exchange, self._transport
        if transport is None:
            return
        if exchange is None:
            self._close()
            return
        exchange.is_client_kept = False
        if self._is_serving:
            self._after(exchange, exchange.shut_down(monotonic()))
        else:
            transport.abort()

    def abort(self) -> None:
        """Ends the connection now, whatever is unsent."""
        if self._transport is not None:
            self._transport.abort()
