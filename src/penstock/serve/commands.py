"""What an exchange tells the edge to do, besides sending bytes to the client."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.serve.admission.fallbacks import TlsHost
from penstock.serve.routing import Endpoint, Need

__all__ = ["Copy", "Decided", "Dispatch", "Reply", "TlsHost"]


@dataclass(slots=True)
class Reply:
    """Send this whole answer to the client; the exchange is over."""

    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A request as another model gets it too, whose answer nobody gets."""

    model: str
    path: str
    body: bytes
    need: Need


@dataclass(slots=True)
class Dispatch:
    """Send this request to that endpoint, on a connection of its own if `is_fresh`; cut the one before, if any."""

    endpoint: Endpoint
    data: tuple[bytes, bytes]
    """Head and body."""
    is_fresh: bool = False
    first: bytes = b""
    """For the client, before anything else."""
    tls_host: TlsHost | None = None
    """Who the endpoint must prove to be; None for plain HTTP."""
    copy: Copy | None = None
    """What goes to another model beside it."""


@dataclass(slots=True)
class Decided:
    """Of the two connections that one request has, one goes on: cut the other. Then do `out`."""

    is_second: bool
    """Whether it is the later one."""
    out: bytes | Reply | Dispatch | None = None
