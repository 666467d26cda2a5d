"""What each scope has used this month, as the store last told it: what budgets begin with while the store is away.

The file holds names and sums, never keys. It is a stand-in: whatever can't be read of it is nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import orjson

__all__ = ["MonthFile"]

_FORMAT = 1
_BYTES_MAX = 64 * 1024 * 1024
"""Room for half a million scopes."""


class MonthFile:
    """The file of one fleet."""

    def __init__(self, path: Path, fleet: str) -> None:
        self._path = path
        self._fleet = fleet

    def save(self, month: str, uses: Mapping[str, tuple[int, int]]) -> None:
        """Replaces it, whole or not at all.

        Raises:
            OSError: it can't be written; the former one stays.
        """
        body = orjson.dumps({"format": _FORMAT, "fleet": self._fleet, "month": month, "uses": uses})
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}.new")
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(file, "wb") as out:
                out.write(body)
            beside.replace(self._path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise

    def load(self, month: str) -> dict[str, tuple[int, int]]:
        """Uses by scope; empty where none of this month were saved."""
        try:
            with self._path.open("rb") as file:
                body = orjson.loads(file.read(_BYTES_MAX))
            if (body["format"], body["fleet"], body["month"]) != (_FORMAT, self._fleet, month):
                return {}
            return {str(scope): (int(tokens), int(micros)) for scope, (tokens, micros) in body["uses"].items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return {}
