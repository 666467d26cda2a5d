"""Backs a published revision up, and brings it back.

Guarantees: success is said only after every content that was copied has been read back and hashed; a restore is a pull
from the backup, with all its checks; a drill leaves nothing behind.
"""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from penstock.errors import PenstockError, UsageError
from penstock.operate.io.storage.files import disk_words, file_sha256
from penstock.operate.io.storage.look import snapshot
from penstock.operate.io.storage.pull import Pull, Pulled, PullOptions
from penstock.operate.io.storage.remote import Body, Vault
from penstock.operate.io.storage.store import Stored
from penstock.operate.io.storage.transfer import Progress, Stop, insisting
from penstock.operate.storage import (
    FileRecord,
    Listing,
    ModelRecord,
    ModelSource,
    RemoteFile,
    Scheme,
    has_errors,
    parse_record,
    plan_backup,
    verify_record,
)
from penstock.operate.storage.layout import DRILL
from penstock.operate.storage.vault import blob_key, choose_backup, listing_of, record_key, recorded

__all__ = ["BackedUp", "backup", "restore"]

_WORKERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class BackedUp:
    """What a backup did."""

    name: str
    revision: str
    destination: str
    bytes: int
    """Of the revision."""
    copied_bytes: int
    copied_files: int
    present_files: int
    """Contents that the backup had already."""


def backup(stored: Stored, vault: Vault, *, checks_all: bool, progress: Progress, stop: Stop) -> BackedUp:
    """Copies what the backup lacks, reads it back, then writes the record. `checks_all`: reads all of it back.

    Raises:
        PenstockError: the model is damaged, a copy is not what was copied, or the destination fails.
    """
    record = stored.record
    found = verify_record(record, snapshot(stored.folder, with_hashes=False))
    if has_errors(found):
        hint = "mend it first: `penstock models pull` fetches again what is damaged"
        raise PenstockError(f"{stored.folder} is damaged, and a backup of it would be too: {found[0]}", hint=hint)
    plan = plan_backup(record, insisting(vault.sizes, vault.shown, stop=stop, progress=progress))
    to_read = (*plan.copies, *(plan.present if checks_all else ()))
    progress.start(plan.bytes_to_copy + sum(file.size for file in to_read), 0)
    with ThreadPoolExecutor(max_workers=_WORKERS, thread_name_prefix="backup") as pool:
        jobs = [pool.submit(_copy, stored.folder, file, vault, stop, progress) for file in plan.copies]
        jobs += [pool.submit(_check, stored.folder, f, vault, stop, progress) for f in to_read[len(plan.copies) :]]
        try:
            for job in jobs:
                job.result()
        except PenstockError as error:
            stop.because(error)
            raise
    text = record.to_json().encode()
    key = record_key(record.name, record.revision)
    insisting(lambda: vault.put(key, text), key, stop=stop, progress=progress)
    if insisting(lambda: vault.read(key), key, stop=stop, progress=progress) != text:
        raise PenstockError(f"{vault.shown}/{key} is not what was written", hint="look at the destination's storage")
    return BackedUp(
        name=record.name,
        revision=record.revision,
        destination=vault.shown,
        bytes=record.size,
        copied_bytes=plan.bytes_to_copy,
        copied_files=len(plan.copies),
        present_files=len(plan.present),
    )


def _copy(folder: Path, file: FileRecord, vault: Vault, stop: Stop, progress: Progress) -> None:
    """Copies one content and reads it back. The original is hashed first: what is damaged is not worth keeping."""
    stop.check()
    original = folder / file.path
    with disk_words(f"reading {original}"):
        if file_sha256(original) != file.sha256:
            hint = "mend it first: remove the revision and pull it again"
            raise PenstockError(f"{original} is not what was published: its hash differs", hint=hint)
        stop.check()
        insisting(lambda: vault.put(blob_key(file.sha256), original), file.path, stop=stop, progress=progress)
    progress.count(file.size)
    _read_back(file, vault, stop, progress)


