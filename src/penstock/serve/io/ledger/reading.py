"""Reads what is used: from the store, and from the journals of this machine that are not in it yet.

Guarantees: a request counts once, also while a gateway is shipping it: journals are read first, and of them only what
lies behind the store's own marks is added.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.serve.io.ledger.journal import segment_files
from penstock.serve.ledger import SEGMENT_HEAD, End, Entry, JournalReader, is_segment_of
from penstock.serve.usage import Sums, UsageQuery

if TYPE_CHECKING:  # databases are imported where there is a store
    from penstock.serve.io.stores.usage import UsageStore

__all__ = ["read_segments", "read_usage", "read_waiting"]


def read_segments(paths: Sequence[Path], journal: str, fleet: str) -> list[bytes]:
    """The segments that are still there and are of this journal and fleet."""
    found: list[bytes] = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # shipped and taken away meanwhile
            segment = path.read_bytes()
            if is_segment_of(segment[:SEGMENT_HEAD], journal, fleet):
                found.append(segment)
    return found


def read_waiting(folder: Path, fleet: str) -> dict[str, list[End]]:
    """The ends in each journal of a folder, living gateways' too. Takes no lock and changes nothing."""
    waiting: dict[str, list[End]] = {}
    for journal, paths in segment_files(folder).items():
        reader = JournalReader()
        waiting[journal] = [end for segment in read_segments(paths, journal, fleet) for end in reader.read(segment)]
    return {journal: ends for journal, ends in waiting.items() if ends}


async def read_usage(
    store: UsageStore, folder: Path, columns: Sequence[str], query: UsageQuery
) -> tuple[list[tuple[tuple[str, ...], Sums]], list[Entry]]:
    """The store's sums by `columns`, and the requests of this machine's journals that they lack.

    Raises:
        PenstockError: the store is away or can't be used, in words.
    """
    waiting = await asyncio.to_thread(read_waiting, folder, store.fleet)
    path = store.address.path
    if path is not None and not path.exists():
        return [], [end.entry for ends in waiting.values() for end in ends]
    stored = await store.read(columns, query, tuple(waiting))
    entries: list[Entry] = []
    for journal, ends in waiting.items():
        mark = stored.marks.get(journal)
        if mark is None or not mark.is_closed:
            entries += [end.entry for end in ends if mark is None or end.number > mark.shipped]
    return stored.rows, entries
