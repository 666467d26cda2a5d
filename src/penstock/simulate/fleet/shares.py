"""Who got what of a run: by tenant and by class. Pure.

Guarantees: shares of work add up to 1 where any was done; of more tenants than `TENANTS_MAX` those with the least work
stand together in one row, the last.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

from penstock.serve.flow.ticket import CLASSES
from penstock.simulate.fleet.ledger import Row
from penstock.simulate.workload.report import Spread

__all__ = ["OTHERS", "TENANTS_MAX", "Share", "Shares", "draw_shares"]

TENANTS_MAX = 50
OTHERS = "(others)"
"""Name of the row of all who have no row of their own; no tenant may be called so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One tenant, or one class."""

    name: str
    requests: int
    ok: int
    limited: int
    """Refused by the tenant's limits."""
    lost: int
    """Shed, timed out, or without an endpoint."""
    tokens: int
    """Work: prompt tokens that no cache had, and output tokens, of what was answered."""
    share: float | None
    """Of all work; None where none was done."""
    waited_ms: Spread
    """In a gateway's queue."""
    ttft_ms: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Empty where there is one of a kind only: then it is the whole run."""

    tenants: tuple[Share, ...] = ()
    """The most work first."""
    classes: tuple[Share, ...] = ()
    """In order of precedence."""


class _Sum:
    """What is added up of one name."""

    def __init__(self) -> None:
        self.requests = self.ok = self.limited = self.lost = self.tokens = 0
        self.waited, self.ttft = array("d"), array("d")

    def add(self, row: Row) -> None:
        self.requests += 1
        self.ok += row.outcome == "ok"
        self.limited += row.outcome == "limited"
        self.lost += row.outcome in ("shed", "timeout", "upstream_error")
        if row.outcome == "ok":
            self.tokens += row.prompt_tokens - row.cached_tokens + row.output_tokens
        if row.waited_s >= 0:
            self.waited.append(row.waited_s * 1000.0)
        if row.ttft_ms is not None:
            self.ttft.append(row.ttft_ms)

    def take(self, other: _Sum) -> None:
        self.requests += other.requests
        self.ok += other.ok
        self.limited += other.limited
        self.lost += other.lost
        self.tokens += other.tokens
        self.waited.extend(other.waited)
        self.ttft.extend(other.ttft)

    def drawn(self, name: str, whole: int) -> Share:
        return Share(
            name=name,
            requests=self.requests,
            ok=self.ok,
            limited=self.limited,
            lost=self.lost,
            tokens=self.tokens,
            share=round(self.tokens / whole, 4) if whole else None,
            waited_ms=Spread.of(self.waited),
            ttft_ms=Spread.of(self.ttft),
        )


def draw_shares(rows: Iterable[Row]) -> Shares:
    """Of all requests that are over."""
    tenants: dict[str, _Sum] = {}
    classes: dict[str, _Sum] = {}
    for row in rows:
        for sums, name in ((tenants, row.tenant), (classes, row.traffic_class)):
            found = sums.get(name)
            if found is None:
                found = sums[name] = _Sum()
            found.add(row)
    whole = sum(one.tokens for one in tenants.values())
    return Shares(
        tenants=_tenants(tenants, whole) if len(tenants) > 1 else (),
        classes=tuple(classes[name].drawn(name, whole) for name in CLASSES if name in classes)
        if len(classes) > 1
        else (),
    )


def _tenants(sums: dict[str, _Sum], whole: int) -> tuple[Share, ...]:
    ordered = sorted(sums.items(), key=lambda item: (-item[1].tokens, -item[1].requests, item[0]))
    kept = ordered if len(ordered) <= TENANTS_MAX else ordered[: TENANTS_MAX - 1]
    rows = [one.drawn(name, whole) for name, one in kept]
    if len(kept) < len(ordered):
        others = _Sum()
        for _, one in ordered[len(kept) :]:
            others.take(one)
        rows.append(others.drawn(OTHERS, whole))
    return tuple(rows)
