"""The keys as they were last read, in a file beside the gateway: what it starts with while its store is away.

Guarantees: readable by its owner alone; holds digests, never keys; whole or not there; one of another store or fleet,
or a damaged one, is not taken.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from penstock.errors import UsageError
from penstock.serve.keys import KeyRecord, limits_of, limits_shown

__all__ = ["KnownKeys", "Snapshot"]

_FORMAT = 1
_BYTES_MAX = 256 * 1024 * 1024
"""Room for a million keys."""
_AT_ONCE = 100
"""Records that are written without a turn for others: a millisecond."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownKeys:
    """What a gateway knows of the store's keys."""

    records: Collection[KeyRecord]
    """Those that may still be valid; a snapshot leaves the others out. A watch's own: it changes with the store."""
    has_keys: bool
    """Whether the store ever held one, ended ones included."""
    changed: tuple[KeyRecord, ...] | None = None
    """Those of the records that began, changed or ended since the last time; None: any may have."""


class Snapshot:
    """The snapshot of one fleet's keys in one store."""

    def __init__(self, path: Path, *, url: str, fleet: str) -> None:
        self.path = path
        self._of = hashlib.sha256(f"{url}\0{fleet}".encode()).hexdigest()

    def save(self, keys: KnownKeys) -> None:
        """Replaces the file. In a thread it leaves the event loop its turns, however many keys there are.

        Raises:
            OSError: it can't be written; the former one stays.
        """
        head = orjson.dumps({"format": _FORMAT, "of": self._of, "has_keys": keys.has_keys})
        records = list(keys.records)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}.new")
        try:
            file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(file, "wb") as out:
                out.write(head[:-1] + b',"records":[')
                for start in range(0, len(records), _AT_ONCE):
                    some = orjson.dumps([_shown(record) for record in records[start : start + _AT_ONCE]])
                    out.write((b"," if start else b"") + some[1:-1])
                    time.sleep(0)  # a turn for the event loop, which waits for the interpreter
                out.write(b"]}")
                out.flush()
                os.fsync(out.fileno())
            beside.replace(self.path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise

    def load(self) -> KnownKeys | None:
        """What was saved last; None where nothing was that can be used."""
        try:
            with self.path.open("rb") as file:
                body = orjson.loads(file.read(_BYTES_MAX))
            if body["format"] != _FORMAT or body["of"] != self._of:
                return None
            return KnownKeys(records=tuple(_records(body["records"])), has_keys=bool(body["has_keys"]))
        except (OSError, ValueError, TypeError, KeyError, UsageError):
            return None


def _shown(record: KeyRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "tenant": record.tenant,
        "name": record.name,
        "sha256": record.digest.hex(),
        "last_four": record.last_four,
        "created": record.created,
        "expires": record.expires,
        "models": record.models,
        "successor": record.successor,
        "limits": limits_shown(record.limits),
        "class": record.traffic_class,
    }


def _records(rows: Iterable[dict[str, Any]]) -> Iterable[KeyRecord]:
    for row in rows:
        yield KeyRecord(
            id=str(row["id"]),
            tenant=str(row["tenant"]),
            name=str(row["name"]),
            digest=bytes.fromhex(row["sha256"]),
            last_four=str(row["last_four"]),
            created=int(row["created"]),
            expires=None if row["expires"] is None else int(row["expires"]),
            models=None if row["models"] is None else tuple(map(str, row["models"])),
            successor=str(row["successor"]),
            limits=limits_of(row.get("limits") or {}),
            traffic_class=row.get("class"),
        )
