"""Fetches the files of a plan into a partial folder: several at once, each continued where it was cut.

Guarantees: a file gets its final name only when it is whole, its hash is the one that the source states, and it is on
the disk; a failure stops the others soon; what was fetched stays for the next run.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeVar

from penstock.errors import PenstockError, UsageError
from penstock.operate.io.storage.files import disk_words, sync_folder
from penstock.operate.io.storage.remote import Remote
from penstock.operate.storage import Interrupted, RemoteFile
from penstock.operate.storage.layout import PART_SUFFIX
from penstock.operate.storage.pulling import Fetch, retry_after_s

__all__ = ["Progress", "Stop", "fetch_all", "insisting"]

_CHUNK = 4 * 1024 * 1024
T = TypeVar("T")


class Stop:
    """Ends the work of all threads; the first reason stays."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.reason: PenstockError | None = None

    def because(self, reason: PenstockError) -> None:
        """Asks everybody to end."""
        if not self._event.is_set():
            self.reason = reason
            self._event.set()

    def check(self) -> None:
        """Raises the reason, once somebody gave one."""
        if self._event.is_set():
            assert self.reason is not None
            raise self.reason

    def pause(self, seconds: float) -> None:
        """Waits, but not past the end."""
        self._event.wait(seconds)
        self.check()


