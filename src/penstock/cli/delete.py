"""`penstock delete FILE|NAME`: takes a fleet out of a cluster. Volumes stay, unless told otherwise.

Exit codes: 0 it is gone, 1 something is left (it is said why) or the answer was no, 2 wrong use, or nobody is there
to ask; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.kube_options import ClusterName, ContextName, NamespaceName
from penstock.cli.output import Output, OutputOption, print_json, say, warn

if TYPE_CHECKING:
    from penstock.cli.kube_name import Wanted
    from penstock.operate.apply.planning import Step
    from penstock.operate.io.kubernetes.deleting import Left

__all__ = ["register"]

_Option = typer.Option


def register(app: typer.Typer) -> None:
    """Adds `delete` to the command line."""
    app.command()(delete)


def delete(
    fleet: Annotated[str, typer.Argument(metavar="FILE|NAME", help="Fleet file, or the name of a fleet.")],
    *,
    context: ContextName = None,
    namespace: NamespaceName = None,
    cluster: ClusterName = None,
    volumes: Annotated[bool, _Option("--volumes", help="Delete its volumes too, and what is on them.")] = False,
    yes: Annotated[bool, _Option("--yes", "-y", help="Do not ask.")] = False,
    wait: Annotated[bool, _Option("--wait/--no-wait", help="Wait until all is gone.")] = True,
    timeout: Annotated[float, _Option(min=0.0, metavar="S", help="Longest wait, seconds.")] = 600.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Delete a fleet from a cluster: what was applied for it, in reverse order, with what hangs on it.

    Namespaces, the definition of fleets and what another fleet uses stay; so do volumes, without --volumes.
    """
    from penstock.cli.kube_apply import agreed  # noqa: PLC0415 — start-up time
    from penstock.cli.kube_name import wanted_fleet  # noqa: PLC0415 — start-up time
    from penstock.cli.kube_target import in_loop  # noqa: PLC0415 — start-up time
    from penstock.operate.apply.planning import Action  # noqa: PLC0415 — start-up time

    wanted = wanted_fleet(fleet, context=context, namespace=namespace, cluster=cluster)
    steps, notes, place = in_loop(lambda: _planned(wanted, with_volumes=volumes), resumes="Nothing was deleted.")
    for note in notes:
        warn(note)
    going = [step for step in steps if step.action is not Action.KEEP]
    for step in steps:
        say(_line(step))
    left: list[Left] = []
    if not going:
        say(f"there is nothing of fleet {wanted.name} in {place}")
    elif not yes and not agreed(f"{len(going)} objects of fleet {wanted.name} in {place} are deleted. Go on?"):
        say("nothing was deleted")
        raise typer.Exit(1)
    else:
        resumes = "What is deleted is gone; `penstock delete` goes on with the rest."
        left = in_loop(lambda: _deleted(wanted, steps, timeout if wait else None), resumes=resumes)
    if output is Output.JSON:
        print_json(_record(wanted, steps, left))
    for entry in left:
        say(f"left: {entry.ref}: {entry.reason}")
    if left:
        raise typer.Exit(1)
    if going:
        say("deleted")


def _line(step: Step) -> str:
    match step.action.value:
        case "prune":
            return f"  - delete {step.ref}"
        case "keep" if step.ref.kind == "PersistentVolumeClaim":
            return f"  = keep {step.ref}: it holds data; --volumes deletes it"
        case _:
            return f"  = {step.action} {step.ref}: {step.reason}"


async def _planned(wanted: Wanted, *, with_volumes: bool) -> tuple[tuple[Step, ...], tuple[str, ...], str]:
    from penstock.cli.kube_name import found_fleet  # noqa: PLC0415 — start-up time
    from penstock.operate.io.kubernetes.deleting import plan_delete  # noqa: PLC0415 — start-up time

    async with found_fleet(wanted) as here:
        steps, notes = await plan_delete(here.api, here.name, here.namespace, with_volumes=with_volumes)
        return steps, notes, f"namespace {here.namespace} of {here.api.context or here.api.url}"


async def _deleted(wanted: Wanted, steps: tuple[Step, ...], timeout_s: float | None) -> list[Left]:
    from penstock.cli.kube_name import found_fleet  # noqa: PLC0415 — start-up time
    from penstock.operate.io.kubernetes.deleting import delete_steps  # noqa: PLC0415 — start-up time

    async with found_fleet(wanted) as here:
        return await delete_steps(
            here.api,
            steps,
            fleet=here.name,
            namespace=here.namespace,
            timeout_s=timeout_s,
            done=lambda step: say(f"  {step.ref.short} deleted"),
        )


def _record(wanted: Wanted, steps: tuple[Step, ...], left: list[Left]) -> dict[str, object]:
    return {
        "fleet": wanted.name,
        "steps": [
            {"kind": step.ref.kind, "name": step.ref.name, "action": step.action.value, "reason": step.reason}
            for step in steps
        ],
        "left": [{"kind": entry.ref.kind, "name": entry.ref.name, "reason": entry.reason} for entry in left],
    }
