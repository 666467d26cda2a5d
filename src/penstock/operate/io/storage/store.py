"""A model store on a file system: what is in it, who uses it, and the removal of what may go.

Guarantees: nothing outside the store is read or removed, whatever links lie in it; what is removed disappears under its
name at once and is deleted then; ages are by the file server's own clock.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from penstock.errors import PenstockError, UsageError
from penstock.operate.io.storage.files import disk_words, remove_tree, tree_sizes
from penstock.operate.io.storage.lock import RevisionLock, is_dead
from penstock.operate.io.storage.look import read_marker
from penstock.operate.storage import Entry, EntryKind, ModelRecord, entry_kind
from penstock.operate.storage.layout import DRILL, LOCK, PARTIAL, TRASH
from penstock.operate.storage.locks import LOCK_BYTES_MAX, STALE_S, parse_lock

__all__ = ["IN_USE_FRESH_S", "Stored", "published", "remove", "scan", "server_now"]

IN_USE_FRESH_S = 900.0
"""Seconds since a `.in-use-*` file was last touched during which it counts: three touches five minutes apart."""
_SIGN_BYTES_MAX = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One published revision."""

    folder: Path
    record: ModelRecord


def published(store: Path) -> Iterator[Stored | PenstockError]:
    """Every published revision, sorted; an error in place of one whose record is damaged."""
    for model in _models(store):
        for folder in sorted(_plain_folders(model)):
            if entry_kind(folder.name, is_folder=True) is not EntryKind.REVISION:
                continue
            try:
                record = read_marker(folder)
            except UsageError as error:
                yield error
                continue
            if record is not None:
                yield Stored(folder=folder, record=record)


def _models(store: Path) -> list[Path]:
    """The folders of the models. A link is not one: it may lead anywhere."""
    if not store.is_dir():
        raise UsageError(f"there is no folder {store}", hint="--to DIR names the model store")
    with disk_words(f"reading {store}"):
        return sorted(folder for folder in _plain_folders(store) if not folder.name.startswith((".", "lost+found")))


def _plain_folders(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if not entry.is_symlink() and entry.is_dir()]


def server_now(folder: Path) -> float:
    """The file server's time, Unix seconds, as a file that is made now has it; ours where none can be made."""
    probe = folder / f".penstock-{uuid.uuid4().hex}.tmp"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return datetime.now().astimezone().timestamp()
    finally:
        with suppress(OSError):
            probe.unlink()


def scan(store: Path, *, now: float) -> list[Entry]:
    """Every entry of every model's folder. `now`: Unix seconds of the file server."""
    commands = _command_lines()
    entries: list[Entry] = []
    for model in _models(store):
        with disk_words(f"reading {model}"):
            entries += _entries(model, now, commands)
    return entries + list(_drills(store, now))


def _drills(store: Path, now: float) -> Iterator[Entry]:
    """What a restore drill left that was killed."""
    for folder in sorted(_plain_folders(store)):
        if folder.name.startswith(DRILL):
            age = max(0.0, now - _changed_at(folder, None))
            size = sum(tree_sizes(folder).values())
            yield Entry(model=".", name=folder.name, kind=EntryKind.PARTIAL, size=size, age_s=age)


def _is_held(lock: Path, now: float) -> bool:
    """Whether the owner of a lock beats: every beat touches the file, and the file server dates it."""
    with suppress(FileNotFoundError):
        found = parse_lock(lock.read_bytes()[:LOCK_BYTES_MAX].decode(errors="replace"))
        return now - lock.stat().st_mtime < STALE_S and not (found is not None and is_dead(found))
    return False


