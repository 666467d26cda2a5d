"""What a person sees while models are moved: a bar with rate and time left on a terminal, plain lines elsewhere.

Everything goes to stderr. Also turns SIGTERM, which ends a pod, into an end in good order.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from penstock.cli.output import say, stderr_console
from penstock.errors import PenstockError
from penstock.operate.io.storage import Progress, Stop
from penstock.operate.storage import shown_bytes

__all__ = ["Lines", "moving", "shown_seconds"]

_LINE_EVERY_S = 10.0
"""Between two plain lines: a log of an hour's pull stays readable."""
_RATE_WINDOW_S = 20.0


def shown_seconds(seconds: float) -> str:
    """A time left as people read it: `40 s`, `12 min`, `3 h 5 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class Lines:
    """Progress as plain lines, a few in a minute. Owned by the command; called from one thread at a time."""

    def __init__(
        self, verb: str, *, write: Callable[[str], None] = say, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._verb, self._write, self._clock = verb, write, clock
        self._total = self._done = 0
        self._said_at = clock()
        self._marks: list[tuple[float, int]] = []

    def start(self, total: int, present: int) -> None:
        """The transfer begins."""
        self._total, self._done = total, present
        self._said_at = self._clock()
        self._marks = [(self._said_at, present)]
        here = f", {shown_bytes(present)} of them here already" if present else ""
        self._write(f"{self._verb}: {shown_bytes(total)}{here}")

    def add(self, count: int) -> None:
        """So many bytes more."""
        self._done += count
        now = self._clock()
        if now - self._said_at < _LINE_EVERY_S:
            return
        self._said_at = now
        self._marks = [mark for mark in self._marks if now - mark[0] <= _RATE_WINDOW_S] or self._marks[-1:]
        since, before = self._marks[0]
        self._marks.append((now, self._done))
        rate = (self._done - before) / (now - since) if now > since else 0.0
        left = f", about {shown_seconds((self._total - self._done) / rate)} left" if rate > 0 else ""
        share = self._done * 100 // self._total if self._total else 100
        self._write(f"{shown_bytes(self._done)} of {shown_bytes(self._total)} ({share} %), {shown_bytes(rate)}/s{left}")


@contextmanager
def moving(verb: str) -> Iterator[tuple[Progress, Stop]]:
    """Progress on stderr, and a stop that SIGTERM and Ctrl-C pull."""
    stop = Stop()
    with _ended_by_signals(stop):
        if sys.stderr.isatty():
            with _bar(verb) as progress:
                yield progress, stop
        else:
            lines = Lines(verb)
            yield Progress(on_start=lines.start, on_bytes=lines.add, on_words=say), stop


@contextmanager
def _bar(verb: str) -> Iterator[Progress]:
    from rich.progress import (  # noqa: PLC0415 — start-up time
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Bar  # noqa: PLC0415 — start-up time

    columns = (TextColumn(verb), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Bar(*columns, console=stderr_console(), transient=True) as bar:
        task = bar.add_task(verb, total=None, visible=False)
        yield Progress(
            on_start=lambda total, present: bar.reset(task, total=total, completed=present, visible=True),
            on_bytes=lambda count: bar.advance(task, count),
            on_words=lambda words: bar.console.print(words, markup=False),
        )


@contextmanager
def _ended_by_signals(stop: Stop) -> Iterator[None]:
    """SIGTERM and Ctrl-C end the work at its next chunk; what was fetched stays. A second Ctrl-C ends it at once."""

    def end(number: int, _frame: object) -> None:
        name = signal.Signals(number).name
        stop.because(PenstockError(f"ended by {name}", hint="what was fetched stays: run the same command again"))
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, before[signal.SIGINT])
            raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
