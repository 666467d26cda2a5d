"""Connections to endpoints: made when needed, kept alive when idle, handed to one exchange at a time.

An idle connection is closed before the engine would close it (uvicorn does after 5 s), and any byte or end that comes
on it while idle closes it: it can never carry one answer into another.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from typing import Protocol

from penstock.serve.commands import Dispatch, TlsHost
from penstock.serve.io.inbox import LONG_BYTES, Inbox
from penstock.serve.io.outbox import Outbox
from penstock.serve.io.tasks import Tasks
from penstock.serve.routing.signals import Signal

__all__ = ["UpstreamConnection", "UpstreamUser", "Upstreams"]

_log = logging.getLogger("penstock.upstream")

Address = tuple[str, int, TlsHost | None]
"""Host, port, and who it must prove to be; None for plain HTTP."""
IDLE_S_MAX = 4.0
"""Seconds that an idle connection is kept: under the 5 s after which uvicorn, and so vLLM, closes it."""
IDLE_MAX = 1024
"""Idle connections kept for one address."""
CONTEXTS_MAX = 64
"""Sets of CAs that are kept: more than a file has providers, and each one that is replaced is one more."""
SMALL_BODY_BYTES = 65_536
"""A body up to this size is joined to its head: one copy is cheaper than one more write."""

_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG"})
"""What OpenSSL says of a server that answers a handshake with something else, as plain HTTP."""


class UpstreamUser(Protocol):
    """Whoever a connection serves at the moment: a client connection with an exchange in flight."""

    def upstream_ready(self, connection: UpstreamConnection) -> None:
        """The connection asked for is there and the request is on its way."""

    def upstream_data(self, data: bytes) -> bool | None:
        """A read from the endpoint. Whether the answer is one that goes on to a client read by read, from here on: of
        such an answer each read is told at once."""

    def upstream_lost(
        self, reason: str, *, was_reused: bool = False, is_end: bool = False, signal: Signal = "reset"
    ) -> None:
        """The connection could not be made or has ended; `is_end`: the endpoint closed it in order."""


class UpstreamConnection(asyncio.Protocol):
    """One connection to an endpoint."""

    __slots__ = (
        "_came",
        "_is_flowing",
        "_sent_at_flush",
        "_upstreams",
        "address",
        "idle_since",
        "transport",
        "user",
        "was_reused",
    )

    def __init__(self, upstreams: Upstreams, address: Address) -> None:
        self._upstreams = upstreams
        self.address = address
        self.user: UpstreamUser | None = None
        self.transport: asyncio.Transport | None = None
        self.idle_since = 0.0
        self.was_reused = False
        self._sent_at_flush = -1
        self._came = b""  # was read, and not dealt with yet
        self._is_flowing = False  # nothing that comes waits for the end of the turn

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        user = self.user
        if self._is_flowing and user is not None:
            user.upstream_data(data)
        elif self._came:
            self._came += data
        elif user is not None:
            self._came = data
            self._upstreams.inbox.answer(self)
            if len(data) >= LONG_BYTES:
                self._upstreams.inbox.run()
        elif self.transport is not None:
            self.transport.abort()  # nobody asked: never let it reach a later request

    def take_read(self) -> None:
        """Deals with what was read in this turn."""
        data, self._came = self._came, b""
        user = self.user
        if user is not None:
            is_flowing = user.upstream_data(data)
            self._is_flowing = self.user is not None and is_flowing is True

    def break_off(self, error: Exception) -> None:
        """What was read could not be dealt with."""
        transport = self.transport
        self.connection_lost(error)
        if transport is not None:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._came:
            self._upstreams.inbox.run()
        self.transport = None
        user, self.user = self.user, None
        if user is not None:
            user.upstream_lost(_lost_words(exc), was_reused=self.was_reused, is_end=exc is None)
        else:
            self._upstreams.forget(self)

    def send(self, user: UpstreamUser, data: tuple[bytes, bytes]) -> None:
        """Takes the connection for `user` and sends a request."""
        self.user = user
        transport = self.transport
        if transport is None:
            raise AssertionError("only a live connection is handed out")
        if len(data[1]) <= SMALL_BODY_BYTES:
            outbox = self._upstreams.outbox
            self._sent_at_flush = outbox.flushes
            outbox.write(transport, data[0] + data[1])
        else:
            transport.writelines(data)

    def let_go(self) -> None:
        """Nobody is served any more: what still comes is nobody's."""
        self.user = None
        self._is_flowing = False

    @property
    def is_clean(self) -> bool:
        """Whether all of the request has left, and nothing has come besides its answer."""
        transport = self.transport
        is_held = self._sent_at_flush == self._upstreams.outbox.flushes
        return not (is_held or self._came or transport is None or transport.get_write_buffer_size())


