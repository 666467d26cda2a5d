"""Enters the journals that gateways left behind: those that nobody holds the lock of.

Guarantees: two gateways never enter the same journal at once, and one that dies in the middle leaves it to the next;
files go only when the store has everything that is in them.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.serve.io.ledger.journal import lock_file, segment_files
from penstock.serve.io.ledger.reading import read_segments
from penstock.serve.ledger import End, JournalReader

if TYPE_CHECKING:
    from penstock.serve.io.stores.usage import UsageWriter

__all__ = ["left_behind", "recover"]

BATCH = 200
"""Requests of one transaction, as in shipping."""
_log = logging.getLogger("penstock.ledger")


def left_behind(folder: Path, own: str) -> list[str]:
    """Journals in the folder other than our `own`, of gateways that may live or not."""
    return [journal for journal in segment_files(folder) if journal != own] if folder.is_dir() else []


async def recover(writer: UsageWriter, folder: Path, fleet: str, own: str, now: float) -> int:
    """Enters all journals that nobody holds; returns how many requests those were.

    Raises:
        PenstockError: the store is away or can't be written; what is not entered stays.
    """
    count = 0
    for journal in await asyncio.to_thread(left_behind, folder, own):
        try:
            lock = lock_file(folder / f"{journal}.lock")
        except OSError:
            continue  # its gateway lives, or another is at it
        try:
            count += await _enter(writer, folder, fleet, journal, now)
        finally:
            os.close(lock)
    return count


async def _enter(writer: UsageWriter, folder: Path, fleet: str, journal: str, now: float) -> int:
    paths = segment_files(folder).get(journal, [])
    reader, count = JournalReader(), 0
    for path in paths:
        segments = await asyncio.to_thread(read_segments, [path], journal, fleet)
        if not segments:
            return count  # another fleet's, or of a format to come: not ours to take away
        ends: Iterator[End] = reader.read(segments[0])
        while batch := list(islice(ends, BATCH)):
            count += await writer.enter(journal, batch, now=now)
    lost = sorted(reader.open.values())
    if not paths:  # its gateway ended well since we looked
        await asyncio.to_thread(_take_away, folder, journal, paths)
        return 0
    count += await writer.enter(journal, (), now=now, lost=lost, closes=True)
    await asyncio.to_thread(_take_away, folder, journal, paths)
    if count or reader.damaged:
        words = "entered %d requests of a gateway that was killed: %d of them lost, %d segments torn"
        _log.warning(words, count, len(lost), reader.damaged)
    return count


def _take_away(folder: Path, journal: str, paths: list[Path]) -> None:
    """The lock goes last: whoever takes it meanwhile finds nothing to enter."""
    for path in (*paths, *folder.glob(f"{journal}.*.spare"), folder / f"{journal}.lock"):
        path.unlink(missing_ok=True)
