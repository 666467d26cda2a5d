"""Backups of models: where each content lies in a backup, and what has to be copied.

    DEST/blobs/sha256/<first two digits>/<sha256>     the content of one file, once, whatever models share it
    DEST/models/<name>/<revision>.json                the record of one revision; written last

Pure. Guarantees that one content is copied once, and that a revision's record is written only after all its contents
are there and were read back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from penstock.errors import UsageError
from penstock.operate.storage.layout import safe_revision
from penstock.operate.storage.listing import Listing, RemoteFile
from penstock.operate.storage.record import FileRecord, ModelRecord

__all__ = ["BackupPlan", "blob_key", "choose_backup", "listing_of", "plan_backup", "record_key", "recorded"]

MODELS = "models/"


def blob_key(sha256: str) -> str:
    """Where a content lies in the backup."""
    return f"blobs/sha256/{sha256[:2]}/{sha256}"


def record_key(name: str, revision: str) -> str:
    """Where a revision's record lies in the backup."""
    return f"{MODELS}{name}/{safe_revision(revision)}.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupPlan:
    """What one backup copies."""

    copies: tuple[FileRecord, ...]
    """One file for each content that the backup lacks, or has with another size."""
    present: tuple[FileRecord, ...]
    """One file for each content that is there already."""

    @property
    def bytes_to_copy(self) -> int:
        """Bytes that the backup lacks."""
        return sum(file.size for file in self.copies)


def plan_backup(record: ModelRecord, present: Mapping[str, int]) -> BackupPlan:
    """`present`: bytes of what the backup holds, by key."""
    contents = {file.sha256: file for file in sorted(record.files, key=lambda f: f.path, reverse=True)}
    files = sorted(contents.values(), key=lambda f: f.path)
    return BackupPlan(
        copies=tuple(f for f in files if present.get(blob_key(f.sha256)) != f.size),
        present=tuple(f for f in files if present.get(blob_key(f.sha256)) == f.size),
    )


def recorded(keys: Collection[str]) -> dict[str, list[str]]:
    """The revisions in a backup by model, both sorted."""
    found: dict[str, list[str]] = {}
    for key in sorted(keys):
        parts = key.removeprefix(MODELS).split("/")
        if key.startswith(MODELS) and len(parts) == 2 and parts[1].endswith(".json"):
            found.setdefault(parts[0], []).append(parts[1].removesuffix(".json"))
    return found


def choose_backup(found: Mapping[str, Sequence[str]], name: str, revision: str | None, of: str) -> tuple[str, str]:
    """The model and revision that are meant.

    Raises:
        UsageError: the backup has no such model or revision, or several where none is named.
    """
    if name not in found:
        hint = f"it has {', '.join(sorted(found))}" if found else "it is empty, or not a backup of Penstock's"
        raise UsageError(f"the backup {of} has no model {name!r}", hint=hint)
    revisions = found[name]
    if revision is None:
        if len(revisions) > 1:
            shown = ", ".join(revisions[:5])
            raise UsageError(
                f"the backup {of} has {len(revisions)} revisions of {name}", hint=f"--revision one of {shown}"
            )
        return name, revisions[0]
    wanted = safe_revision(revision)
    close = [r for r in revisions if r == wanted or (len(wanted) >= 7 and r.startswith(wanted))]
    if len(close) != 1:
        raise UsageError(
            f"the backup {of} has no revision {revision!r} of {name}", hint=f"it has {', '.join(revisions[:5])}"
        )
    return name, close[0]


def listing_of(record: ModelRecord) -> Listing:
    """A record as a source that can be pulled from: each file by its content's place."""
    files = tuple(
        RemoteFile(path=f.path, size=f.size, sha256=f.sha256, key=blob_key(f.sha256))
        for f in sorted(record.files, key=lambda f: f.path)
    )
    return Listing(revision=record.revision, requested=record.requested, files=files, content=record.content)
