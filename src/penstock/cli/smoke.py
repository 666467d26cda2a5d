"""`penstock smoke URL`: does every model of an OpenAI-compatible API answer?

Exit codes: 0 every check passed, 1 a check failed, 2 the command line is wrong.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.output import Output, OutputOption, console, print_json

if TYPE_CHECKING:
    from penstock.simulate.io.smoke import Check

__all__ = ["register"]

_MARKS = {"ok": "[green]✓[/green]", "failed": "[red]✗[/red]", "absent": "[dim]–[/dim]"}


def register(app: typer.Typer) -> None:
    """Adds `smoke` to the command line."""
    app.command()(smoke)


def smoke(
    url: Annotated[str, typer.Argument(metavar="URL", help="The API, with or without /v1.")],
    key: Annotated[
        str, typer.Option(envvar=["PENSTOCK_KEY", "OPENAI_API_KEY"], help="API key.", show_default=False)
    ] = "",
    model: Annotated[
        list[str] | None, typer.Option(help="Only this model; repeatable. Default: all that are listed.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="Longest wait for one answer.")] = 60.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """List the models, then try one chat, one stream and one embedding on each that has them."""
    from penstock.simulate.io.calls import Target  # noqa: PLC0415 — start-up time
    from penstock.simulate.io.smoke import run_smoke  # noqa: PLC0415 — start-up time

    target = Target.of(url, key)
    show = _print_check if output is Output.TABLE else _ignore
    checks = asyncio.run(run_smoke(target, models=model or (), timeout_s=timeout, on_check=show))
    is_ok = all(check.verdict != "failed" for check in checks)
    if output is Output.JSON:
        print_json({"url": target.origin, "is_ok": is_ok, "checks": checks})
    else:
        _print_verdict(checks)
    if not is_ok:
        raise typer.Exit(1)


def _ignore(_check: Check) -> None:
    pass


def _print_check(check: Check) -> None:
    from rich.markup import escape  # noqa: PLC0415 — start-up time

    what = f"{check.model} {check.name}".strip()
    said = f"not for this model: {check.said}" if check.verdict == "absent" else check.said
    out = console()
    out.print(f"{_MARKS[check.verdict]} {escape(what)}  [dim]{check.ms:.0f} ms[/dim]  {escape(said)}")
    if check.advice:
        out.print(f"    → {escape(check.advice)}")


def _print_verdict(checks: list[Check]) -> None:
    failed = sum(check.verdict == "failed" for check in checks)
    passed = sum(check.verdict == "ok" for check in checks)
    words = f"[red]{failed} failed[/red], {passed} passed" if failed else f"[green]all {passed} checks passed[/green]"
    console().print(words)
