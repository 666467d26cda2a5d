"""Background work of the data plane: the one place that starts a task outside a TaskGroup.

Protocol callbacks are not coroutines and so can't open a TaskGroup; what they start is held here until it ends, its
failure is logged, and `close` cancels and awaits what is left.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

__all__ = ["Tasks"]

_log = logging.getLogger("penstock.tasks")


class Tasks:
    """Owns the tasks that it started."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Starts `work`; a failure is logged, never lost."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("background work failed", exc_info=error)

    async def close(self) -> None:
        """Cancels what still runs and waits for it."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
