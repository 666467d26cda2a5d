"""Every request that is over, in columns: what a report is made of.

Guarantees: a request is entered once, with the outcome that the gateway would log; some 75 bytes each, so that a day of
traffic fits. Rows come out in the order in which they were entered.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple, overload

from penstock.serve.flow.ticket import CLASSES
from penstock.serve.record import OUTCOMES, Outcome
from penstock.spec import TrafficClass

__all__ = ["Ledger", "Row"]

_PLACES = {outcome: place for place, outcome in enumerate(OUTCOMES)}
_NEVER = -1.0


class Row(NamedTuple):
    """One request as its client saw it. Seconds from the start."""

    due_s: float
    first_s: float | None
    """When the first token came; None where none did, and for embeddings."""
    done_s: float
    queue_s: float
    """From the engine seeing it until its first step; -1 where that never came."""
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int
    outcome: Outcome
    waited_s: float = 0.0
    """In the gateway's queue; -1 where it was refused before."""
    tenant: str = ""
    traffic_class: TrafficClass = "interactive"

    @property
    def sent_s(self) -> float:
        return self.due_s

    @property
    def failure(self) -> Outcome | None:
        return None if self.outcome == "ok" else self.outcome

    @property
    def ttft_ms(self) -> float | None:
        return None if self.first_s is None else (self.first_s - self.due_s) * 1000.0

    @property
    def tpot_ms(self) -> float | None:
        """Mean time for each token after the first."""
        if self.first_s is None or self.output_tokens < 2:
            return None
        return (self.done_s - self.first_s) * 1000.0 / (self.output_tokens - 1)

    @property
    def e2e_ms(self) -> float:
        return (self.done_s - self.due_s) * 1000.0


class Ledger(Sequence[Row]):
    """Owned by one run."""

    def __init__(self) -> None:
        self._due, self._first, self._done, self._queue = (array("d") for _ in range(4))
        self._prompt, self._output, self._cached = (array("q") for _ in range(3))
        self._outcome, self._class = array("b"), array("b")
        self._waited = array("d")
        self._tenant = array("i")
        self._tenants: list[str] = []
        self._tenant_places: dict[str, int] = {}

    def add(self, row: Row) -> None:
        """One more request is over."""
        self._due.append(row.due_s)
        self._first.append(_NEVER if row.first_s is None else row.first_s)
        self._done.append(row.done_s)
        self._queue.append(row.queue_s)
        self._prompt.append(row.prompt_tokens)
        self._output.append(row.output_tokens)
        self._cached.append(row.cached_tokens)
        self._outcome.append(_PLACES[row.outcome])
        self._waited.append(row.waited_s)
        self._class.append(CLASSES.index(row.traffic_class))
        place = self._tenant_places.get(row.tenant)
        if place is None:
            place = self._tenant_places[row.tenant] = len(self._tenants)
            self._tenants.append(row.tenant)
        self._tenant.append(place)

    @property
    def tenants(self) -> tuple[str, ...]:
        """Whose requests are over, in the order of the first."""
        return tuple(self._tenants)

    def count(self, value: object) -> int:
        """Requests that ended with this outcome."""
        return self._outcome.count(_PLACES[value]) if value in OUTCOMES else 0

    def __len__(self) -> int:
        return len(self._due)

    def __iter__(self) -> Iterator[Row]:
        return (self._row(place) for place in range(len(self._due)))

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Row]: ...
    def __getitem__(self, place: int | slice) -> Row | Sequence[Row]:
        if isinstance(place, slice):
            return [self._row(n) for n in range(*place.indices(len(self)))]
        return self._row(place)

    def _row(self, place: int) -> Row:
        first = self._first[place]
        return Row(
            self._due[place],
            None if first == _NEVER else first,
            self._done[place],
            self._queue[place],
            self._prompt[place],
            self._output[place],
            self._cached[place],
            OUTCOMES[self._outcome[place]],
            self._waited[place],
            self._tenants[self._tenant[place]],
            CLASSES[self._class[place]],
        )
