"""The HTTP protocol of the engine's server: uvicorn's, which also tells a request at once that its client has gone.

Guarantees: watchers of a connection are called when it is lost, before anything else runs. Leaves to others: HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["LINK", "EngineProtocol", "link_of"]

LINK = "penstock.link"
"""Key of the protocol in an ASGI scope."""


class EngineProtocol(HttpToolsProtocol):
    """One connection. Owns its watchers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.watchers: set[Callable[[], None]] = set()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        scope: Any = self.scope
        scope[LINK] = self

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for watcher in list(self.watchers):
            watcher()

    def cut(self) -> None:
        """Closes the connection after what was written, in the middle of an answer where one is under way."""
        transport: asyncio.Transport | None = self.transport
        if transport is not None and not transport.is_closing():
            transport.close()

    def end(self) -> None:
        """Closes the connection now: what its client does not read is lost."""
        transport: asyncio.Transport | None = self.transport
        if transport is not None and transport.get_write_buffer_size() > 0:
            transport.abort()
        else:
            self.cut()


def link_of(scope: Any) -> EngineProtocol:
    """The connection that a request came on."""
    link = scope[LINK]
    assert isinstance(link, EngineProtocol)
    return link