class Upstreams:
    """All connections to endpoints. Owned by the gateway."""

    def __init__(self, tasks: Tasks, inbox: Inbox, outbox: Outbox) -> None:
        self._tasks = tasks
        self.inbox = inbox
        self.outbox = outbox
        self._idle: dict[Address, list[UpstreamConnection]] = {}
        self._tls: dict[str, ssl.SSLContext] = {}
        self.is_closed = False

    def send(self, dispatch: Dispatch, user: UpstreamUser, connect_s: float, now: float) -> asyncio.Task[None] | None:
        """Sends a request on an idle connection, or starts to make one: then the task is returned, to be cancelled if
        the user goes away. `user.upstream_ready` or `user.upstream_lost` follows."""
        address = (dispatch.endpoint.host, dispatch.endpoint.port, dispatch.tls_host)
        idle = self._idle.get(address)
        while idle and not dispatch.is_fresh:
            connection = idle.pop()
            transport = connection.transport
            if transport is None or transport.is_closing():
                continue
            if now - connection.idle_since > IDLE_S_MAX:
                transport.abort()
                continue
            connection.was_reused = True
            connection.send(user, dispatch.data)
            user.upstream_ready(connection)
            return None
        return self._tasks.spawn(self._connect(dispatch, user, address, connect_s))

    async def _connect(self, dispatch: Dispatch, user: UpstreamUser, address: Address, connect_s: float) -> None:
        loop = asyncio.get_running_loop()
        host, port, tls_host = address
        try:
            async with asyncio.timeout(connect_s):
                _, connection = await loop.create_connection(
                    lambda: UpstreamConnection(self, address),
                    host,
                    port,
                    ssl=self._tls_context(tls_host.authorities) if tls_host is not None else None,
                    server_hostname=tls_host.name if tls_host is not None else None,
                )
        except TimeoutError:
            user.upstream_lost(f"did not accept a connection within {connect_s:g} s", signal="connect_failed")
        except OSError as error:
            user.upstream_lost(_connect_words(error), signal="connect_failed")
        else:
            if connection.transport is None:
                user.upstream_lost("closed the connection", signal="connect_failed")
                return
            connection.send(user, dispatch.data)
            user.upstream_ready(connection)

    def _tls_context(self, authorities: str) -> ssl.SSLContext:
        """For providers: their certificates are checked against `authorities`; where there are none against the CAs
        that this machine trusts, or that OpenSSL's variables `SSL_CERT_FILE` and `SSL_CERT_DIR` name."""
        context = self._tls.get(authorities)
        if context is None:
            context = ssl.create_default_context(cadata=authorities or None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if not authorities:
                _tell_of_missing_authorities(context)
            if len(self._tls) >= CONTEXTS_MAX:
                self._tls.clear()
            self._tls[authorities] = context
        return context

    def release(self, connection: UpstreamConnection, *, is_kept: bool, now: float) -> None:
        """The user is done: the connection idles, or is cut, which makes the engine stop what it still does."""
        connection.let_go()
        transport = connection.transport
        if transport is None:
            return
        if not is_kept or self.is_closed or transport.is_closing() or not connection.is_clean:
            transport.abort()  # also where the engine answered before it had read the request
            return
        idle = self._idle.setdefault(connection.address, [])
        if len(idle) >= IDLE_MAX:
            transport.abort()
            return
        connection.idle_since = now
        idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """An idle connection has ended."""
        idle = self._idle.get(connection.address)
        if idle is not None and connection in idle:
            idle.remove(connection)

    def sweep(self, now: float) -> None:
        """Closes connections that have idled too long, and forgets addresses that have none."""
        for address, idle in list(self._idle.items()):
            fresh = [c for c in idle if now - c.idle_since <= IDLE_S_MAX]
            for connection in idle:
                if now - connection.idle_since > IDLE_S_MAX and connection.transport is not None:
                    connection.transport.abort()
            if fresh:
                idle[:] = fresh
            else:
                del self._idle[address]

    def close(self) -> None:
        """Closes every idle connection; those in use close when they are released."""
        self.is_closed = True
        for idle in self._idle.values():
            for connection in idle:
                if connection.transport is not None:
                    connection.transport.abort()
        self._idle.clear()


def _tell_of_missing_authorities(tls: ssl.SSLContext) -> None:
    """OpenSSL says nothing of a file that it can't read, and trusts nobody then."""
    if named := os.environ.get("SSL_CERT_FILE"):
        try:
            tls.load_verify_locations(named)
        except OSError as error:
            why = getattr(error, "reason", None) or error.strerror
            _log.warning("SSL_CERT_FILE names %s, which can't be used (%s): no CA of it is trusted", named, why)


def _lost_words(exc: Exception | None) -> str:
    if exc is None:
        return "closed the connection"
    if isinstance(exc, ConnectionResetError | BrokenPipeError):
        return "reset the connection"
    return f"broke the connection ({exc})"


def _connect_words(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "refused the connection"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"can't be trusted ({error.verify_message.rstrip('.')})"
    if isinstance(error, ssl.SSLError):
        why = error.reason or "TLS_FAILED"
        return f"does not speak TLS ({why})" if why in _NO_TLS else f"broke off the TLS handshake ({why})"
    if isinstance(error, socket.gaierror):
        return "has a host name that does not resolve"
    return f"can't be reached ({error.strerror or error})"
