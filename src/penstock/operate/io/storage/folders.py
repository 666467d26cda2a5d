"""Models and backups in a folder of this machine or a mounted volume."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from penstock.errors import PenstockError, UsageError
from penstock.operate.io.storage.files import disk_words, sync_folder, tree_sizes
from penstock.operate.io.storage.remote import Body
from penstock.operate.storage import MARKER, Listing, ModelSource, RemoteFile, parse_record
from penstock.operate.storage.record import RECORD_BYTES_MAX

__all__ = ["FolderRemote", "FolderVault"]

_CHUNK = 1024 * 1024
_WHOLE_MAX = 16 * 1024 * 1024
"""A file up to this is hashed whole to name the content, a larger one by both its ends: a shard's header is in them."""
_END = 1024 * 1024


class FolderRemote:
    """A model's folder. Links to files are followed: a hub cache is made of them."""

    def __init__(self, source: ModelSource) -> None:
        self._source = source
        self._root = Path(source.location).expanduser().absolute()

    def listing(self) -> Listing:
        """Every file; the revision is the record's, what the caller calls it, or a digest of the content."""
        if not self._root.is_dir():
            what = "is a file" if self._root.exists() else "does not exist"
            raise UsageError(
                f"{self._root} {what}: a model is pulled from its folder", hint="name the folder with config.json"
            )
        with disk_words(f"reading {self._root}"):
            if (self._root / MARKER).is_file():
                return self._published()
            files = tuple(self._files())
            content = hashlib.sha256(repr([(f.path, f.size, f.etag) for f in files]).encode()).hexdigest()[:40]
        if not files:
            raise UsageError(f"{self._root} is empty", hint="name the folder with config.json and the weights")
        return Listing(revision=self._source.revision or content, requested=None, files=files, content=content)

    @contextmanager
    def open(self, file: RemoteFile, offset: int) -> Iterator[Body]:
        """The bytes of a file from `offset` on."""
        with disk_words(f"copying {file.path} of {self._root}"), (self._root / file.path).open("rb") as opened:
            opened.seek(offset)
            yield Body(start=offset, chunks=iter(lambda: opened.read(_CHUNK), b""))

    def _published(self) -> Listing:
        record = parse_record((self._root / MARKER).read_bytes()[:RECORD_BYTES_MAX], str(self._root / MARKER))
        asked = self._source.revision
        if asked is not None and asked not in (record.revision, record.requested):
            raise UsageError(f"{self._root} holds revision {record.revision} of {record.name}, not {asked}")
        files = tuple(RemoteFile(path=f.path, size=f.size, sha256=f.sha256) for f in record.files)
        return Listing(revision=record.revision, requested=record.requested, files=files, content=record.content)

    def _files(self) -> Iterator[RemoteFile]:
        for place, folders, names in os.walk(self._root, followlinks=False):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                path = Path(place, name)
                if path.is_file():  # a link to a file counts as one
                    size = path.stat().st_size
                    yield RemoteFile(path=path.relative_to(self._root).as_posix(), size=size, etag=_mark(path, size))


def _mark(path: Path, size: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        if size <= _WHOLE_MAX:
            digest.update(file.read(_WHOLE_MAX + 1))
        else:
            digest.update(file.read(_END))
            file.seek(-_END, os.SEEK_END)
            digest.update(file.read(_END))
    return digest.hexdigest()


class FolderVault:
    """Backups in a folder, as on a second volume."""

    def __init__(self, root: Path) -> None:
        self._root = root.expanduser().absolute()
        self.shown = str(self._root)

    def sizes(self) -> Mapping[str, int]:
        """Bytes of everything there, by key."""
        if not self._root.exists():
            return {}
        with disk_words(f"reading {self._root}"):
            return tree_sizes(self._root)

    def read(self, key: str) -> bytes:
        """A small content."""
        with disk_words(f"reading {self._root / key}"), (self._root / key).open("rb") as file:
            return file.read(RECORD_BYTES_MAX)

    def put(self, key: str, content: Path | bytes) -> None:
        """Stores a content: whole or not at all, durable when this returns."""
        place = self._root / key
        with disk_words(f"writing the backup into {self._root}"):
            place.parent.mkdir(parents=True, exist_ok=True)
            aside = place.with_name(f".{uuid.uuid4().hex}.tmp")
            try:
                with aside.open("xb") as file:
                    if isinstance(content, bytes):
                        file.write(content)
                    else:
                        with content.open("rb") as original:
                            shutil.copyfileobj(original, file, _CHUNK)
                    file.flush()
                    os.fsync(file.fileno())
                    with suppress(OSError):  # some network file systems know no such advice
                        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # read back from the disk
                os.replace(aside, place)
            finally:
                aside.unlink(missing_ok=True)
            sync_folder(place.parent)

    @contextmanager
    def open(self, key: str, offset: int, etag: str | None = None) -> Iterator[Body]:
        """The bytes of a content from `offset` on."""
        try:
            file = (self._root / key).open("rb")
        except OSError as error:
            hint = "the backup is not whole: make it again with `penstock models backup`"
            raise PenstockError(f"{self._root / key} cannot be read: {error.strerror}", hint=hint) from error
        with disk_words(f"reading {self._root / key}"), file:
            file.seek(offset)
            yield Body(start=offset, chunks=iter(lambda: file.read(_CHUNK), b""))
