"""What a long-running command hears from outside: signals, and changes of the fleet file."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

__all__ = ["Signals", "heed_signals", "watch_file", "watch_files"]

_LOOK_S = 1.0
"""A file has no wake-up without a dependency; a look costs microseconds."""
_SETTLE_S = 0.2
"""A file is read once it stays the same this long: an editor writes in several steps."""


class Signals:
    """What was asked for. `stop`: end in good order; `hurry`: end now; `reload`: read the file again."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()
        self.reload = asyncio.Event()

    def ask_to_stop(self) -> None:
        """The first time in good order, the second time now."""
        (self.hurry if self.stop.is_set() else self.stop).set()


@contextmanager
def heed_signals(*, hang_up: Callable[[Signals], None], heeds_nohup: bool) -> Iterator[Signals]:
    """Ctrl-C and SIGTERM ask to stop; `hang_up` says what SIGHUP means.

    `heeds_nohup`: a SIGHUP that `nohup` had ignored stays ignored, as it must where it would end the command.
    """
    heard, loop = Signals(), asyncio.get_running_loop()
    numbers = [signal.SIGINT, signal.SIGTERM]
    for number in numbers:
        loop.add_signal_handler(number, heard.ask_to_stop)
    if not heeds_nohup or signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGHUP, hang_up, heard)
        numbers.append(signal.SIGHUP)
    try:
        yield heard
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def watch_file(path: str, changed: Callable[[], None]) -> None:
    """Calls `changed` after each change of the file, until cancelled. A file that vanishes is waited for."""
    await watch_files(lambda: [path], changed)


async def watch_files(paths: Callable[[], Sequence[str]], changed: Callable[[], None]) -> None:
    """Calls `changed` after each change of any of the files, until cancelled. `paths` may change in between.

    While the first is missing nothing is a change; any other may come and go.
    """
    known = _signatures(paths())
    while True:
        await asyncio.sleep(_LOOK_S)
        seen = _signatures(paths())
        if seen == known or seen[0] is None:
            continue
        await asyncio.sleep(_SETTLE_S)
        if _signatures(paths()) == seen:
            known = seen
            changed()


def _signatures(paths: Sequence[str]) -> list[tuple[int, int, int] | None]:
    return [_signature(path) for path in paths]


def _signature(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
