"""`penstock models`: pulls models into a store that engines serve from, verifies, lists, backs up and clears them.

Exit codes: 0 done, or already there and valid; 1 failed, and another try may help (network, full disk), or `verify`
found something; 2 wrong use, and another try will not help (no such model, no access, no weights, wrong options);
130 interrupted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.output import Output, OutputOption

__all__ = ["register"]

_DIR = "models"
_Option = typer.Option
_Store = Annotated[
    Path,
    _Option("--to", "--dir", metavar="DIR", envvar="PENSTOCK_MODELS_DIR", help="The model store.", show_default=True),
]
_Revision = Annotated[
    str | None, _Option(metavar="REV", help="Commit, tag or branch; for other sources what to call the content.")
]
_Model = Annotated[list[str] | None, _Option(metavar="NAME", help="With a fleet file: only this model; repeatable.")]
_Quick = Annotated[
    bool, _Option("--quick", help="Leave hashes out: names, sizes, headers, config, tokenizer, template.")
]
_Yes = Annotated[bool, _Option("--yes", "-y", help="Do not ask.")]


def register(app: typer.Typer) -> None:
    """Adds `models` to the command line."""
    models = typer.Typer(help="Pull, verify, list, back up and clear models.", no_args_is_help=True)
    for command in (pull, verify, backup, restore, gc):
        models.command()(command)
    models.command("list")(list_)
    app.add_typer(models, name="models")


def pull(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE|FLEET.yaml", help="org/name, hf://, s3://, gs://, az://, oci://, a folder.")
    ],
    *,
    to: _Store = Path(_DIR),
    revision: _Revision = None,
    model: _Model = None,
    name: Annotated[
        str | None, _Option(metavar="NAME", help="What to call it in the store. Default: by SOURCE.")
    ] = None,
    include: Annotated[list[str] | None, _Option(metavar="GLOB", help="Fetch these too.", show_default=False)] = None,
    exclude: Annotated[list[str] | None, _Option(metavar="GLOB", help="Fetch these not.", show_default=False)] = None,
    allow_pickle: Annotated[bool, _Option("--allow-pickle", help="Take weights that run code when loaded.")] = False,
    workers: Annotated[int, _Option(min=1, max=64, metavar="N", help="Files fetched at once.")] = 8,
    check_hashes: Annotated[
        bool, _Option("--check-hashes", help="Read what is there in full before it counts.")
    ] = False,
    current: Annotated[bool, _Option("--current", help="Point the link DIR/NAME/current at the revision.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Fetch models, verify them, and publish them in a store: DIR/NAME/REVISION.

    Run again, it continues what was cut, mends what is damaged, and does nothing where all is there and valid.
    """
    from penstock.cli.models_pull import run_pull  # noqa: PLC0415 — start-up time
    from penstock.operate.io.storage import PullOptions  # noqa: PLC0415 — start-up time

    options = PullOptions(
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        allows_pickle=allow_pickle,
        workers=workers,
        checks_hashes=check_hashes,
        sets_current=current,
    )
    run_pull(source, to, revision=revision, models=model or (), name=name, options=options, output=output)


def verify(
    what: Annotated[
        str | None,
        typer.Argument(metavar="[DIR|NAME|FLEET.yaml]", help="A model's folder, a name, a fleet. Default: all."),
    ] = None,
    *,
    to: _Store = Path(_DIR),
    revision: _Revision = None,
    quick: _Quick = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Check names, sizes, hashes, safetensors headers and index, config, tokenizer and chat template."""
    from penstock.cli.models_verify import run_verify  # noqa: PLC0415 — start-up time

    run_verify(what, to, revision=revision, is_quick=quick, output=output)


def list_(*, to: _Store = Path(_DIR), output: OutputOption = Output.TABLE) -> None:
    """Show what the store holds."""
    from penstock.cli.models_store import run_list  # noqa: PLC0415 — start-up time

    run_list(to, output=output)


def backup(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `models list` shows it, or as it was pulled.")],
    destination: Annotated[str, typer.Argument(metavar="DEST", help="A folder, s3://bucket/prefix, gs://… or az://….")],
    *,
    to: _Store = Path(_DIR),
    revision: _Revision = None,
    check_all: Annotated[
        bool, _Option("--check-all", help="Read back what the backup had already, too; mend what has gone bad.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Copy a model to a second place, each content once, and read it back before saying that it is there."""
    from penstock.cli.models_backup import run_backup  # noqa: PLC0415 — start-up time

    run_backup(name, destination, to, revision=revision, checks_all=check_all, output=output)


def restore(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The model.")],
    origin: Annotated[str, _Option("--from", metavar="DEST", help="Where `backup` put it.")],
    *,
    to: _Store = Path(_DIR),
    revision: _Revision = None,
    drill: Annotated[bool, _Option("--drill", help="Restore into a folder of its own, verify, remove.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Bring a model back from a backup, verified; with --drill only prove that it would come back."""
    from penstock.cli.models_backup import run_restore  # noqa: PLC0415 — start-up time

    run_restore(name, origin, to, revision=revision, is_drill=drill, output=output)


def gc(
    fleets: Annotated[
        list[str] | None, typer.Argument(metavar="[FLEET.yaml]...", help="Fleet files whose models stay.")
    ] = None,
    *,
    to: _Store = Path(_DIR),
    keep: Annotated[int | None, _Option(min=0, metavar="N", help="Keep the newest N revisions of each model.")] = None,
    older_than: Annotated[
        str, _Option(metavar="AGE", help="Partial pulls and locks younger than this stay: 30m, 12h, 7d.")
    ] = "1d",
    dry_run: Annotated[bool, _Option("--dry-run", help="Only show.")] = False,
    yes: _Yes = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Remove revisions that nobody wants, and what killed pulls left. Shows, asks, then removes.

    Revisions go only when a fleet file or --keep says which stay; what is in use stays.
    """
    from penstock.cli.models_store import run_gc  # noqa: PLC0415 — start-up time

    run_gc(fleets or (), to, keep=keep, older_than=older_than, is_dry=dry_run, is_agreed=yes, output=output)
