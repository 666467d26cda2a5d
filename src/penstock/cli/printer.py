"""Prints from a thread, in order, so that a terminal or pipe that takes nothing never holds up the event loop.

Guarantees a bounded number of jobs that wait; when they are too many, further ones are dropped. A reader that is gone
ends the printing, never the program.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

__all__ = ["Printer"]

_JOBS_MAX = 1000
"""Far more than a screen shows; past it nobody reads."""
_CLOSE_S = 1.0
"""How long the end waits for a reader that is slow."""


class Printer:
    """One thread that prints. `do` from anywhere; `close` once."""

    def __init__(self) -> None:
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue(_JOBS_MAX)
        self._has_reader = True
        self._thread = threading.Thread(target=self._work, name="printer", daemon=True)
        self._thread.start()

    @property
    def is_behind(self) -> bool:
        """Whether something waits to be printed: a redraw can be left out then."""
        return not self._jobs.empty()

    def do(self, job: Callable[[], None]) -> None:
        """Prints, some time soon; drops the job when too many wait."""
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            return

    def close(self) -> None:
        """Prints what waits, for a second at most."""
        try:
            self._jobs.put(None, timeout=_CLOSE_S)
        except queue.Full:
            return
        self._thread.join(_CLOSE_S)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if not self._has_reader:
                continue
            try:
                job()
            except (OSError, ValueError):  # the reader is gone, or the stream is closed
                self._has_reader = False
