"""A group of tasks whose first failure comes out as itself, so that callers catch what was meant and not a group."""

from __future__ import annotations

import asyncio
from types import TracebackType

from penstock.errors import PenstockError

__all__ = ["Together"]


class Together(asyncio.TaskGroup):
    """Like a TaskGroup. A failure of the block alone comes out as it is; of several that are ours, the first is raised;
    anything else as a group."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await super().__aexit__(kind, error, trace)
        except BaseExceptionGroup as failures:
            if failures.exceptions == (error,):
                return  # and it goes on by itself: so a generator can be closed inside the block
            found, _ = failures.split(PenstockError)
            if found is None:
                raise
            first: BaseException = found
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            raise first from None
