"""Writes the access log without ever holding up the event loop.

Lines are joined into batches on the loop and written by a thread. When the disk or the pipe can't keep up or is full,
lines are dropped and counted; serving goes on.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from pathlib import Path

from penstock.errors import StartError
from penstock.serve.logline import log_line
from penstock.serve.record import RequestRecord

__all__ = ["AccessLog"]

BATCHES_MAX = 256
"""Batches that wait for the writer; at a tenth of a second each, half a minute of a stalled pipe."""
LINES_AT_ONCE = 32
"""Requests whose lines are made together: enough to be cheap, few enough (0.2 ms) that nobody waits for them."""
_log = logging.getLogger("penstock.access_log")


class AccessLog:
    """One access log. `add` and `flush` from the event loop; `close` writes what is left.

    `target` is `stdout`, `stderr`, `off`, or a file's path, which is appended to.

    Raises:
        StartError: the file can't be opened.
    """

    def __init__(self, target: str) -> None:
        self.lines_dropped = 0
        self._records: list[RequestRecord] = []
        self._lines: list[str] = []
        self._batches: queue.Queue[tuple[bytes, int] | None] = queue.Queue(BATCHES_MAX)
        self._has_failed = False
        self._fd = _open(target)
        self._thread = threading.Thread(target=self._write_batches, name="access-log", daemon=True)
        if self._fd >= 0:
            self._thread.start()

    def add(self, record: RequestRecord) -> None:
        """Takes a finished request."""
        if self._fd >= 0:
            self._records.append(record)
            if len(self._records) >= LINES_AT_ONCE:
                self._make_lines()

    def flush(self) -> None:
        """Hands the lines so far to the writer. Call it several times a second."""
        self._make_lines()
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        try:
            self._batches.put_nowait(("\n".join(lines).encode() + b"\n", len(lines)))
        except queue.Full:
            self.lines_dropped += len(lines)

    def _make_lines(self) -> None:
        self._lines += [log_line(record) for record in self._records]
        self._records.clear()

    def close(self) -> None:
        """Writes what is left and ends the thread; waits at most a second for a stalled target."""
        self.flush()
        if self._fd < 0:
            return
        try:
            self._batches.put(None, timeout=1.0)
        except queue.Full:
            return
        self._thread.join(timeout=1.0)
        if not self._thread.is_alive() and self._fd > 2:
            os.close(self._fd)
        self._fd = -1

    def _write_batches(self) -> None:
        while (batch := self._batches.get()) is not None:
            data, count = batch
            view = memoryview(data)
            try:
                while view:
                    view = view[os.write(self._fd, view) :]
                self._has_failed = False
            except OSError as error:
                self.lines_dropped += count
                if not self._has_failed:
                    _log.error("access log can't be written, lines are dropped until it can: %s", error)
                self._has_failed = True


def _open(target: str) -> int:
    if target == "off":
        return -1
    if target in ("stdout", "stderr"):
        return 1 if target == "stdout" else 2
    path = Path(target)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise StartError(
            f"The access log {target} can't be opened: {error.strerror}.",
            hint="in spec.gateway.accessLog name a file in a folder that you may write, or `stdout`, `stderr` or `off`",
        ) from error
