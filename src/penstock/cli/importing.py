"""`penstock import`: another tool's file as a fleet, with an account of every value. Starts nothing.

Exit codes: 0 a fleet was written, 2 the file cannot be read as one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.files import architecture_of, read_text
from penstock.cli.output import Output, OutputOption, print_json, print_text, say
from penstock.errors import UsageError

if TYPE_CHECKING:
    from penstock.plan.imports import Imported, Note
    from penstock.spec.document import Document

__all__ = ["register"]

_SHOWN = ("fixed", "proposed", "changed", "left out")
_TITLES = {
    "fixed": "mended",
    "proposed": "wrong or wasteful; `--fix` mends it",
    "changed": "said otherwise in a fleet, or no longer possible",
    "left out": "not carried over",
}


def register(app: typer.Typer) -> None:
    """Adds `import` to the command line."""
    app.command("import")(import_)


def import_(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="Values file of the vLLM production-stack Helm chart; `-` reads stdin."),
    ],
    *,
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the fleet there. Default: stdout.", dir_okay=False)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the fleet. Default: the file's.")] = None,
    gpu: Annotated[
        str | None, typer.Option(metavar="NAME", help="GPU of the nodes, which the chart does not say. Default: H100.")
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what is wrong or wasteful; else it is only said.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Read another tool's file as a fleet: every value carried, changed with a reason, or listed as left out.

    The fleet goes to stdout or `--to`, the account to stderr; `--output json` prints both as data.
    """
    from penstock.facts import find_gpu  # noqa: PLC0415 — start-up time
    from penstock.plan.imports import import_values, mend  # noqa: PLC0415 — start-up time
    from penstock.spec.document import parse_document  # noqa: PLC0415 — start-up time

    if to is not None and to.exists() and not force:
        raise UsageError(f"--to {to}: the file is there already", hint="name another, or add --force")
    document = parse_document(read_text(file), "<stdin>" if file == "-" else file)
    known = find_gpu(gpu).name if gpu is not None else None
    imported = import_values(document.value, name=name or _stem(file), gpu=known, is_fixing=fix)
    imported = mend(imported, architecture_of=architecture_of, is_fixing=fix)
    _write(imported, to, document, output)


def _stem(file: str) -> str:
    return "imported" if file == "-" else Path(file).name.split(".")[0]


def _write(imported: Imported, to: Path | None, document: Document, output: Output) -> None:
    if to is not None:
        try:
            to.write_text(imported.text, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{to} cannot be written: {error.strerror or error}") from error
    if output is Output.JSON:
        notes = [
            {"path": note.path, "line": _line(note, document), "outcome": note.outcome, "message": note.message}
            for note in imported.notes
        ]
        print_json({"fleet": imported.text, "notes": notes})
        return
    if to is None:
        print_text(imported.text.rstrip())
    _account(imported, document)
    if to is not None:
        say(f"\nwritten to {to}; next: penstock plan {to}, penstock render {to}")


def _account(imported: Imported, document: Document) -> None:
    """What became of the values, for people: what was carried as it is only counted."""
    carried = sum(note.outcome == "carried" for note in imported.notes)
    say(f"\n{carried} values carried")
    for outcome in _SHOWN:
        notes = [note for note in imported.notes if note.outcome == outcome]
        if notes:
            say(f"\n{len(notes)} {outcome}: {_TITLES[outcome]}")
        for message in dict.fromkeys(note.message for note in notes):
            for note in (note for note in notes if note.message == message):
                line = _line(note, document)
                say(f"  {document.file}:{line}: {note.path}" if line else f"  {note.path}")
            say(f"      {message}")


def _line(note: Note, document: Document) -> int | None:
    """Where the value stands; None for what sizing found, which points into the fleet."""
    if note.at[:2] == ("spec", "models"):
        return None
    return document.place(note.at, of_key=True).line