def _check(folder: Path, file: FileRecord, vault: Vault, stop: Stop, progress: Progress) -> None:
    """Reads a content that was there already; one that has gone bad is copied again."""
    try:
        _read_back(file, vault, stop, progress)
    except _Differs as error:
        progress.say(f"{error.message}; copying it again")
        progress.count(-2 * file.size)
        _copy(folder, file, vault, stop, progress)
        progress.count(file.size)


class _Differs(PenstockError):
    """A content in the backup is not what its name says."""


def _read_back(file: FileRecord, vault: Vault, stop: Stop, progress: Progress) -> None:
    key = blob_key(file.sha256)
    counted = 0

    def read() -> str:
        nonlocal counted
        progress.count(-counted)
        counted = 0
        digest = hashlib.sha256()
        with vault.open(key, 0) as body:
            for chunk in body.chunks:
                stop.check()
                digest.update(chunk)
                counted += len(chunk)
                progress.count(len(chunk))
        return digest.hexdigest()

    found = insisting(read, f"reading back {file.path}", stop=stop, progress=progress)
    if found != file.sha256:
        message = f"{file.path} in the backup is not the file that was published: {vault.shown}/{key} has {found[:12]}…"
        raise _Differs(message, hint="the destination does not keep what it is given: look at its disks")


@dataclass(frozen=True, slots=True, kw_only=True)
class _VaultRemote:
    """One revision of a backup as something to pull from."""

    vault: Vault
    record: ModelRecord

    def listing(self) -> Listing:
        return listing_of(self.record)

    def open(self, file: RemoteFile, offset: int) -> AbstractContextManager[Body]:
        return self.vault.open(file.key, offset)


def restore(
    vault: Vault,
    name: str,
    revision: str | None,
    store: Path,
    *,
    is_drill: bool,
    progress: Progress,
    stop: Stop,
) -> Pulled:
    """Brings a revision back into `store`; a drill brings it into a folder of its own there, and removes that.

    Raises:
        UsageError: the backup has no such model or revision.
        PenstockError: a content is absent or damaged, the disk is full, the backup fails.
    """
    found = recorded(insisting(vault.sizes, vault.shown, stop=stop, progress=progress).keys())
    model, folder = choose_backup(found, name, revision, vault.shown)
    key = record_key(model, folder)
    raw = insisting(lambda: vault.read(key), key, stop=stop, progress=progress)
    record = parse_record(raw, f"{vault.shown}/{key}")
    if record.name != model:
        raise UsageError(
            f"{vault.shown}/{key} is the record of {record.name}", hint="the backup was tampered with, or moved"
        )
    with _drill_folder(store) if is_drill else _itself(store) as place:
        source = ModelSource(scheme=Scheme.PATH, location=vault.shown, revision=record.revision)
        options = PullOptions(include=("*",), allows_pickle=True, checks_hashes=True)
        pulled = Pull(
            source,
            lambda: _VaultRemote(vault=vault, record=record),
            place,
            name=record.name,
            origin=record.source,
            options=options,
            progress=progress,
            stop=stop,
        ).run()
        if is_drill:
            _check_drill(record, Path(pulled.path))
    return pulled


def _check_drill(record: ModelRecord, folder: Path) -> None:
    """What came back, read from the disk in full."""
    findings = verify_record(record, snapshot(folder, with_hashes=True))
    if has_errors(findings):
        raise PenstockError(f"the drill failed: {findings[0]}", hint="make the backup again")


@contextmanager
def _itself(store: Path) -> Iterator[Path]:
    yield store


@contextmanager
def _drill_folder(store: Path) -> Iterator[Path]:
    place = store / f"{DRILL}{uuid.uuid4().hex}"
    with disk_words(f"writing into {store}"):
        place.mkdir(parents=True)
    try:
        yield place
    finally:
        with suppress(OSError):
            shutil.rmtree(place)