def _entries(model: Path, now: float, commands: Sequence[tuple[int, str]]) -> Iterator[Entry]:
    children = sorted(model.iterdir())
    current = os.readlink(model / "current") if (model / "current").is_symlink() else ""
    signs = list(_signs(children, now))
    locked = {
        child.name.removeprefix(LOCK)
        for child in children
        if child.name.startswith(LOCK) and not child.is_symlink() and _is_held(child, now)
    }
    for child in children:
        if child.is_symlink():
            continue
        kind = entry_kind(child.name, is_folder=child.is_dir())
        record = _record_of(child) if kind is EntryKind.REVISION else None
        bare = child.name.removeprefix(PARTIAL).removeprefix(LOCK)
        used_by = [f"process {pid}" for pid, words in commands if kind is EntryKind.REVISION and str(child) in words]
        used_by += (
            [sign for sign, name in signs if name in (child.name, "", bare)] if kind is EntryKind.REVISION else []
        )
        if kind is EntryKind.IN_USE:
            used_by = [sign for sign, _ in signs if sign == child.name]
        yield Entry(
            model=model.name,
            name=child.name,
            kind=kind,
            size=sum(tree_sizes(child).values()) if child.is_dir() else child.stat().st_size,
            age_s=max(0.0, now - _changed_at(child, record)),
            revision=record.revision if record is not None else bare,
            source=record.source if record is not None else None,
            requested=record.requested if record is not None else None,
            is_published=record is not None,
            is_current=bool(current) and Path(current).name == child.name,
            used_by=tuple(used_by),
            is_locked=bare in locked,
        )


def _signs(children: Sequence[Path], now: float) -> Iterator[tuple[str, str]]:
    """Fresh `.in-use-*` files: name, and the revision inside; "" where it says none and so means all."""
    for child in children:
        is_sign = not child.is_symlink() and entry_kind(child.name, is_folder=False) is EntryKind.IN_USE
        if not is_sign or now - child.stat().st_mtime > IN_USE_FRESH_S:
            continue
        with child.open("rb") as file:
            text = file.read(_SIGN_BYTES_MAX).decode(errors="replace").strip()
        with suppress(ValueError, AttributeError):
            text = str(json.loads(text).get("revision", ""))
        yield child.name, text.replace(":", "-")


def _record_of(folder: Path) -> ModelRecord | None:
    """The record; None where it is absent or damaged: such a folder is left alone."""
    try:
        return read_marker(folder)
    except UsageError:
        return None


def _changed_at(path: Path, record: ModelRecord | None) -> float:
    if record is not None:
        with suppress(ValueError):
            return datetime.fromisoformat(record.published_at).timestamp()
    if not path.is_dir():
        return path.stat().st_mtime
    times = [path.stat().st_mtime]
    for place, _, names in os.walk(path):
        for name in names:
            with suppress(FileNotFoundError):
                times.append(Path(place, name).lstat().st_mtime)
    return max(times)


def _command_lines() -> list[tuple[int, str]]:
    """What runs on this machine, ourselves left out: an engine names its model's folder in its command line."""
    found: list[tuple[int, str]] = []
    with suppress(OSError):
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) not in (os.getpid(), os.getppid()):
                with suppress(OSError), open(f"/proc/{entry}/cmdline", "rb") as file:
                    found.append((int(entry), file.read(65536).decode(errors="replace").replace("\0", " ")))
    return found


def remove(store: Path, entry: Entry) -> None:
    """Removes one entry of the store.

    Raises:
        PenstockError: a pull took its lock meanwhile, it left the store by a link, or the disk refuses.
    """
    model = store / entry.model
    target = model / entry.name
    if model.is_symlink() or target.is_symlink() or target.parent.resolve() != store.resolve() / entry.model:
        raise PenstockError(f"{target} is reached through a link now: nothing was removed")
    with disk_words(f"removing {target}"):
        if not target.is_dir():
            target.unlink(missing_ok=True)
            return
        if entry.kind is EntryKind.TRASH:
            remove_tree(target)
            return
        lock = RevisionLock(model / f"{LOCK}{entry.name.removeprefix(PARTIAL)}")
        with lock:
            if not lock.take(is_needed=lambda: False):
                raise PenstockError(f"a pull works on {target} now: nothing was removed")
            aside = model / f"{TRASH}{uuid.uuid4().hex}"
            os.rename(target, aside)
        remove_tree(aside)
