"""A lock on one revision, for pulls on several machines that share a volume.

A file created with O_EXCL, which is atomic on NFS too; `flock` is not honoured everywhere. Its owner beats (see
`operate/storage/locks`); a lock whose owner has died is broken. Guarantees that an owner hears when it has lost the
lock. Should two ever work at once all the same, they write the same bytes to the same places, and a file gets its name
only after its hash was compared.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from penstock.operate.storage.locks import BEAT_S, LOCK_BYTES_MAX, STALE_S, Lock, Watch, parse_lock

__all__ = ["RevisionLock", "is_dead", "this_process"]

_LOOK_S = 1.0
"""How often a waiter looks: the volume has no wake-up for another machine."""


def this_process() -> Lock:
    """A fresh lock in this process's name."""
    pid = os.getpid()
    return Lock(
        token=uuid.uuid4().hex,
        host=socket.gethostname(),
        pid=pid,
        place=_place(),
        started=_start_of(pid) or "",
    )


def is_dead(lock: Lock) -> bool:
    """Whether the owner ran in our own process namespace and is gone; False where that cannot be told."""
    if not lock.place or lock.place != _place():
        return False
    return _start_of(lock.pid) != lock.started


def _place() -> str:
    """Boot and process namespace: what makes a process number mean one process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _start_of(pid: int) -> str | None:
    """The start mark of a process; None where there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[19]


class RevisionLock:
    """One lock file. `take`, then work, then `release`; or as a context manager after `take`.

    The fields belong to the thread that takes; the beating thread writes `is_lost` only.
    """

    def __init__(
        self,
        path: Path,
        *,
        on_lost: Callable[[], None] = lambda: None,
        beat_s: float = BEAT_S,
        stale_s: float = STALE_S,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self.is_lost = False
        self._path = path
        self._on_lost = on_lost
        self._beat_s, self._stale_s = beat_s, stale_s
        self._clock, self._pause = clock, pause
        self._lock = this_process()
        self._ended = threading.Event()
        self._beating: threading.Thread | None = None

    def take(
        self,
        *,
        is_needed: Callable[[], bool] = lambda: True,
        on_wait: Callable[[Lock | None], None] = lambda _: None,
    ) -> bool:
        """Waits until the lock is ours; False when `is_needed` says meanwhile that there is nothing left to do."""
        watch: Watch | None = None
        while not self._create():
            text = self._read()
            if text is None:
                continue
            now = self._clock()
            watch = watch.seeing(text, now) if watch is not None else Watch(text=text, since=now)
            other = parse_lock(text)
            if watch.is_stale(now, stale_s=self._stale_s) or (other is not None and is_dead(other)):
                self._break(text)
                watch = None
                continue
            if not is_needed():
                return False
            on_wait(other)
            self._pause(_LOOK_S)
        self._beating = threading.Thread(target=self._beat, name="lock", daemon=True)
        self._beating.start()
        return True

    def release(self) -> None:
        """Gives the lock back, if it is still ours. Safe to call twice."""
        self._ended.set()
        if self._beating is not None:
            self._beating.join()
            self._beating = None
            if self._is_ours():
                self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _create(self) -> bool:
        try:
            handle = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            return False
        try:
            os.write(handle, self._lock.to_json().encode())
            os.fsync(handle)
        finally:
            os.close(handle)
        return True

    def _read(self) -> str | None:
        """The lock file's text; None where there is none."""
        try:
            with self._path.open("rb") as file:
                return file.read(LOCK_BYTES_MAX).decode(errors="replace")
        except FileNotFoundError:
            return None

    def _is_ours(self) -> bool:
        found = parse_lock(self._read() or "")
        return found is not None and found.token == self._lock.token

    def _break(self, text: str) -> None:
        """Removes the lock that says `text`: taken aside first, so that of two who try only one does."""
        aside = self._path.with_name(f"{self._path.name}.{uuid.uuid4().hex}")
        try:
            os.rename(self._path, aside)
        except FileNotFoundError:
            return
        try:
            if aside.read_bytes()[:LOCK_BYTES_MAX].decode(errors="replace") != text:  # a new owner's, taken by mistake
                with suppress(OSError):
                    os.link(aside, self._path)
        finally:
            aside.unlink(missing_ok=True)

    def _beat(self) -> None:
        silent_since: float | None = None
        while not self._ended.wait(self._beat_s):
            try:
                is_ours = self._is_ours()
                if is_ours:
                    self._lock = self._lock.beaten()
                    with self._path.open("r+b", buffering=0) as file:
                        file.write(self._lock.to_json().encode())
                silent_since = None
            except OSError:  # the volume does not answer: others cannot see us beat
                silent_since = self._clock() if silent_since is None else silent_since
                is_ours = self._clock() - silent_since < self._stale_s / 2
            if not is_ours:
                self.is_lost = True
                self._on_lost()
                return
