"""What tenants with their share leave free, while another tenant asks that has less: how much of it.

A tenant that sends inside its share wants a seat when it comes, and not when somebody ends, and an endpoint that is not
busy with others' prompts. How many must be free for that depends on how it sends and what others send. So it is
learned: more each time such a request found none, fewer each time one did, in the proportion at which `MISSED_PART` of
them find none in the long run.

Guarantees: never more than one in `part` of all there are. Pure; owned by a line.
"""

from __future__ import annotations

from math import ceil

__all__ = ["Reserve"]

MISSED_PART = 0.01
"""Of the requests of tenants that have less than their share so many may find none: the bar is on the 99th
percentile."""


class Reserve:
    """How many are kept."""

    __slots__ = ("_kept", "_part")

    def __init__(self, part: int) -> None:
        self._kept = 1.0
        self._part = part

    def kept(self, of: int) -> int:
        """Of so many."""
        return min(ceil(self._kept), of // self._part)

    def asked(self, of: int, *, has_found: bool) -> None:
        """A request of a tenant that had less than its share came, and found one of so many, or none."""
        if has_found:
            self._kept = max(0.0, self._kept - MISSED_PART / (1.0 - MISSED_PART))
        else:
            self._kept = min(self._kept + 1.0, max(1.0, of / self._part))
