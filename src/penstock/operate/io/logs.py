"""What an engine says: kept whole in a file of bounded size, and its last lines in memory for messages.

Guarantees: at most two files of `LOG_BYTES_MAX` for each replica, and a bounded number of bounded lines in memory.
A disk that is full or gone costs the file, never the engine or the gateway.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from penstock.operate.last_words import LINES_KEPT, last_words

__all__ = ["LOG_BYTES_MAX", "ReplicaLog", "log_path"]

LOG_BYTES_MAX = 16 * 1024 * 1024
"""Bytes of one log file before it is rotated: hours of vLLM at its default verbosity."""
_LINE_CHARS_MAX = 500
"""Characters kept of a line in memory; a progress bar can be one endless line."""


def log_path(folder: Path, replica_id: str) -> Path:
    """Where a replica's log lies. Names of models may hold slashes; they are escaped."""
    return folder / f"{quote(replica_id, safe='')}.log"


class ReplicaLog:
    """The output of one replica. Owned by the task that runs its process; closed by it."""

    def __init__(self, path: Path, *, bytes_max: int = LOG_BYTES_MAX) -> None:
        self.path = path
        self._bytes_max = bytes_max
        self._lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._partial = b""
        self._file: BinaryIO | None = None
        self._size = 0
        self._open()

    def write(self, chunk: bytes) -> None:
        """Takes what was read from the process."""
        if self._file is not None:
            try:
                if self._size + len(chunk) > self._bytes_max:
                    self._rotate()
                if self._file is not None:
                    self._file.write(chunk)
                    self._size += len(chunk)
            except OSError:
                self._drop_file()
        *whole, self._partial = (self._partial + chunk).split(b"\n")
        self._lines.extend(_text(line) for line in whole)
        self._partial = self._partial[-4 * _LINE_CHARS_MAX :]

    def last_words(self) -> Sequence[str]:
        """The lines that tell best why the process ended."""
        lines = [*self._lines, _text(self._partial)] if self._partial else list(self._lines)
        return last_words(lines)

    def close(self) -> None:
        """Closes the file; what is in memory stays."""
        self._drop_file()

    def _open(self) -> None:
        try:
            self._file = self.path.open("ab", buffering=0)
            self._size = self._file.tell()
        except OSError:
            self._file = None

    def _rotate(self) -> None:
        self._drop_file()
        self.path.replace(self.path.with_name(f"{self.path.name}.1"))
        self._open()

    def _drop_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _text(line: bytes) -> str:
    """A line without what a terminal would obey: the last state of a progress bar, no escape codes."""
    text = line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace")
    return "".join(c for c in text if c.isprintable() or c == "\t")[:_LINE_CHARS_MAX]
