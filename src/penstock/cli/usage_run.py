"""How `penstock usage` runs: the store's sums, and what this machine's journals have that it lacks."""

from __future__ import annotations

import asyncio
import csv
import io
import time
from collections.abc import Mapping
from pathlib import Path

from penstock.cli.files import read_text
from penstock.cli.key_store import StorePlace, open_usage, store_password, store_place
from penstock.cli.output import print_json, print_table, print_text, say
from penstock.cli.usage import UsageOutput
from penstock.errors import PenstockError
from penstock.serve.usage import (
    Sums,
    UsageQuery,
    UsageReport,
    month_start,
    parse_query,
    report,
    scope_uses,
    sums_shown,
)
from penstock.spec import Fleet
from penstock.spec.loader import load_fleet

__all__ = ["month_uses", "run_usage"]

_WORDS = {"key_name": "key", "traffic_class": "class"}
"""Columns that people know by another name."""


def run_usage(
    file: str,
    *,
    by: str,
    since: str | None,
    until: str | None,
    tenant: str | None,
    output: UsageOutput,
    state_dir: Path | None = None,
) -> None:
    """Prints use.

    Raises:
        UsageError: the question can't be.
        PenstockError: the store is away.
    """
    query = parse_query(now=time.time(), since=since, until=until, by=by, tenant=tenant)
    fleet = load_fleet(read_text(file), "<stdin>" if file == "-" else file)
    told = _ask(store_place(file, fleet, state_dir), fleet, query)
    match output:
        case UsageOutput.JSON:
            print_json(told.shown())
        case UsageOutput.CSV:
            print_text(_csv(told))
        case UsageOutput.TABLE:
            _print(told)
    if not told.rows:
        say(f"nothing was used from {query.since} to {query.until}")
    elif told.waiting:
        say(f"{told.waiting:,} requests of these wait in a journal on this machine to be entered into the store")


def month_uses(place: StorePlace, fleet: Fleet) -> Mapping[str, tuple[int, int]] | None:
    """This month's tokens and micro-dollars by scope; None where the ledger's store can't be read."""
    since = month_start(time.time())
    query = UsageQuery(since=since, until=f"{since[:8]}31", by=("tenant", "key"))
    try:
        return scope_uses(_ask(place, fleet, query).rows)
    except PenstockError as error:
        say(f"what was used this month is not known: {error.message}")
        return None


def _ask(place: StorePlace, fleet: Fleet, query: UsageQuery) -> UsageReport:
    from penstock.serve.io.ledger import read_usage  # noqa: PLC0415 — start-up time

    store = open_usage(place, fleet.metadata.name, lambda: store_password(fleet.spec.gateway))
    rows, waiting = asyncio.run(read_usage(store, place.state / "ledger", query.columns, query))
    return report(query, rows, waiting)


def _print(told: UsageReport) -> None:
    names = [name for name in told.query.columns if name != "key_id"]
    places = [told.query.columns.index(name) for name in names]
    columns = [_WORDS.get(name, name) for name in names]
    counts = ("requests", "failed", "prompt", "cached", "output", "tokens", "USD")
    rows = [(*(key[place] or "-" for place in places), *_cells(sums)) for key, sums in told.rows]
    if len(rows) > 1:
        rows.append(("total", *([""] * (len(names) - 1)), *_cells(told.total)))
    print_table((*columns, *counts), rows)


def _cells(sums: Sums) -> tuple[object, ...]:
    cost = f"{sums.cost_micros / 1e6:,.6f}"
    return (
        *(sums.requests, sums.failed, sums.prompt_tokens, sums.cached_tokens, sums.output_tokens),
        *(sums.tokens, cost),
    )


def _csv(told: UsageReport) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*told.query.columns, *sums_shown(Sums())))
    writer.writerows((*map(_safe, key), *sums_shown(sums).values()) for key, sums in told.rows)
    return text.getvalue().rstrip("\n")


def _safe(cell: str) -> str:
    """A name that a spreadsheet would take for a formula is written as text: names of keys can be anything."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t")) else cell
