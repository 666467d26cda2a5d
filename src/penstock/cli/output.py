"""The one place that prints: data to stdout, words to stderr, `--output table|json` alike for every command.

Colours follow the terminal and `NO_COLOR`. A user's mistake is printed as text, never as a stack trace.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from penstock.errors import PenstockError, SpecError

if TYPE_CHECKING:  # Rich costs 30 ms to import; commands that draw nothing do without
    from rich.console import Console
    from rich.table import Table

__all__ = [
    "Output",
    "OutputOption",
    "console",
    "print_error",
    "print_json",
    "print_table",
    "print_text",
    "say",
    "stderr_console",
    "warn",
]


FILE_COLUMNS_MAX = 2_000
"""Widest table in a file, characters."""


class Output(StrEnum):
    """How a command prints its data."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[
    Output,
    typer.Option("--output", "-o", help="How data is printed on stdout: a table for people, or JSON for programs."),
]
"""Type of the `output` parameter of every command that prints data; its default is `Output.TABLE`."""


def console() -> Console:
    """A Rich console on the present stdout."""
    from rich.console import Console  # noqa: PLC0415 — start-up time

    return Console(file=sys.stdout, highlight=False, soft_wrap=True)


def stderr_console() -> Console:
    """A Rich console on the present stderr: progress bars, live tables, words."""
    from rich.console import Console  # noqa: PLC0415 — start-up time

    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def print_text(text: str) -> None:
    """Prints data as plain text on stdout."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def print_json(value: Any) -> None:
    """Prints data as indented JSON on stdout. Takes what orjson takes: dataclasses, datetimes and enums included."""
    print_text(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode())


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Prints rows as a table on stdout. A column whose values are all numbers is right-aligned; None prints as `-`.
    Nothing is left out for want of room: on a screen it goes on in the next line, in a file lines are as long as need
    be."""
    out, table = console(), _table(columns, [tuple(row) for row in rows], title)
    if not out.is_terminal:
        out.width = max(out.width, out.measure(table, options=out.options.update(width=FILE_COLUMNS_MAX)).maximum)
    out.print(table)


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None) -> Table:
    from rich import box  # noqa: PLC0415 — start-up time
    from rich.table import Table  # noqa: PLC0415 — start-up time
    from rich.text import Text  # noqa: PLC0415 — start-up time

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, title=title, title_justify="left", pad_edge=False)
    for place, column in enumerate(columns):
        values = [row[place] for row in rows]
        is_numeric = bool(values) and all(v is None or isinstance(v, int | float) for v in values)
        table.add_column(column, justify="right" if is_numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text("-" if v is None else str(v)) for v in row))
    return table


def say(words: str) -> None:
    """Says something to the person on stderr."""
    sys.stderr.write(f"{words}\n")
    sys.stderr.flush()


def warn(words: str) -> None:
    """Warns the person on stderr; the command goes on."""
    stderr_console().print(f"[yellow]warning:[/yellow] {_escape(words)}")


def print_error(error: PenstockError) -> None:
    """Prints what failed, and what to do about it, on stderr."""
    err = stderr_console()
    if isinstance(error, SpecError):
        for problem in error.problems:
            err.print(_escape(str(problem)))
        count = len(error.problems)
        err.print(f"[bold red]error:[/bold red] {count} problem{'' if count == 1 else 's'} in the fleet file")
        return
    err.print(f"[bold red]error:[/bold red] {_escape(error.message)}")
    if error.hint:
        err.print(f"  [bold]hint:[/bold] {_escape(error.hint)}")


def _escape(words: str) -> str:
    from rich.markup import escape  # noqa: PLC0415 — start-up time

    return escape(words)
