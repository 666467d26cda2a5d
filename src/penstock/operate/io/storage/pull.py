"""Pulls one model into a store: resolve, choose, lock, check the disk, fetch, verify, publish.

Guarantees: `DIR/<name>/<revision>` with its record exists only whole and verified; a pull that was killed is continued;
of two pulls of one revision one works and the other waits; a revision that is there and valid costs no network; a
damaged one is mended, and only what is damaged is fetched again.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from penstock.errors import PenstockError, UsageError
from penstock.operate.io.storage.files import (
    disk_words,
    file_sha256,
    free_bytes,
    put_text,
    remove_tree,
    set_link,
    sync_folder,
    sync_tree,
    tree_sizes,
)
from penstock.operate.io.storage.lock import RevisionLock
from penstock.operate.io.storage.look import read_head, read_marker, snapshot
from penstock.operate.io.storage.remote import Remote
from penstock.operate.io.storage.transfer import Progress, Stop, fetch_all, insisting
from penstock.operate.storage import (
    MARKER,
    FileRecord,
    Finding,
    Listing,
    Lock,
    ModelRecord,
    ModelSource,
    RemoteFile,
    Scheme,
    Wanted,
    disk_shortage,
    files_wanted,
    has_errors,
    lock_name,
    partial_name,
    plan_fetches,
    shown_bytes,
    verify_record,
)
from penstock.operate.storage.layout import CONTENT, CURRENT, safe_revision

__all__ = ["Pull", "PullOptions", "Pulled", "utc_now"]

_PINNED = re.compile(r"^[0-9a-f]{40}$|^sha256:[0-9a-f]{64}$")
_LOOK_S = 1.0
_WAIT_WORDS_S = 30.0
"""How often a waiting pull says that it still waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PullOptions:
    """How to pull."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    allows_pickle: bool = False
    workers: int = 8
    """Files at once: enough to fill a 25 Gbit/s line from a delivery network, few enough for one core to hash."""
    checks_hashes: bool = False
    """Whether a revision that is there is read in full before it counts as valid."""
    sets_current: bool = False
    """Whether the link `current` beside the revisions is set to this one, once it is whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """What came of it."""

    name: str
    source: str
    revision: str
    requested: str | None
    path: str
    bytes: int
    files: int
    fetched_bytes: int
    """Over the network, in this run."""
    was_present: bool
    """Whether nothing had to be done."""
    seconds: float
    warnings: tuple[str, ...]


