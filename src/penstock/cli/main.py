"""The `penstock` command: gathers one module per command, and turns failures into text and an exit code.

Exit codes: 0 ok, 1 failed, 2 usage or bad file, 130 interrupted. A command says that it failed by raising a
`PenstockError`, or `typer.Exit(code)` when it has already said why. Start-up stays fast because command modules import
what is heavy inside their functions.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from penstock import __version__
from penstock.cli import (
    apply,
    bench,
    calibrate,
    controller,
    delete,
    diff,
    doctor,
    engine,
    gateway,
    importing,
    keys,
    models,
    plan,
    preflight,
    render,
    simulate,
    smoke,
    spec,
    status,
    up,
    usage,
    wait,
)
from penstock.cli.output import print_error, print_text, say
from penstock.errors import PenstockError, UsageError

__all__ = ["app", "main", "run"]

app = typer.Typer(
    name="penstock",
    help="One fleet.yaml, a production LLM-serving fleet.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        print_text(f"penstock {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """One fleet.yaml, a production LLM-serving fleet."""


_COMMANDS = (  # the order of `penstock --help`
    up,
    gateway,
    keys,
    usage,
    plan,
    render,
    diff,
    preflight,
    apply,
    status,
    wait,
    delete,
    models,
    simulate,
    calibrate,
    importing,
    doctor,
    controller,
    engine,
    smoke,
    bench,
    spec,
)
for _command in _COMMANDS:
    _command.register(app)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit code."""
    try:
        result = app(args=list(sys.argv[1:] if argv is None else argv), prog_name="penstock", standalone_mode=False)
    except PenstockError as error:
        print_error(error)
        return error.exit_code
    except typer.TyperException as error:
        return _usage_error(error)
    except typer.Abort:
        say("aborted")
        return 130
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our stdout went away, as in `penstock … | head`
        sys.stdout = None  # nothing is flushed at exit
        return 1
    return result if isinstance(result, int) else 0


def _usage_error(error: typer.TyperException) -> int:
    """Prints a wrong command line in our own shape; help where nothing was asked."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        say(error.format_message().rstrip())
        return 2
    path = context.command_path if context is not None else "penstock"
    print_error(UsageError(error.format_message(), hint=f"{path} --help lists what it takes"))
    return 2


def run() -> None:
    """Entry point of the `penstock` script."""
    sys.exit(main())
