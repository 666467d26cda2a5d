"""Who pulls a revision, and when a lock is one that its owner left behind.

Pure. The lock is a small file on the volume that the pulls share. Its owner counts a heartbeat up; whoever waits
watches that number with its own clock, so machines need not agree on the time. Guarantees that a live owner's lock is
never called stale while its heartbeat arrives.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["BEAT_S", "LOCK_BYTES_MAX", "STALE_S", "Lock", "Watch", "parse_lock"]

BEAT_S = 5.0
"""Seconds between two heartbeats."""
STALE_S = 60.0
"""Seconds without one after which the owner is taken for dead: twelve missed beats."""
LOCK_BYTES_MAX = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """What a lock file says."""

    token: str
    """Random: tells this owner from every other."""
    host: str
    """Machine or pod, for people."""
    pid: int
    place: str
    """Boot and process-id namespace: within it, a process that is gone is gone. Empty where the system has neither."""
    started: str
    """The process's own start mark, so that another process with its number is told apart."""
    beat: int = 0
    """Heartbeats so far."""

    def to_json(self) -> str:
        """The file's content; its length does not change with the beat, so that it is overwritten in place."""
        fields = {"host": self.host, "pid": self.pid, "place": self.place, "started": self.started, "token": self.token}
        return json.dumps({"beat": f"{self.beat:012d}", **fields}) + "\n"

    def beaten(self) -> Lock:
        """After one more heartbeat."""
        return replace(self, beat=self.beat + 1)

    @property
    def shown(self) -> str:
        """The owner, for people."""
        return f"process {self.pid} on {self.host}"


def parse_lock(text: str) -> Lock | None:
    """Reads a lock file; None where it is none (yet): a writer was cut off, or is just about to write."""
    try:
        found: Any = json.loads(text)
        if not isinstance(found, Mapping):
            return None
        return Lock(
            token=str(found["token"]),
            host=str(found["host"])[:253],
            pid=int(found["pid"]),
            place=str(found["place"]),
            started=str(found["started"]),
            beat=int(found["beat"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What a waiter has seen of somebody's lock: the content, and since when it has not changed."""

    text: str
    since: float
    """Monotonic seconds of the waiter."""

    def seeing(self, text: str, now: float) -> Watch:
        """After another look."""
        return self if text == self.text else Watch(text=text, since=now)

    def is_stale(self, now: float, *, stale_s: float = STALE_S) -> bool:
        """Whether the owner has not given a sign of life for too long."""
        return now - self.since >= stale_s
