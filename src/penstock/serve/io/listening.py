"""The client port: who may have it, how it passes from one gateway to the next, and how it closes and loses nobody.

Three uses of a port. `alone` is one process's. One that `lends` its port takes it only while nobody else has it, and
then lets another gateway of the same user listen beside it. One that `takes_over` starts beside whoever lends, and all
connections that begin from then on are its own (Linux: `SO_REUSEPORT` with a program that picks the newer socket).

`close` guarantees, on Linux, that no client whose connection was made is reset: it first lets no new handshake begin (a
socket filter drops SYN; such a client sends it again after a second, and reaches whoever listens then), accepts those
under way, and only then closes. Elsewhere it closes at once.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import socket
import ssl
import struct
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Literal

__all__ = ["HANDSHAKE_GRACE_S", "Listener", "PortUse"]

PortUse = Literal["alone", "lends", "takes_over"]

HANDSHAKE_GRACE_S = 0.2
"""Seconds that handshakes under way get: a round trip between continents, and less than the second after which a client
sends its dropped SYN again."""
QUEUE_WAIT_S = 1.0
"""Seconds after that for connections that are made and not accepted yet."""
BACKLOG = 4096

_SO_ATTACH_FILTER, _SO_ATTACH_REUSEPORT_CBPF = 26, 51  # Linux, include/uapi/asm-generic/socket.h
_LOAD_BYTE, _JUMP_IF_BITS, _RETURN = 0x30, 0x45, 0x06  # Linux, include/uapi/linux/bpf_common.h
_TCP_FLAGS_AT, _SYN = 13, 0x02  # RFC 9293, 3.1: a socket filter of TCP sees the segment from its header on
_DROP_SYN = (
    (_LOAD_BYTE, 0, 0, _TCP_FLAGS_AT),
    (_JUMP_IF_BITS, 0, 1, _SYN),
    (_RETURN, 0, 0, 0),
    (_RETURN, 0, 0, 2**32 - 1),
)
_PICK_SECOND = ((_RETURN, 0, 0, 1),)
"""Of the sockets of a port the second, which is who came beside the first. With one left that names nobody, and the
kernel goes by its hash, which is that one."""
_UNACCEPTED_AT = 24
"""Where Linux's `tcp_info` of a listening socket holds how many connections wait to be accepted (`tcpi_unacked`)."""
_IS_LINUX = sys.platform.startswith("linux")


class Listener:
    """The listening sockets of one address. Belongs to one event loop; `open`, then `close`, which may be repeated."""

    def __init__(self, sockets: Sequence[socket.socket], servers: Sequence[asyncio.Server]) -> None:
        self._sockets, self._servers = list(sockets), list(servers)
        self.host, self.port = self._sockets[0].getsockname()[:2]

    @classmethod
    async def open(
        cls,
        protocol: Callable[[], asyncio.Protocol],
        host: str,
        port: int,
        *,
        use: PortUse = "alone",
        tls: ssl.SSLContext | None = None,
        handshake_s: float | None = None,
    ) -> Listener:
        """Listens; connections get protocols at once.

        Raises:
            OSError: the address is not this machine's, somebody has it, or the one who has it does not lend it.
        """
        loop = asyncio.get_running_loop()
        sockets = await _bound(host, port, use)
        servers: list[asyncio.Server] = []
        try:
            for sock in sockets:
                handshake = handshake_s if tls is not None else None
                made = loop.create_server(
                    protocol, sock=sock, ssl=tls, ssl_handshake_timeout=handshake, backlog=BACKLOG
                )
                servers.append(await made)
        except BaseException:
            for server in servers:
                server.close()
            for sock in sockets:
                sock.close()
            raise
        return cls(sockets, servers)

    async def close(self, grace_s: float = HANDSHAKE_GRACE_S) -> None:
        """Stops taking connections; those that are made or under way are still taken, for `grace_s` seconds."""
        if grace_s > 0 and self._servers and self._lets_none_begin():
            await asyncio.sleep(grace_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(QUEUE_WAIT_S):
                    while any(map(_unaccepted, self._sockets)):  # noqa: ASYNC110 — a turn of the loop accepts them
                        await asyncio.sleep(0)
        servers, self._servers, self._sockets = self._servers, [], []
        for server in servers:
            server.close()

    def _lets_none_begin(self) -> bool:
        return all(_attach(sock, _SO_ATTACH_FILTER, _DROP_SYN) for sock in self._sockets)


async def _bound(host: str, port: int, use: PortUse) -> list[socket.socket]:
    """Sockets that listen on every address that `host` means."""
    if use == "takes_over" and not _IS_LINUX:
        raise OSError(errno.EOPNOTSUPP, "a port passes from one process to another on Linux only")
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            _listen(sock, address, use)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _listen(sock: socket.socket, address: tuple[object, ...], use: PortUse) -> None:
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # not refused for connections that ended a moment ago
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if use == "takes_over":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(address)
    sock.listen(BACKLOG)
    if use == "lends" and _IS_LINUX:  # after it has the port alone: so that a second one by mistake is still refused
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    elif use == "takes_over":
        _attach(sock, _SO_ATTACH_REUSEPORT_CBPF, _PICK_SECOND)


def _attach(sock: socket.socket, option: int, program: Sequence[tuple[int, int, int, int]]) -> bool:
    """Attaches a program of classic BPF to a socket; False where that can't be done."""
    if not _IS_LINUX:
        return False
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *instruction) for instruction in program))
    try:
        sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("@HP", len(program), ctypes.addressof(code)))
    except OSError:
        return False
    return True


def _unaccepted(sock: socket.socket) -> int:
    """Connections that are made and wait to be accepted."""
    told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _UNACCEPTED_AT + 4)
    count: int = struct.unpack_from("=I", told, _UNACCEPTED_AT)[0]
    return count
