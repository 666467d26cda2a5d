"""Which GPUs of this machine each replica gets: the ones that the fewest others are on. Pure.

Guarantees that replicas spread before they share. Sharing is allowed, as two small models fit on one GPU when the file
bounds their memory; where they do not fit, vLLM says so itself.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["Devices"]


class Devices:
    """The GPUs of one machine, and how many replicas are on each. Owned by whoever starts the replicas."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._replicas = dict.fromkeys(ids, 0)

    def take(self, count: int) -> tuple[str, ...]:
        """The `count` GPUs that are used least, in the machine's order; all of them where there are fewer."""
        order = list(self._replicas)
        least_used = sorted(order, key=lambda device: self._replicas[device])[:count]
        for device in least_used:
            self._replicas[device] += 1
        return tuple(sorted(least_used, key=order.index))

    def give_back(self, taken: Sequence[str]) -> None:
        """A replica that took these is gone."""
        for device in taken:
            self._replicas[device] -= 1