@dataclass(slots=True, kw_only=True)
class Progress:
    """What a pull tells while it runs. Owned by the pull; its callbacks come from several threads, one at a time."""

    on_start: Callable[[int, int], None] = lambda _total, _present: None
    """Bytes of all that is wanted, and those that are here already."""
    on_bytes: Callable[[int], None] = lambda _count: None
    """Bytes more; negative where a server made us begin again."""
    on_words: Callable[[str], None] = lambda _words: None
    """Something that a person may want to know."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, total: int, present: int) -> None:
        """The transfer begins."""
        with self._lock:
            self.on_start(total, present)

    def count(self, count: int) -> None:
        """So many bytes more."""
        with self._lock:
            self.on_bytes(count)

    def say(self, words: str) -> None:
        """Something worth telling."""
        with self._lock:
            self.on_words(words)


def insisting(action: Callable[[], T], what: str, *, stop: Stop, progress: Progress) -> T:
    """Runs an action that can be cut short, again and again with growing pauses; the result of the first that is not.

    Raises:
        PenstockError: it failed too often in a row.
    """
    failures = 0
    while True:
        try:
            return action()
        except Interrupted as cut:
            failures += 1
            _wait(what, cut, failures, stop, progress)


def _wait(what: str, cut: Interrupted, failures: int, stop: Stop, progress: Progress) -> None:
    wait_s = retry_after_s(failures, cut.after_s)
    if wait_s is None:
        asked = f", and asks to wait {cut.after_s:.0f} s" if cut.after_s else f" ({failures} times in a row)"
        hint = "what was fetched stays: run the same command again later"
        raise PenstockError(f"{what}: {cut.reason}{asked}", hint=hint) from cut
    progress.say(f"{what}: {cut.reason}; trying again in {wait_s:.0f} s")
    stop.pause(wait_s)


def fetch_all(
    remote: Remote, fetches: Sequence[Fetch], folder: Path, *, workers: int, stop: Stop, progress: Progress
) -> Mapping[str, str]:
    """Fetches every file of the plan into `folder`; their sha256 by path.

    Raises:
        PenstockError: one could not be fetched; `stop` was asked for.
    """
    hashes: dict[str, str] = {}
    with ThreadPoolExecutor(max_workers=max(1, workers), thread_name_prefix="fetch") as pool:
        jobs = {pool.submit(_File(remote, fetch, folder, stop, progress).fetch): fetch.file for fetch in fetches}
        for job in as_completed(jobs):
            try:
                hashes[jobs[job].path] = job.result()
            except PenstockError as error:
                stop.because(error)  # the others end at their next chunk
            except BaseException:
                stop.because(PenstockError(f"fetching {jobs[job].path} failed"))
                raise
    stop.check()
    return hashes


class _File:
    """One file on its way. Belongs to one thread."""

    def __init__(self, remote: Remote, fetch: Fetch, folder: Path, stop: Stop, progress: Progress) -> None:
        self._remote, self._file, self._stop, self._progress = remote, fetch.file, stop, progress
        self._final = folder / fetch.file.path
        self._part = folder / (fetch.file.path + PART_SUFFIX)
        self._offset = 0
        self._digests = _Digests(fetch.file)

    def fetch(self) -> str:
        """Fetches the file; its sha256."""
        with disk_words(f"writing {self._final}"):
            self._stop.check()
            self._part.parent.mkdir(parents=True, exist_ok=True)
            for is_last in (False, True):
                with self._part.open("r+b" if self._part.exists() else "w+b", buffering=0) as part:
                    self._continue(part)
                    os.fsync(part.fileno())
                trouble = self._digests.trouble()
                if trouble is None:
                    break
                self._part.unlink()
                if is_last:
                    hint = "the source or what lies between is broken: try again, or another source"
                    raise PenstockError(f"{self._file.path} arrived wrong twice: {trouble}", hint=hint)
                self._progress.say(f"{self._file.path} arrived wrong: {trouble}; fetching it again")
                self._progress.count(-self._offset)
            os.replace(self._part, self._final)
            sync_folder(self._final.parent)
        return self._digests.sha256

    def _continue(self, part: BinaryIO) -> None:
        """Hashes what the part has, and fetches the rest."""
        self._begin_again(part, is_empty=False)
        while len(chunk := part.read(min(_CHUNK, self._file.size - self._offset))) > 0:
            self._digests.update(chunk)
            self._offset += len(chunk)
            self._stop.check()
        part.truncate(self._offset)
        failures = 0
        while self._offset < self._file.size:
            before = self._offset
            try:
                self._read_body(part)
                if self._offset < self._file.size:
                    raise Interrupted("the answer ended early")
            except Interrupted as cut:
                failures = 1 if self._offset > before else failures + 1
                _wait(self._file.path, cut, failures, self._stop, self._progress)

    def _read_body(self, part: BinaryIO) -> None:
        with self._remote.open(self._file, self._offset) as body:
            if body.start != self._offset:
                if body.start != 0:
                    raise Interrupted(f"the server continues at {body.start}, not at {self._offset}")
                self._progress.count(-self._offset)
                self._begin_again(part, is_empty=True)
            for chunk in body.chunks:
                self._stop.check()
                if self._offset + len(chunk) > self._file.size:
                    words = f"{self._file.path} is longer than the {self._file.size} bytes that the source lists"
                    raise UsageError(words, hint="it was changed meanwhile, or the source is wrong; pull again")
                written = 0
                while written < len(chunk):
                    written += part.write(memoryview(chunk)[written:])
                self._digests.update(chunk)
                self._offset += len(chunk)
                self._progress.count(len(chunk))

    def _begin_again(self, part: BinaryIO, *, is_empty: bool) -> None:
        part.seek(0)
        if is_empty:
            part.truncate(0)
        self._offset = 0
        self._digests = _Digests(self._file)


class _Digests:
    """The hashes of a content as it passes."""

    def __init__(self, file: RemoteFile) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self._git = None
        if file.git_oid is not None:
            kind = hashlib.sha256 if len(file.git_oid) == 64 else _git_sha1
            self._git = kind(f"blob {file.size}\0".encode())

    def update(self, chunk: bytes) -> None:
        self._sha256.update(chunk)
        if self._git is not None:
            self._git.update(chunk)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def trouble(self) -> str | None:
        """How the content differs from what the source states; None where it does not."""
        stated = self._file.sha256
        if stated is not None and stated != self.sha256:
            return f"its sha256 is {self.sha256[:12]}…, the source states {stated[:12]}…"
        if self._git is not None and self._git.hexdigest() != self._file.git_oid:
            return "its git hash is not the one that the source states"
        return None


def _git_sha1(start: bytes) -> hashlib._Hash:
    """Git's hash: it names a content, and guards nothing here."""
    return hashlib.sha1(start, usedforsecurity=False)
