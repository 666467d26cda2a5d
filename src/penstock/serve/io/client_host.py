"""What a client connection needs of the gateway that it belongs to: the port between the two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from penstock.serve.core import Core
from penstock.serve.io.inbox import Inbox
from penstock.serve.io.outbox import Outbox
from penstock.serve.io.shadow import Shadows
from penstock.serve.io.upstream import Upstreams
from penstock.serve.record import RequestRecord
from penstock.serve.telemetry import Telemetry

if TYPE_CHECKING:  # which needs this port
    from penstock.serve.io.client import ClientConnection

__all__ = ["ClientHost"]


class ClientHost(Protocol):
    """A gateway, as its clients see it."""

    core: Core
    inbox: Inbox
    outbox: Outbox
    telemetry: Telemetry
    upstreams: Upstreams
    shadows: Shadows

    def client_connected(self, client: ClientConnection) -> bool:
        """A client connected; False when there is no room for it."""

    def client_disconnected(self, client: ClientConnection) -> None:
        """A client connection has ended."""

    def exchange_begun(self, record: RequestRecord, now: float) -> None:
        """A request was admitted: it waits, or goes to an endpoint."""

    def exchange_moved(self, record: RequestRecord) -> None:
        """Another model is to answer than the one that it was counted under."""

    def exchange_over(self, record: RequestRecord, *, has_begun: bool) -> None:
        """A request is over: it is counted and logged."""
