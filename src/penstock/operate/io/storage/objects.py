"""Models and backups in S3, Google Cloud Storage and Azure Blob Storage.

Keys come from the environment or the pod's identity, never from a URL. Guarantees that an object that changes while it
is read is noticed, and that no signature of a URL gets into a message.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore import exceptions
from obstore.store import ObjectStore, from_url

from penstock.errors import PenstockError, UsageError
from penstock.operate.io.storage.remote import Body
from penstock.operate.storage import MARKER, Interrupted, Listing, ModelSource, RemoteFile, parse_record
from penstock.operate.storage.listing import FILES_MAX
from penstock.operate.storage.record import RECORD_BYTES_MAX
from penstock.operate.storage.refusals import is_passing

if TYPE_CHECKING:  # the library has this name for type checkers only
    from obstore.store import RetryConfig

__all__ = ["ObjectRemote", "ObjectVault"]

_CHUNK = 1024 * 1024
_SIMPLE_PUT_MAX = 8 * 1024 * 1024
_PART = 16 * 1024 * 1024
"""Of an upload in parts: S3 takes 10,000 of them, so files up to 160 GB."""
_RETRY: RetryConfig = {"max_retries": 3, "retry_timeout": timedelta(minutes=1)}
"""The library's own, for one request; ours, for a file, come on top."""
_OBJECTS_MAX = 1_000_000
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT", "GOOGLE_BASE_URL")


class ObjectVault:
    """A prefix of a bucket."""

    def __init__(self, source: ModelSource) -> None:
        self.shown = source.url
        is_plain = any(os.environ.get(name, "").startswith("http://") for name in _ENDPOINTS)
        try:
            self._store: ObjectStore = from_url(
                source.url,
                client_options={
                    "allow_http": is_plain,  # only where the person's own endpoint says http://
                    "connect_timeout": timedelta(seconds=10),
                    "read_timeout": timedelta(seconds=60),
                    "timeout": timedelta(hours=12),  # of a whole answer: a large shard over a slow line
                },
                retry_config=_RETRY,
            )
        except (exceptions.BaseError, ValueError) as error:
            raise UsageError(f"{self.shown} cannot be opened: {_scrubbed(error)}") from error

    def sizes(self) -> Mapping[str, int]:
        """Bytes of everything below the prefix, by key."""
        return {path: size for path, size, _ in self.listed()}

    def listed(self) -> list[tuple[str, int, str | None]]:
        """Key, bytes and mark of everything below the prefix, sorted."""
        found: list[tuple[str, int, str | None]] = []
        with self._words("listing"):
            for batch in obstore.list(self._store, chunk_size=1000):
                found += [(item["path"], item["size"], item["e_tag"]) for item in batch]
                if len(found) > _OBJECTS_MAX:
                    raise UsageError(
                        f"{self.shown} holds more than {_OBJECTS_MAX} objects", hint="name a longer prefix"
                    )
        return sorted(item for item in found if not item[0].endswith("/"))

    def read(self, key: str) -> bytes:
        """A small content."""
        with self._words(key):
            found = obstore.get(self._store, key)
            if found.meta["size"] > RECORD_BYTES_MAX:
                raise UsageError(f"{self.shown}/{key} has {found.meta['size']} bytes: it is no record of Penstock's")
            return bytes(found.bytes())

    def put(self, key: str, content: Path | bytes) -> None:
        """Stores a content: whole or not at all. Large ones in parts."""
        with self._words(key):
            is_small = isinstance(content, bytes) or content.stat().st_size <= _SIMPLE_PUT_MAX
            obstore.put(self._store, key, content, use_multipart=not is_small, chunk_size=_PART, max_concurrency=4)

    @contextmanager
    def open(self, key: str, offset: int, etag: str | None = None) -> Iterator[Body]:
        """The bytes of a content from `offset` on; `etag` pins what was listed."""
        options: obstore.GetOptions = {}
        if offset:
            options["range"] = {"offset": offset}
        if etag is not None:
            options["if_match"] = etag
        with self._words(key):
            found = obstore.get(self._store, key, options=options)
            yield Body(start=found.range[0], chunks=map(bytes, found.stream(min_chunk_size=_CHUNK)))

    @contextmanager
    def _words(self, what: str) -> Iterator[None]:
        """The library's exceptions as ours."""
        where = f"{self.shown}: {what}"
        try:
            yield
        except FileNotFoundError as error:
            if error.errno is not None:
                raise
            raise UsageError(
                f"{where}: there is no such bucket or object", hint="check the bucket's name and region"
            ) from error
        except exceptions.PreconditionError as error:
            hint = "pull again when the upload has ended"
            raise PenstockError(f"{where}: changed while it was read", hint=hint) from error
        except (exceptions.BaseError, ValueError) as error:
            raise _verdict(where, error) from error