def utc_now() -> str:
    """The time as records have it: RFC 3339, UTC."""
    return datetime.now(tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Pull:
    """One pull of one model. `run` once."""

    def __init__(
        self,
        source: ModelSource,
        remote: Callable[[], Remote],
        store: Path,
        *,
        name: str | None = None,
        origin: str | None = None,
        options: PullOptions | None = None,
        progress: Progress | None = None,
        stop: Stop | None = None,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._source, self._make_remote = source, remote
        self._origin = origin or _origin(source)
        self._store = store.expanduser().absolute()
        self._name = name or source.name
        self._options = options or PullOptions()
        self._progress, self._stop, self._free = progress or Progress(), stop or Stop(), free
        self._folder = self._store / self._name
        self._began = time.monotonic()
        self._fetched = 0

    def run(self) -> Pulled:
        """Pulls, and sets `current` where that is asked for.

        Raises:
            UsageError: it cannot work however often it is tried: no such model, no access, no weights.
            PenstockError: it failed, and another run may end it: network, full disk.
        """
        pulled = self._run()
        if self._options.sets_current:
            with disk_words(f"setting {self._folder / CURRENT}"):
                set_link(self._folder / CURRENT, Path(pulled.path).name)
        return pulled

    def _run(self) -> Pulled:
        if (known := self._known_revision()) is not None and (there := self._present(known)) is not None:
            return there
        remote = self._make_remote()
        listing = insisting(remote.listing, str(self._source), stop=self._stop, progress=self._progress)
        options = self._options
        wanted = files_wanted(
            listing, include=options.include, exclude=options.exclude, allows_pickle=options.allows_pickle
        )
        if (there := self._present(listing.revision, listing, wanted)) is not None:
            return there
        with disk_words(f"writing into {self._folder}"):
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = RevisionLock(self._folder / lock_name(listing.revision), on_lost=self._lose)
            with lock:
                waits = self._waits()
                while True:
                    is_ours = lock.take(is_needed=lambda: not self._is_published(listing), on_wait=waits)
                    if (there := self._present(listing.revision, listing, wanted)) is not None:
                        return there
                    if is_ours:
                        return self._pull(remote, listing, wanted)
                    self._stop.pause(_LOOK_S)  # somebody mends it now

    def _known_revision(self) -> str | None:
        """The revision where the command itself pins it: then what is there needs no asking."""
        source = self._source
        if source.digest is not None:
            return source.digest
        if source.revision is not None and (not source.is_hub or _PINNED.match(source.revision)):
            return source.revision if source.scheme is not Scheme.OCI else None
        return None

    def _final(self, revision: str) -> Path:
        return self._folder / safe_revision(revision)

    def _is_published(self, listing: Listing) -> bool:
        self._stop.check()
        return (self._final(listing.revision) / MARKER).exists()

    def _lose(self) -> None:
        words = f"another process took over the lock in {self._folder}: this machine gave no sign of life for too long"
        self._stop.because(PenstockError(words, hint="run the command again; it continues, or finds the model there"))

    def _waits(self) -> Callable[[Lock | None], None]:
        said_at: list[float] = []

        def say(other: Lock | None) -> None:
            self._stop.check()
            if not said_at or time.monotonic() - said_at[-1] >= _WAIT_WORDS_S:
                said_at.append(time.monotonic())
                owner = other.shown if other is not None else "another process"
                self._progress.say(f"{self._name}: {owner} pulls the same revision; waiting for it")

        return say

    def _present(self, revision: str, listing: Listing | None = None, wanted: Wanted | None = None) -> Pulled | None:
        """The revision that is there already, where it is whole; None where something has to be done."""
        final = self._final(revision)
        if not final.exists():
            return None
        try:
            record = read_marker(final)
        except UsageError as error:
            self._progress.say(f"{error.message}; pulling it anew")
            return None
        if record is None:
            hint = "move it away, or pull into another folder: Penstock changes nothing that it did not make"
            raise UsageError(f"{final} exists, and no pull made it: it has no {MARKER}", hint=hint)
        self._check_same(record, listing, wanted)
        found = verify_record(record, snapshot(final, with_hashes=self._options.checks_hashes))
        if has_errors(found):
            self._progress.say(f"{final} is there but damaged: {found[0]}; mending it")
            return None
        return self._pulled(record, final, found, was_present=True)

    def _check_same(self, record: ModelRecord, listing: Listing | None, wanted: Wanted | None) -> None:
        """Refuses one folder name for two contents."""
        source, final = self._origin, self._final(record.revision)
        if record.source != source:
            hint = "pull one of them under another --name"
            raise UsageError(f"{final} holds a model from {record.source}, and {source} has the same name", hint=hint)
        if listing is not None and listing.content != record.content:
            hint = "choose another --revision for the new content, or leave it out: then the content names itself"
            raise UsageError(f"{source} has changed since it was pulled as revision {record.revision!r}", hint=hint)
        absent = [f.path for f in (wanted.files if wanted is not None else ()) if record.file(f.path) is None]
        if absent:
            hint = "pull it under another --name, or remove the revision first: a published one is never changed"
            raise UsageError(f"{final} was published without {absent[0]}, which is wanted now", hint=hint)

    def _pull(self, remote: Remote, listing: Listing, wanted: Wanted) -> Pulled:
        """Fetches, verifies and publishes. The lock is ours."""
        final, partial = self._final(listing.revision), self._folder / partial_name(listing.revision)
        if final.exists():
            self._take_back(final, partial, wanted)
        elif partial.exists() and _content_of(partial) != (listing.content or ""):
            self._progress.say(f"{self._source} has changed since {partial} was begun: beginning again")
            remove_tree(partial)
        partial.mkdir(exist_ok=True)
        put_text(partial / CONTENT, listing.content or "")
        (partial / MARKER).unlink(missing_ok=True)
        present = tree_sizes(partial)
        del present[CONTENT]
        plan = plan_fetches(wanted.files, present)
        for path in plan.stale:
            (partial / path).unlink(missing_ok=True)
        self._check_disk(plan.bytes_left)
        self._progress.start(wanted.size, plan.bytes_done)
        hashes = fetch_all(
            remote, plan.fetches, partial, workers=self._options.workers, stop=self._stop, progress=self._progress
        )
        self._fetched = plan.bytes_left
        (partial / CONTENT).unlink()
        record = self._record(listing, wanted.files, partial, hashes)
        found = verify_record(record, snapshot(partial, revision=safe_revision(listing.revision), with_hashes=False))
        if has_errors(found):
            errors = "\n  ".join(str(f) for f in found if f.severity == "error")
            hint = "the files are what the source has, so it is the source that is wrong; nothing was published"
            raise UsageError(f"{self._source} at {listing.revision} cannot be served:\n  {errors}", hint=hint)
        self._publish(record, partial, final)
        return self._pulled(record, final, found, was_present=False)

    def _take_back(self, final: Path, partial: Path, wanted: Wanted) -> None:
        """Makes a damaged revision a partial one again, without what is damaged."""
        with suppress(FileNotFoundError):
            remove_tree(partial)
        os.rename(final, partial)
        hashes: dict[str, str | None] = {file.path: file.sha256 for file in wanted.files}
        with suppress(UsageError):
            record = read_marker(partial)
            hashes |= {file.path: file.sha256 for file in record.files} if record is not None else {}
        for place, folders, names in os.walk(partial):
            for name in (*names, *folders):
                path = Path(place, name)
                if path.is_symlink():
                    path.unlink()
        for path_name in tree_sizes(partial):
            stated = hashes.get(path_name)
            if stated is None or _hash_of(partial / path_name) != stated:
                (partial / path_name).unlink()

    def _check_disk(self, bytes_left: int) -> None:
        free = self._free(self._folder)
        lacking = disk_shortage(bytes_left, free)
        if lacking:
            words = f"{self._folder} has {shown_bytes(free)} free and {shown_bytes(bytes_left)} are to be fetched"
            hint = f"make room for {shown_bytes(lacking)} more: `penstock models gc`, or a larger volume"
            raise PenstockError(words, hint=hint)

    def _record(
        self, listing: Listing, files: Sequence[RemoteFile], partial: Path, hashes: Mapping[str, str]
    ) -> ModelRecord:
        """What lies in the folder now. A file from an earlier run is read again where the source states no sha256."""
        now = utc_now()
        return ModelRecord(
            name=self._name,
            source=self._origin,
            revision=listing.revision,
            requested=listing.requested,
            content=listing.content,
            files=tuple(_file_record(file, partial / file.path, hashes.get(file.path)) for file in files),
            published_at=now,
            verified_at=now,
        )

    def _publish(self, record: ModelRecord, partial: Path, final: Path) -> None:
        self._stop.check()
        put_text(partial / MARKER, record.to_json())
        sync_tree(partial)
        self._stop.check()
        try:
            os.rename(partial, final)
        except OSError:
            if not (final / MARKER).exists():  # else somebody who took over our lock was faster
                raise
            shutil.rmtree(partial)
        sync_folder(self._folder)

    def _pulled(self, record: ModelRecord, final: Path, found: Sequence[Finding], *, was_present: bool) -> Pulled:
        return Pulled(
            name=record.name,
            source=record.source,
            revision=record.revision,
            requested=record.requested,
            path=str(final),
            bytes=record.size,
            files=len(record.files),
            fetched_bytes=self._fetched,
            was_present=was_present,
            seconds=round(time.monotonic() - self._began, 3),
            warnings=tuple(str(finding) for finding in found),
        )


def _origin(source: ModelSource) -> str:
    """The source as records have it: without the revision, which they have apart."""
    if source.scheme is Scheme.PATH:
        return f"file://{Path(source.location).expanduser().absolute()}"
    return source.origin


def _content_of(partial: Path) -> str:
    """What the partial folder is filled from; "" where the revision's name says it all."""
    try:
        return (partial / CONTENT).read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return ""


def _hash_of(path: Path) -> str | None:
    try:
        return file_sha256(path)
    except OSError:
        return None


def _file_record(file: RemoteFile, path: Path, sha256: str | None) -> FileRecord:
    head = hashlib.sha256(read_head(path)).hexdigest() if file.path.endswith(".safetensors") else None
    return FileRecord(
        path=file.path, size=file.size, sha256=sha256 or file.sha256 or file_sha256(path), header_sha256=head
    )
