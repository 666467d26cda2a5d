"""The folders of a model store, and which file names may be written into them.

    DIR/<name>/<revision>/…                         a published revision: complete, verified, never changed
    DIR/<name>/<revision>/.penstock-model.json      its record; written last, so its presence is the promise
    DIR/<name>/.partial-<revision>/…                a pull that is not done; `*.part` is a file in the making
    DIR/<name>/.lock-<revision>                     who pulls it now
    DIR/<name>/.in-use-<anything>                   somebody serves from here: see `gc`
    DIR/<name>/.trash-<anything>                    removed by `gc`, not yet deleted
    DIR/<name>/current                              a link to one revision, where `pull --current` was asked for
    DIR/.drill-<anything>/…                         a restore drill

Pure: names only. Guarantees that no name from outside leaves its folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum

from penstock.errors import UsageError

__all__ = [
    "CONTENT",
    "CURRENT",
    "DRILL",
    "IN_USE",
    "LOCK",
    "MARKER",
    "PARTIAL",
    "PART_SUFFIX",
    "TRASH",
    "EntryKind",
    "check_paths",
    "entry_kind",
    "lock_name",
    "model_folder",
    "partial_name",
    "path_trouble",
    "safe_revision",
]

MARKER = ".penstock-model.json"
CURRENT = "current"
"""Link to a revision, for engines that are told a branch; `pull --current` sets it."""
CONTENT = ".penstock-content"
"""In a partial folder: the digest of the listing that it is filled from, where the source has no revisions."""
_OURS = ".penstock-"
PARTIAL, LOCK, IN_USE, TRASH, DRILL = ".partial-", ".lock-", ".in-use-", ".trash-", ".drill-"
PART_SUFFIX = ".part"
_PATH_CHARS_MAX = 1024
_PART_BYTES_MAX = 240
"""Of one component: 255 less our own ending."""
_REVISION = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")


class EntryKind(StrEnum):
    """What an entry of a model's folder is."""

    REVISION = "revision"
    PARTIAL = "partial"
    LOCK = "lock"
    IN_USE = "in-use"
    TRASH = "trash"
    OTHER = "other"


def entry_kind(name: str, *, is_folder: bool) -> EntryKind:
    """What the entry `name` of a model's folder is."""
    if name.startswith(PARTIAL) and is_folder:
        return EntryKind.PARTIAL
    if name.startswith(TRASH) and is_folder:
        return EntryKind.TRASH
    if name.startswith(LOCK) and not is_folder:
        return EntryKind.LOCK
    if name.startswith(IN_USE) and not is_folder:
        return EntryKind.IN_USE
    if is_folder and _REVISION.match(name):
        return EntryKind.REVISION
    return EntryKind.OTHER


def safe_revision(revision: str) -> str:
    """The folder of a revision: a commit as it is, `sha256:…` with a dash.

    Raises:
        UsageError: it cannot name a folder.
    """
    name = revision.replace(":", "-")
    if not _REVISION.match(name) or name == CURRENT:
        hint = "at most 128 letters, digits, `.`, `_` and `-`, a letter or digit first"
        raise UsageError(f"the revision {revision!r} cannot name a folder", hint=hint)
    return name


def model_folder(name: str, revision: str) -> str:
    """Where a published revision lies below DIR: `<name>/<revision>`. `name` as `ModelSource.name` gives it."""
    return f"{name}/{safe_revision(revision)}"


def partial_name(revision: str) -> str:
    """The folder beside it that a pull writes into."""
    return f"{PARTIAL}{safe_revision(revision)}"


def lock_name(revision: str) -> str:
    """The file that says who pulls it."""
    return f"{LOCK}{safe_revision(revision)}"


def path_trouble(path: str) -> str | None:
    """Why a file name from outside is refused, in words; None when it is a plain relative path."""
    parts = path.split("/")
    if not path or len(path) > _PATH_CHARS_MAX:
        return f"is empty or longer than {_PATH_CHARS_MAX} characters"
    if any(ord(c) < 32 or ord(c) == 127 or c == "\\" for c in path):
        return "holds a control character or a backslash"
    if any(part in ("", ".", "..") for part in parts):
        return "is absolute, or leads out of the model's folder"
    if any(len(part.encode()) > _PART_BYTES_MAX for part in parts):
        return f"has a component of more than {_PART_BYTES_MAX} bytes"
    if any(part.startswith((_OURS, PARTIAL, LOCK, TRASH, IN_USE)) for part in parts) or path.endswith(PART_SUFFIX):
        return "is a name that Penstock keeps for itself"
    return None


def check_paths(paths: Iterable[str], of: str) -> None:
    """Refuses a listing with a file name that could harm.

    Raises:
        UsageError: names the file.
    """
    for path in paths:
        if (trouble := path_trouble(path)) is not None:
            hint = "nothing was written; do not use this source"
            raise UsageError(f"{of} lists a file {path[:200]!r} that {trouble}", hint=hint)
