"""Writes generated files into a folder, and takes away those of a former run: nothing that is not ours is touched.

A file is ours when its first bytes hold the header of the format. Everything is checked before anything is written.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from penstock.errors import PenstockError, UsageError

__all__ = ["FolderChange", "write_folder"]

_HEAD_BYTES = 512
"""Where the header is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderChange:
    """What a run did, each as sorted paths below the folder."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    same: tuple[str, ...]
    removed: tuple[str, ...]

    def __str__(self) -> str:
        names = ("added", "changed", "same", "removed")
        counts = [f"{len(getattr(self, name))} {name}" for name in names if getattr(self, name)]
        return ", ".join(counts) or "nothing to write"


def write_folder(folder: Path, files: Mapping[str, str], *, header: str, removes_others: bool = True) -> FolderChange:
    """Makes the folder hold `files`. `removes_others`: files of a former run that are not among them go.

    Raises:
        UsageError: a file stands where one of ours would, and is not ours; or the folder is a file.
        PenstockError: something cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, not a folder", hint="name a folder for the output")
    former = {path: (folder / path).read_bytes() for path in _ours(folder, header)}
    strangers = [path for path in sorted(files) if path not in former and (folder / path).exists()]
    if strangers:
        raise UsageError(
            f"{folder / strangers[0]} is there already and was not made by penstock; nothing was written",
            hint="move it away, or choose another folder",
        )
    stale = sorted(former.keys() - files.keys()) if removes_others else []
    added = tuple(sorted(files.keys() - former.keys()))
    changed = tuple(sorted(p for p in files.keys() & former.keys() if former[p] != files[p].encode()))
    try:
        for path in (*added, *changed):
            _write(folder / path, files[path])
        for path in stale:
            _remove(folder, path)
    except OSError as error:
        raise PenstockError(f"{error.filename or folder} cannot be written: {error.strerror or error}") from error
    same = tuple(sorted((files.keys() & former.keys()) - set(changed)))
    return FolderChange(added=added, changed=changed, same=same, removed=tuple(stale))


def _ours(folder: Path, header: str) -> list[str]:
    """Files below the folder that carry the header. Links are not followed."""
    found: list[str] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if path.is_symlink() or not path.is_file():
                continue
            with path.open("rb") as file:
                if header.encode() in file.read(_HEAD_BYTES):
                    found.append(path.relative_to(folder).as_posix())
    return found


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def _remove(folder: Path, path: str) -> None:
    """The file, and folders that it leaves empty."""
    (folder / path).unlink()
    parent = (folder / path).parent
    while parent != folder and not any(parent.iterdir()):
        parent.rmdir()
        parent = parent.parent
