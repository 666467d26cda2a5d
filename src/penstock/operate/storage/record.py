"""The record of a published model: what lies in the folder, where it came from, and when it was last verified.

Pure: to and from JSON. Guarantees that a record that is damaged, too new or names an unsafe file is refused in words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock.errors import UsageError
from penstock.operate.storage.layout import path_trouble
from penstock.operate.storage.listing import FILES_MAX

__all__ = ["RECORD_BYTES_MAX", "FileRecord", "ModelRecord", "parse_record"]

RECORD_BYTES_MAX = 16 * 1024 * 1024
"""Larger than that of the most files that a model may have."""
_VERSION = 1
_SHA256 = re.compile(r"^[0-9a-f]{64}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """One file as it was when the model was published."""

    path: str
    size: int
    sha256: str
    header_sha256: str | None = None
    """Of a safetensors file's first eight bytes and header: lets a quick look find what sizes hide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord:
    """One published revision."""

    name: str
    source: str
    """URL or hub name that it came from; never with a key in it."""
    revision: str
    requested: str | None = None
    """The branch or tag that was asked for and resolved to `revision`."""
    content: str | None = None
    """Digest of the source's listing where the source has no revisions of its own."""
    files: tuple[FileRecord, ...]
    published_at: str
    """RFC 3339, UTC."""
    verified_at: str
    """RFC 3339, UTC: when every hash was last compared."""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def file(self, path: str) -> FileRecord | None:
        """The file of that name."""
        return next((file for file in self.files if file.path == path), None)

    def to_json(self) -> str:
        """The text of the marker; the same record gives the same text."""
        files = [
            {
                "path": f.path,
                "size": f.size,
                "sha256": f.sha256,
                **({"headerSha256": f.header_sha256} if f.header_sha256 else {}),
            }
            for f in sorted(self.files, key=lambda f: f.path)
        ]
        fields: dict[str, Any] = {
            "version": _VERSION,
            "name": self.name,
            "source": self.source,
            "revision": self.revision,
            "requested": self.requested,
            "content": self.content,
            "publishedAt": self.published_at,
            "verifiedAt": self.verified_at,
            "bytes": self.size,
            "files": files,
        }
        return json.dumps({k: v for k, v in fields.items() if v is not None}, indent=1, ensure_ascii=False) + "\n"


def parse_record(text: str | bytes, of: str) -> ModelRecord:
    """Reads a record. `of` is what messages call it.

    Raises:
        UsageError: it is damaged, of a newer format, or names a file outside the folder.
    """
    hint = "pull the model again: `penstock models pull` fetches what is missing or damaged"
    try:
        found: Any = json.loads(text)
        if not isinstance(found, Mapping):
            raise TypeError("not an object")
        if found.get("version") != _VERSION:
            newer = "use the Penstock that wrote it, or a newer one"
            raise UsageError(
                f"{of} is a record of format {found.get('version')!r}; this Penstock reads {_VERSION}", hint=newer
            )
        record = ModelRecord(
            name=str(found["name"]),
            source=str(found["source"]),
            revision=str(found["revision"]),
            requested=_text(found.get("requested")),
            content=_text(found.get("content")),
            files=tuple(_file(item) for item in found["files"]),
            published_at=str(found["publishedAt"]),
            verified_at=str(found["verifiedAt"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{of} cannot be read as a model's record: {error}", hint=hint) from error
    if len(record.files) > FILES_MAX or len({file.path for file in record.files}) != len(record.files):
        raise UsageError(f"{of} lists too many files, or one twice", hint=hint)
    return record


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _file(item: Any) -> FileRecord:
    path, size, sha256 = item["path"], item["size"], item["sha256"]
    if not isinstance(path, str) or (trouble := path_trouble(path)) is not None:
        raise ValueError(f"the file name {str(path)[:100]!r} {trouble if isinstance(path, str) else 'is no text'}")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ValueError(f"{path} has no size")
    if not isinstance(sha256, str) or not _SHA256.match(sha256):
        raise ValueError(f"{path} has no sha256")
    return FileRecord(path=path, size=size, sha256=sha256, header_sha256=_text(item.get("headerSha256")))
