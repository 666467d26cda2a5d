"""The few things that a model store does to a file system, done so that a crash or a full disk leaves no lie.

Guarantees: what has its final name has its final content on the disk, also after a power cut; nothing is followed out
of the folder it belongs to; a full disk ends in words.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from penstock.errors import PenstockError

__all__ = [
    "disk_words",
    "file_sha256",
    "free_bytes",
    "put_text",
    "remove_tree",
    "set_link",
    "sync_folder",
    "sync_tree",
    "tree_sizes",
]

_CHUNK = 4 * 1024 * 1024
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def disk_words(what: str) -> Iterator[None]:
    """Turns the disk's refusals into words. `what` was being done, as in `writing the model into /models`.

    Raises:
        PenstockError: the disk is full, read-only, not ours to write, or broken.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:  # a library's own error that happens to be an OSError
            raise
        raise PenstockError(f"{what} failed: {error.strerror}", hint=_disk_hint(error)) from error


def _disk_hint(error: OSError) -> str:
    name = error.filename or "the folder"
    if error.errno in _FULL:
        return "what was fetched stays: make room (`penstock models gc`, a larger volume) and run the command again"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{name} is not writable for user {os.getuid()}: set the volume's fsGroup or owner"
    if error.errno == errno.EROFS:
        return f"{name} is mounted read-only: mount the model volume writable where models are pulled"
    return "run the same command again; what was fetched stays"


def free_bytes(folder: Path) -> int:
    """Bytes that we may still write below `folder`, which need not exist yet."""
    for place in (folder, *folder.parents):
        with suppress(FileNotFoundError, NotADirectoryError):
            found = os.statvfs(place)
            return found.f_bavail * found.f_frsize
    return 0


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable. File systems that cannot (some network ones) are taken at their word."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Makes the names in a folder and all below it durable."""
    for place, _, _ in os.walk(folder):
        sync_folder(Path(place))


def put_text(path: Path, text: str) -> None:
    """Writes a small file so that it is there whole or not at all, also after a power cut."""
    aside = path.with_name(f".penstock-{uuid.uuid4().hex}.tmp")
    try:
        with aside.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(path.parent)


def set_link(link: Path, target: str) -> None:
    """Points a link at `target` beside it: from one moment to the next, also where it pointed elsewhere.

    Raises:
        OSError: something that is no link has that name, or the file system has no links.
    """
    if link.exists() and not link.is_symlink():
        raise FileExistsError(errno.EEXIST, "something that is no link has that name", str(link))
    aside = link.with_name(f".penstock-{uuid.uuid4().hex}.tmp")
    aside.symlink_to(target)
    os.replace(aside, link)
    sync_folder(link.parent)


def tree_sizes(folder: Path) -> dict[str, int]:
    """Bytes of every plain file below `folder` by relative path with `/`. Links are left out and never followed."""
    found: dict[str, int] = {}
    for place, folders, names in os.walk(folder, followlinks=False):
        folders.sort()
        for name in names:
            path = Path(place, name)
            with suppress(FileNotFoundError):
                if not path.is_symlink():
                    found[path.relative_to(folder).as_posix()] = path.lstat().st_size
    return found


def file_sha256(path: Path, *, on_bytes: Callable[[int], None] | None = None) -> str:
    """Hash of a file's content, hexadecimal. `on_bytes` hears how many more were read."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            if on_bytes is not None:
                on_bytes(len(chunk))
    return digest.hexdigest()


def remove_tree(folder: Path) -> None:
    """Deletes a folder and all in it; a link is deleted, never what it points at."""
    if folder.is_symlink():
        folder.unlink()
        return
    shutil.rmtree(folder, ignore_errors=False)
