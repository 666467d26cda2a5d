"""What was used, added up: daily sums of ledger entries, questions about them, and a month's use for budgets. Pure.

Guarantees: sums over any grouping of the same entries are equal; days and months are UTC and are those in which a
request arrived. Money is integer micro-dollars.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from penstock.errors import UsageError
from penstock.serve.key_times import parse_span
from penstock.serve.ledger import Entry

__all__ = [
    "GROUPS",
    "MONTH_SCOPES",
    "DayKey",
    "Sums",
    "UsageQuery",
    "UsageReport",
    "add_up",
    "daily",
    "day_of",
    "month_start",
    "parse_query",
    "report",
    "scope_uses",
    "sums_shown",
]

DAYS_MAX = 800
"""Longest span of one question: as long as daily sums are kept."""
DAYS_DEFAULT = 30
_DAY_MS = 86_400_000


class DayKey(NamedTuple):
    """What one row of daily sums is about."""

    day: str
    """`2026-11-21`, UTC."""
    tenant: str
    key_id: str
    key_name: str
    model: str
    traffic_class: str
    outcome: str


@dataclass(slots=True)
class Sums:
    """Use, added up."""

    requests: int = 0
    failed: int = 0
    """Of these: those that did not end `ok`."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reserved_tokens: int = 0
    """Of lost requests, whose own tokens nobody knows."""
    cost_micros: int = 0

    @property
    def tokens(self) -> int:
        """What counts against a budget: prompt and output, and what was reserved for lost requests."""
        return self.prompt_tokens + self.output_tokens + self.reserved_tokens

    def add(self, other: Sums) -> None:
        """Adds another's to these."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))


_SUMS = tuple(f.name for f in fields(Sums))

GROUPS: Mapping[str, tuple[str, ...]] = {
    "tenant": ("tenant",),
    "key": ("tenant", "key_id", "key_name"),
    "model": ("model",),
    "day": ("day",),
    "class": ("traffic_class",),
    "outcome": ("outcome",),
}
"""What use can be told by, and the fields that stand for it."""
MONTH_SCOPES = ("tenant", "key_id", "key_name")
"""Fields that tell whose budget a request counts for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageQuery:
    """A question about use. Days are `YYYY-MM-DD` in UTC, both included."""

    since: str
    until: str
    by: tuple[str, ...] = ("tenant",)
    """Names of `GROUPS`, in the order of the columns."""
    tenant: str | None = None
    """Only this one's."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Fields of `DayKey` that the rows are told by."""
        return tuple(dict.fromkeys(name for group in self.by for name in GROUPS[group]))


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReport:
    """The answer. `total` is the sum of the rows."""

    query: UsageQuery
    rows: list[tuple[tuple[str, ...], Sums]] = field(repr=False)
    """What a row is about, in the order of the query's columns; sorted."""
    total: Sums
    waiting: int = 0
    """Requests of these that are in a journal of this machine and not in the store yet."""

    def shown(self) -> dict[str, Any]:
        """As programs see it."""
        names = self.query.columns
        return {
            "since": self.query.since,
            "until": self.query.until,
            "by": list(self.query.by),
            "rows": [{**dict(zip(names, key, strict=True)), **sums_shown(sums)} for key, sums in self.rows],
            "total": sums_shown(self.total),
            "waiting": self.waiting,
        }


def sums_shown(sums: Sums) -> dict[str, int | float]:
    """Sums as programs see them."""
    return {**{name: getattr(sums, name) for name in _SUMS}, "tokens": sums.tokens, "cost_usd": sums.cost_micros / 1e6}


# ------------------------------------------------------------------------------------------------------- adding up


@lru_cache(maxsize=4096)
def _day(number: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=number)).isoformat()


