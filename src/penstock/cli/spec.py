"""`penstock spec`: checks a fleet file, prints its JSON Schema, its CustomResourceDefinition and its reference page.

Starts nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.files import load_fleet_file
from penstock.cli.output import Output, OutputOption, print_error, print_json, print_text
from penstock.errors import SpecError

if TYPE_CHECKING:
    from penstock.spec import Fleet

__all__ = ["register"]

_spec = typer.Typer(no_args_is_help=True, help="Check fleet files; print what they may say.")


def register(app: typer.Typer) -> None:
    """Adds `spec` to the command line."""
    app.add_typer(_spec, name="spec")


@_spec.command()
def check(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Fleet file; `-` reads stdin.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Read a fleet file and tell every problem in it. Exit code 2 when there is one."""
    try:
        fleet = load_fleet_file(file)
    except SpecError as error:
        if output is Output.JSON:
            print_json({"file": file, "is_valid": False, "problems": error.problems})
            raise typer.Exit(error.exit_code) from None
        print_error(error)
        raise typer.Exit(error.exit_code) from None
    if output is Output.JSON:
        print_json({"file": file, "is_valid": True, "problems": [], **_facts(fleet)})
    else:
        print_text(f"{file}: ok: {_summary(fleet)}")


@_spec.command()
def schema() -> None:
    """Print the JSON Schema of fleet files, for editors."""
    from penstock.spec.schema import fleet_schema  # noqa: PLC0415 — start-up time

    print_json(fleet_schema())


@_spec.command()
def reference() -> None:
    """Print the reference page of fleet files, as Markdown."""
    from penstock.spec.reference import reference_page  # noqa: PLC0415 — start-up time

    print_text(reference_page().rstrip())


@_spec.command()
def crd(output: OutputOption = Output.TABLE) -> None:
    """Print the CustomResourceDefinition of fleets, for `kubectl apply -f -`: YAML, or JSON with `--output json`."""
    from penstock.plan.manifests import Manifest, Wave, emit  # noqa: PLC0415 — start-up time
    from penstock.spec.crd import fleet_crd  # noqa: PLC0415 — start-up time

    definition = fleet_crd()
    if output is Output.JSON:
        print_json(definition)
    else:
        print_text(emit(Manifest(body=definition, wave=Wave.CLUSTER, file="crd")).rstrip())


def _summary(fleet: Fleet) -> str:
    models = ", ".join(
        f"{model.name} ×{model.replicas if model.endpoints is None else len(model.endpoints)}"
        for model in fleet.spec.models
    )
    tenants = len(fleet.spec.gateway.tenants)
    return (
        f"{_counted(len(fleet.spec.models), 'model')} ({models}), {_counted(tenants, 'tenant')}, "
        f"gateway on {fleet.spec.gateway.listen}, admin on {fleet.spec.gateway.admin}"
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _facts(fleet: Fleet) -> dict[str, object]:
    return {
        "fleet": fleet.metadata.name,
        "models": [
            {
                "name": model.name,
                "aliases": model.aliases,
                "replicas": model.replicas if model.endpoints is None else len(model.endpoints),
                "endpoints": model.endpoints,
            }
            for model in fleet.spec.models
        ],
        "tenants": [tenant.name for tenant in fleet.spec.gateway.tenants],
        "listen": fleet.spec.gateway.listen,
        "admin": fleet.spec.gateway.admin,
    }
