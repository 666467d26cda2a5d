"""Requests that wait for their first (or, after a preemption, next) step: first come, or by priority.

Removal is lazy: a request that is gone stays in the order, marked, until it comes up.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import Generic, Protocol, TypeVar

__all__ = ["Waiting"]


class _Ranked(Protocol):
    is_waiting: bool

    @property
    def rank(self) -> tuple[int, float, int]: ...


T = TypeVar("T", bound=_Ranked)


class Waiting(Generic[T]):
    """The order of waiting requests; `by_priority` sorts by rank, else by arrival."""

    def __init__(self, *, by_priority: bool) -> None:
        self._by_priority = by_priority
        self._line: deque[T] = deque()
        self._heap: list[tuple[tuple[int, float, int], T]] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def push(self, item: T) -> None:
        """At the end, or where its rank says."""
        self._add(item, at_front=False)

    def push_front(self, item: T) -> None:
        """Before all others (a preempted request), or where its rank says."""
        self._add(item, at_front=True)

    def _add(self, item: T, *, at_front: bool) -> None:
        item.is_waiting = True
        self._count += 1
        if self._by_priority:
            heapq.heappush(self._heap, (item.rank, item))
        elif at_front:
            self._line.appendleft(item)
        else:
            self._line.append(item)

    def remove(self, item: T) -> None:
        """Takes one out, wherever it stands."""
        item.is_waiting = False
        self._count -= 1

    def peek(self) -> T | None:
        """The next one; None when empty."""
        if self._by_priority:
            while self._heap and not self._heap[0][1].is_waiting:
                heapq.heappop(self._heap)
            return self._heap[0][1] if self._heap else None
        while self._line and not self._line[0].is_waiting:
            self._line.popleft()
        return self._line[0] if self._line else None

    def pop(self) -> None:
        """Takes out the one that `peek` gave."""
        item = heapq.heappop(self._heap)[1] if self._by_priority else self._line.popleft()
        self.remove(item)
