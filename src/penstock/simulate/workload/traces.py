"""Readers for recorded request traces: CSV, Mooncake's JSON lines, and tables of rates.

Guarantees: pure (takes lines, opens nothing); rows come out sorted by time with the first one at 0 s; whatever is wrong
with a row is a `UsageError` that names file, line and column of the table. Tables are recognised by their header, not
by the file's name.
Leaves to others: opening and unpacking files (`simulate.io.tracefile`), playing them faster (`request.faster`).
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import Any

from penstock.errors import UsageError
from penstock.serve.flow.ticket import CLASSES
from penstock.simulate.workload.request import BLOCK_TOKENS, TraceRequest

__all__ = ["ROWS_MAX", "RateTable", "read_trace"]

# A trace is held in memory: 2 M rows are about 400 MB. A day of the largest recorded trace has 137 k.
ROWS_MAX = 2_000_000
# Mooncake's clock ticks every 3 s; requests of one tick are spread over it, or they would all come at once.
_MOONCAKE_TICK_S = 3.0
_TOKENS_MAX = 10_000_000
_BLANK = " \t\r\n\ufeff"  # a byte order mark is blank too

_FORMATS_HINT = (
    "known formats: CSV with the columns t_ms,input_tokens,output_tokens (and client or tenant; class), JSON lines "
    "with timestamp, input_length, output_length and hash_ids, CSV of rates with t_s and one column for each model; "
    "plain or .gz"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateTable:
    """Requests per second over time, for each of several models. `None` where nothing was recorded."""

    times_s: tuple[float, ...]
    rates: dict[str, tuple[float | None, ...]]

    def column(self, name: str | None) -> tuple[tuple[float, float], ...]:
        """(time, rate) of one model, the first one when none is named; holes are left out."""
        key = name or next(iter(self.rates))
        if key not in self.rates:
            raise UsageError(f"the rate table has no column '{key}'", hint=f"columns: {', '.join(self.rates)}")
        return tuple((t, r) for t, r in zip(self.times_s, self.rates[key], strict=True) if r is not None)


def read_trace(lines: Iterable[str], *, file: str) -> list[TraceRequest] | RateTable:
    """Read a trace in any known format; a table of rates comes back as a `RateTable`."""
    numbered = ((n, line) for n, line in enumerate(lines, start=1) if line.strip(_BLANK))
    first = next(numbered, None)
    if first is None:
        raise UsageError(f"{file}: the trace is empty", hint=_FORMATS_HINT)
    line = first[1].strip(_BLANK)
    if line.startswith("{"):
        return _read_mooncake(chain([(first[0], line)], numbered), file)
    columns = [c.strip() for c in line.split(",")]
    if columns[0] == "t_s" and len(columns) > 1:
        return _read_rates(numbered, columns, file)
    missing = [c for c in ("t_ms", "input_tokens", "output_tokens") if c not in columns]
    if missing:
        shown = line if len(line) <= 80 else line[:77] + "..."
        raise UsageError(f"{file}:{first[0]}: not a trace header: {shown}", hint=_FORMATS_HINT)
    return _read_csv(numbered, columns, file)


def _read_csv(numbered: Iterator[tuple[int, str]], columns: list[str], file: str) -> list[TraceRequest]:
    t_at, in_at, out_at = (columns.index(c) for c in ("t_ms", "input_tokens", "output_tokens"))
    who_at = next((columns.index(c) for c in ("tenant", "client") if c in columns), None)
    class_at = columns.index("class") if "class" in columns else None
    rows: list[TraceRequest] = []
    for n, line in _bounded(numbered, file):
        cells = next(csv.reader([line]))
        if len(cells) != len(columns):
            raise UsageError(f"{file}:{n}: {len(cells)} cells in a row, the header has {len(columns)} columns")
        rows.append(
            TraceRequest(
                at_s=_number(cells[t_at], f"{file}:{n}: t_ms") / 1000.0,
                prompt_tokens=_tokens(cells[in_at], f"{file}:{n}: input_tokens"),
                output_tokens=_tokens(cells[out_at], f"{file}:{n}: output_tokens"),
                tenant="" if who_at is None else sys.intern(cells[who_at].strip()),
                traffic_class="" if class_at is None else _class(cells[class_at].strip(), f"{file}:{n}: class"),
            )
        )
    return _from_zero(rows, file)


def _read_mooncake(numbered: Iterator[tuple[int, str]], file: str) -> list[TraceRequest]:
    rows = [_mooncake_row(line, f"{file}:{n}") for n, line in _bounded(numbered, file)]
    rows.sort(key=itemgetter(0))
    ticks = [(tick, [row for _, row in group]) for tick, group in groupby(rows, key=itemgetter(0))]
    spread: list[TraceRequest] = []
    for i, (tick_s, group) in enumerate(ticks):
        room_s = _MOONCAKE_TICK_S if i + 1 == len(ticks) else min(_MOONCAKE_TICK_S, ticks[i + 1][0] - tick_s)
        for k, row in enumerate(group):
            spread.append(_moved(row, tick_s + room_s * k / len(group)))
    return _from_zero(spread, file)


def _mooncake_row(line: str, where: str) -> tuple[float, TraceRequest]:
    try:
        row: Any = json.loads(line)
    except ValueError as e:
        raise UsageError(f"{where}: not JSON: {e}") from e
    if not isinstance(row, dict):
        raise UsageError(f"{where}: a JSON object is expected on each line, found {type(row).__name__}")
    for field in ("timestamp", "input_length", "output_length"):
        if field not in row:
            raise UsageError(f"{where}: '{field}' is missing", hint=_FORMATS_HINT)
    blocks = row.get("hash_ids", [])
    if not isinstance(blocks, list) or not all(isinstance(b, int) and not isinstance(b, bool) for b in blocks):
        raise UsageError(f"{where}: hash_ids must be a list of whole numbers")
    prompt_tokens = _tokens(row["input_length"], f"{where}: input_length")
    blocks_max = -(-prompt_tokens // BLOCK_TOKENS)
    if len(blocks) > blocks_max:
        raise UsageError(
            f"{where}: {len(blocks)} hash_ids, but {prompt_tokens} tokens make {blocks_max} blocks of {BLOCK_TOKENS}"
        )
    tick_s = _number(row["timestamp"], f"{where}: timestamp") / 1000.0
    return tick_s, TraceRequest(
        at_s=tick_s,
        prompt_tokens=prompt_tokens,
        output_tokens=_tokens(row["output_length"], f"{where}: output_length"),
        prefix_blocks=tuple(blocks),
    )


def _read_rates(numbered: Iterator[tuple[int, str]], columns: list[str], file: str) -> RateTable:
    times: list[float] = []
    rates: list[list[float | None]] = [[] for _ in columns[1:]]
    for n, line in _bounded(numbered, file):
        cells = [c.strip() for c in line.strip("\r\n").split(",")]
        if len(cells) != len(columns):
            raise UsageError(f"{file}:{n}: {len(cells)} cells in a row, the header has {len(columns)} columns")
        at_s = _number(cells[0], f"{file}:{n}: t_s")
        if times and at_s <= times[-1]:
            raise UsageError(f"{file}:{n}: t_s {cells[0]} does not come after the row before ({times[-1]:g})")
        times.append(at_s)
        for name, cell, column in zip(columns[1:], cells[1:], rates, strict=True):
            column.append(_number(cell, f"{file}:{n}: {name}") if cell else None)
    if not times:
        raise UsageError(f"{file}: the rate table has a header and no rows")
    return RateTable(times_s=tuple(times), rates={c: tuple(r) for c, r in zip(columns[1:], rates, strict=True)})


def _bounded(numbered: Iterator[tuple[int, str]], file: str) -> Iterator[tuple[int, str]]:
    yield from islice(numbered, ROWS_MAX)
    if next(numbered, None) is not None:
        raise UsageError(f"{file}: more than {ROWS_MAX} rows", hint="cut the file into smaller ones")


def _from_zero(rows: list[TraceRequest], file: str) -> list[TraceRequest]:
    if not rows:
        raise UsageError(f"{file}: the trace has a header and no rows")
    rows.sort(key=lambda row: row.at_s)
    start_s = rows[0].at_s
    return [_moved(row, row.at_s - start_s) for row in rows] if start_s else rows


def _moved(row: TraceRequest, at_s: float) -> TraceRequest:
    return TraceRequest(
        at_s=at_s,
        prompt_tokens=row.prompt_tokens,
        output_tokens=row.output_tokens,
        tenant=row.tenant,
        traffic_class=row.traffic_class,
        prefix_blocks=row.prefix_blocks,
    )


def _class(text: str, where: str) -> str:
    if text and text not in CLASSES:
        raise UsageError(f"{where}: there is no class {text!r}", hint=f"classes: {', '.join(CLASSES)}")
    return text


def _number(value: object, where: str) -> float:
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    except ValueError:
        number = None
    if number is None or not 0 <= number < 1e15:  # also refuses NaN and infinity
        raise UsageError(f"{where}: {value!r} is not a number of 0 or more")
    return number


def _tokens(value: object, where: str) -> int:
    number = _number(value, where)
    if number != int(number) or number > _TOKENS_MAX:
        raise UsageError(f"{where}: {value!r} is not a whole number of tokens up to {_TOKENS_MAX}")
    return int(number)
