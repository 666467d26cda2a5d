"""The folder that one running fleet keeps its logs and locks in: `.penstock/<fleet>` beside the fleet file.

Guarantees that at most one `up` holds the folder; the lock goes with the process, however that ends.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from penstock.errors import StartError

__all__ = ["StateFolder"]


class StateFolder:
    """A locked state folder. Use as a context manager."""

    def __init__(self, path: Path, fleet: str) -> None:
        self.path = path.absolute()
        self.logs = self.path / "logs"
        self.ready = self.path / "ready"
        self._fleet = fleet
        self._lock: int | None = None

    def __enter__(self) -> Self:
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
            self.ready.mkdir(exist_ok=True)
            (self.path / ".gitignore").write_text("*\n", encoding="ascii")
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StartError(
                f"the state folder {self.path} can't be used: {error.strerror}",
                hint="name one that can be written with --state-dir",
            ) from error
        self._take(self._lock)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
            os.close(lock)
            self._lock = None
            who = f"process {holder}" if holder.isdigit() else "another process"
            raise StartError(
                f"fleet {self._fleet!r} is already up: {who} holds {self.path}",
                hint="stop that one first (Ctrl-C, or kill it), or run a second copy with --state-dir ELSEWHERE",
            ) from error
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode("ascii"), 0)
