"""Where the Redis is that gateways share, and how a connection to it begins."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from penstock.serve.io.limits.link import Link

__all__ = ["CONNECT_S", "RedisAddress"]

CONNECT_S = 1.0
"""Longest that a connection may take until it can be used, TLS and the password included."""
PORT = 6379


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """One Redis. `password` is asked at each connection, so that a rotated one is taken without a restart."""

    url: str
    password: Callable[[], str | None] = field(default=lambda: None, repr=False)

    @property
    def shown(self) -> str:
        """The address as people know it. No URL holds a password."""
        return self.url

    async def connect(self, lost: Callable[[str], None]) -> Link:
        """A connection that is logged in.

        Raises:
            OSError: it can't be reached.
            LinkError: it refused us.
        """
        parts = urlsplit(self.url)
        loop = asyncio.get_running_loop()
        link = Link(lost)
        if parts.scheme == "unix":
            await loop.create_unix_connection(lambda: link, unquote(parts.path))
        else:
            tls = ssl.create_default_context() if parts.scheme == "rediss" else None
            await loop.create_connection(lambda: link, parts.hostname or "", parts.port or PORT, ssl=tls)
        try:
            password = self.password()
            if password is not None:
                user = (unquote(parts.username),) if parts.username else ()
                await link.ask("AUTH", *user, password)
            database = parts.path.strip("/") if parts.scheme != "unix" else ""
            if database and database != "0":
                await link.ask("SELECT", database)
        except BaseException:
            link.end()
            raise
        return link