def day_of(at_ms: int) -> str:
    """The UTC day of a moment in Unix milliseconds."""
    return _day(at_ms // _DAY_MS)


def month_start(now: float) -> str:
    """First day of the calendar month (UTC) of `now`, Unix seconds."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-01")


def daily(entries: Iterable[Entry]) -> dict[DayKey, Sums]:
    """Entries as daily sums."""
    days: dict[DayKey, Sums] = {}
    for entry in entries:
        key = DayKey(
            day_of(entry.at_ms),
            entry.tenant,
            entry.key_id,
            entry.key_name,
            entry.model,
            entry.traffic_class,
            entry.outcome,
        )
        sums = days.get(key)
        if sums is None:
            sums = days[key] = Sums()
        sums.requests += 1
        sums.failed += entry.outcome != "ok"
        sums.prompt_tokens += entry.prompt_tokens or 0
        sums.cached_tokens += entry.cached_tokens or 0
        sums.output_tokens += entry.output_tokens or 0
        sums.reserved_tokens += entry.reserved_tokens
        sums.cost_micros += entry.cost_micros
    return days


def add_up(
    query: UsageQuery, stored: Iterable[tuple[tuple[str, ...], Sums]], waiting: Iterable[Entry] = ()
) -> tuple[dict[tuple[str, ...], Sums], int]:
    """The store's rows for a query and entries that are not in the store yet, by the query's columns; and how many
    entries those were."""
    groups: dict[tuple[str, ...], Sums] = {}
    for key, sums in stored:
        groups.setdefault(key, Sums()).add(sums)
    count = 0
    for day, sums in daily(waiting).items():
        if query.since <= day.day <= query.until and query.tenant in (None, day.tenant):
            count += sums.requests
            groups.setdefault(tuple(getattr(day, name) for name in query.columns), Sums()).add(sums)
    return groups, count


def report(
    query: UsageQuery, stored: Iterable[tuple[tuple[str, ...], Sums]], waiting: Iterable[Entry] = ()
) -> UsageReport:
    """The answer to a query."""
    groups, count = add_up(query, stored, waiting)
    total = Sums()
    for sums in groups.values():
        total.add(sums)
    return UsageReport(query=query, rows=sorted(groups.items(), key=lambda row: row[0]), total=total, waiting=count)


def scope_uses(rows: Iterable[tuple[tuple[str, ...], Sums]]) -> dict[str, tuple[int, int]]:
    """Tokens and micro-dollars by scope, from rows by `MONTH_SCOPES`.

    Scopes are named as the limits name them: `t:TENANT`, `k:KEY_ID`, and `k:TENANT/NAME` for a key of the fleet file.
    """
    uses: dict[str, tuple[int, int]] = {}
    for (tenant, key_id, key_name), sums in rows:
        scopes = [f"t:{tenant}"]
        if key_id or key_name:
            scopes.append(f"k:{key_id}" if key_id else f"k:{tenant}/{key_name}")
        for scope in scopes:
            tokens, micros = uses.get(scope, (0, 0))
            uses[scope] = (tokens + sums.tokens, micros + sums.cost_micros)
    return uses


# ------------------------------------------------------------------------------------------------------- questions


def parse_query(
    *, now: float, since: str | None = None, until: str | None = None, by: str = "tenant", tenant: str | None = None
) -> UsageQuery:
    """The question as people write it: days (`2026-11-01`) or spans back from now (`7d`), and groups with commas.

    Raises:
        UsageError: a day or a group can't be, or the span is empty or too long.
    """
    last = _day_text("until", until, now) if until else _utc_day(now)
    if since:
        first = _day_text("since", since, now)
    else:
        first = (date.fromisoformat(last) - timedelta(days=DAYS_DEFAULT - 1)).isoformat()
    if first > last:
        raise UsageError(f"Nothing lies between {first} and {last}.", hint="`since` is the earlier day")
    if (date.fromisoformat(last) - date.fromisoformat(first)).days >= DAYS_MAX:
        raise UsageError(f"From {first} to {last} is more than {DAYS_MAX} days, and no more are kept.")
    groups = tuple(dict.fromkeys(part.strip() for part in by.split(",") if part.strip()))
    if unknown := [group for group in groups if group not in GROUPS]:
        raise UsageError(f"Use can't be told by {unknown[0][:40]!r}.", hint=f"by any of: {', '.join(GROUPS)}")
    if not groups:
        raise UsageError("By what is use to be told?", hint=f"by any of: {', '.join(GROUPS)}")
    return UsageQuery(since=first, until=last, by=groups, tenant=tenant)


def _utc_day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def _day_text(which: str, text: str, now: float) -> str:
    if text == "today":
        return _utc_day(now)
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        pass
    try:
        return _utc_day(now - min(parse_span(text), DAYS_MAX * 86_400))
    except UsageError as error:
        raise UsageError(
            f"`{which}`: {text[:40]!r} is no day.", hint="write a day in UTC (`2026-11-01`), or a span back (`7d`)"
        ) from error
