"""What a pull has still to fetch, whether it fits on the disk, and when a failed transfer is tried again.

Pure. Guarantees that nothing that lies in the partial folder whole is fetched twice, and that a part is continued only
where it is a beginning of the same content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from penstock.operate.storage.layout import PART_SUFFIX
from penstock.operate.storage.listing import RemoteFile

__all__ = [
    "ATTEMPTS_MAX",
    "Fetch",
    "FetchPlan",
    "Interrupted",
    "disk_shortage",
    "plan_fetches",
    "retry_after_s",
    "shown_bytes",
]

ATTEMPTS_MAX = 6
"""Failures in a row, without one byte in between, after which a file is given up: about a minute of waiting."""
_WAIT_FIRST_S, _WAIT_MAX_S = 1.0, 30.0
_WAIT_ASKED_MAX_S = 300.0
"""A server that asks for more is not waited for; the next run continues."""
_HEADROOM_SHARE, _HEADROOM_MIN = 0.01, 64 * 1024**2
"""File-system blocks, records, and what others write meanwhile."""


class Interrupted(Exception):
    """A transfer that another attempt may end: connection cut, server busy, too many requests."""

    def __init__(self, reason: str, *, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after_s = after_s
        """Seconds that the server asked to wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """One file to fetch."""

    file: RemoteFile
    offset: int
    """Bytes that its part holds already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchPlan:
    """What to do, from what lies in the partial folder."""

    fetches: tuple[Fetch, ...]
    """Largest first: the last ones to end are then short."""
    done: tuple[RemoteFile, ...]
    """Whole already."""
    stale: tuple[str, ...]
    """Files of the partial folder that no longer belong to this content: to be deleted first."""

    @property
    def bytes_left(self) -> int:
        """Bytes to fetch, which is also what they need on the disk."""
        return sum(fetch.file.size - fetch.offset for fetch in self.fetches)

    @property
    def bytes_done(self) -> int:
        """Bytes that are here from an earlier run."""
        return sum(file.size for file in self.done) + sum(fetch.offset for fetch in self.fetches)


def plan_fetches(wanted: Sequence[RemoteFile], present: Mapping[str, int]) -> FetchPlan:
    """Compares what is wanted with what the partial folder has: bytes by relative path.

    A whole file got its name only after its hash was compared, so its size is enough here.
    """
    fetches: list[Fetch] = []
    done: list[RemoteFile] = []
    known: set[str] = set()
    for file in wanted:
        part = file.path + PART_SUFFIX
        if present.get(file.path) == file.size:
            done.append(file)
            known.add(file.path)
        elif part in present and present[part] <= file.size:
            fetches.append(Fetch(file=file, offset=present[part]))
            known.add(part)
        else:
            fetches.append(Fetch(file=file, offset=0))
    fetches.sort(key=lambda fetch: (fetch.offset - fetch.file.size, fetch.file.path))
    return FetchPlan(fetches=tuple(fetches), done=tuple(done), stale=tuple(sorted(set(present) - known)))


def disk_shortage(bytes_left: int, free: int) -> int:
    """Bytes that the disk lacks for `bytes_left` more and some head-room; 0 when they fit."""
    if bytes_left == 0:
        return 0
    return max(0, bytes_left + max(_HEADROOM_MIN, int(bytes_left * _HEADROOM_SHARE)) - free)


def retry_after_s(failures: int, asked_s: float | None) -> float | None:
    """Seconds to wait after that many failures in a row; None to give up. `asked_s`: what the server asked for."""
    if failures >= ATTEMPTS_MAX or (asked_s is not None and asked_s > _WAIT_ASKED_MAX_S):
        return None
    return max(asked_s or 0.0, min(_WAIT_MAX_S, _WAIT_FIRST_S * 2.0 ** (failures - 1)))


def shown_bytes(count: float) -> str:
    """Bytes as people read them: `812 MB`, `16.4 GB`."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}" if count < 100 * size else f"{count / size:.0f} {unit}"
    return f"{count:.0f} bytes"
