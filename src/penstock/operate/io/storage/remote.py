"""What a source must do for a pull, and for a backup: two small ports.

Every implementation translates its library's exceptions: `Interrupted` where another attempt may help, `PenstockError`
with words where not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from penstock.operate.storage import Listing, RemoteFile

__all__ = ["Body", "Remote", "Vault"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """The content of a file, or the rest of it."""

    start: int
    """Where in the file the first chunk belongs: 0 where the server does not continue in the middle."""
    chunks: Iterator[bytes]


class Remote(Protocol):
    """Where a model is pulled from."""

    def listing(self) -> Listing:
        """Everything there, at a revision that will not change."""
        ...

    def open(self, file: RemoteFile, offset: int) -> AbstractContextManager[Body]:
        """The bytes of one of the listed files from `offset` on. From several threads at once."""
        ...


class Vault(Protocol):
    """Where backups are kept: contents by key."""

    @property
    def shown(self) -> str:
        """The place, for people."""
        ...

    def sizes(self) -> Mapping[str, int]:
        """Bytes of everything there, by key."""
        ...

    def read(self, key: str) -> bytes:
        """A small content."""
        ...

    def put(self, key: str, content: Path | bytes) -> None:
        """Stores a content: whole or not at all."""
        ...

    def open(self, key: str, offset: int, etag: str | None = None) -> AbstractContextManager[Body]:
        """The bytes of a content from `offset` on."""
        ...