def _verdict(where: str, error: Exception) -> UsageError | Interrupted:
    """What a failure means; where the library has one class for all, by the status that its message tells."""
    found = re.search(r"status code: (\d{3})", str(error))
    status = int(found[1]) if found else 0
    is_refusal = isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError)
    if is_refusal or status in (401, 403):
        hint = "give access by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, GOOGLE_…, AZURE_…, or the pod's identity"
        return UsageError(f"{where}: the object store refuses us: {_scrubbed(error)}", hint=hint)
    if status == 404:
        return UsageError(f"{where}: there is no such bucket", hint="check the bucket's name and region")
    if 300 <= status < 500 and not is_passing(status):
        hint = "check the bucket's region (AWS_REGION) and endpoint (AWS_ENDPOINT_URL)"
        return UsageError(f"{where}: {_scrubbed(error)}", hint=hint)
    return Interrupted(f"{where}: {_scrubbed(error)}")


def _scrubbed(error: Exception) -> str:
    """A library's message without what follows `?` in addresses: it may be a signature."""
    text = re.sub(r"\?[^\s\"')]+", "?…", str(error).partition("Debug source")[0])
    return re.sub(r"\s+", " ", text)[:300]


class ObjectRemote:
    """A model below a prefix. Where Penstock published it there, its record names the revision and every hash."""

    def __init__(self, source: ModelSource) -> None:
        self._source = source
        self._vault = ObjectVault(source)

    def listing(self) -> Listing:
        """Everything below the prefix; the revision is the record's, the caller's name for it, or a digest."""
        found = self._vault.listed()
        if len(found) > FILES_MAX:
            hint = "name the prefix of one model, as in s3://bucket/models/name"
            raise UsageError(f"{self._vault.shown} holds {len(found)} objects: that is more than one model", hint=hint)
        if not found:
            raise UsageError(f"{self._vault.shown} is empty", hint="check the prefix")
        if any(key == MARKER for key, _, _ in found):
            return self._published(found)
        content = hashlib.sha256(repr(found).encode()).hexdigest()[:40]
        files = tuple(RemoteFile(path=key, size=size, key=key, etag=etag) for key, size, etag in found)
        return Listing(revision=self._source.revision or content, requested=None, files=files, content=content)

    def open(self, file: RemoteFile, offset: int) -> AbstractContextManager[Body]:
        """The bytes of a file from `offset` on."""
        return self._vault.open(file.key, offset, file.etag)

    def _published(self, found: list[tuple[str, int, str | None]]) -> Listing:
        record = parse_record(self._vault.read(MARKER), f"{self._vault.shown}/{MARKER}")
        asked = self._source.revision
        if asked is not None and asked not in (record.revision, record.requested):
            message = f"{self._vault.shown} holds revision {record.revision} of {record.name}, not {asked}"
            raise UsageError(message, hint="name that revision, or another prefix")
        marks = {key: etag for key, _, etag in found}
        files = tuple(
            RemoteFile(path=f.path, size=f.size, sha256=f.sha256, key=f.path, etag=marks.get(f.path))
            for f in record.files
        )
        return Listing(revision=record.revision, requested=record.requested, files=files, content=record.content)
