"""`penstock preflight FILE`: whether a cluster can run a fleet, before anything is applied.

Exit codes: 0 it can, 1 something fails, 2 wrong use. Warnings and what could not be looked at do not fail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.kube_options import AllClusters, ClusterName, ContextName, FleetFile, NamespaceName
from penstock.cli.output import Output, OutputOption, print_json, print_table, print_text, say

if TYPE_CHECKING:
    from penstock.cli.kube_target import Place, Reached
    from penstock.operate.preflight import Check
    from penstock.plan.manifests import ModelNeeds

__all__ = ["register"]

_Option = typer.Option


def register(app: typer.Typer) -> None:
    """Adds `preflight` to the command line."""
    app.command()(preflight)


def preflight(
    file: FleetFile,
    *,
    context: ContextName = None,
    namespace: NamespaceName = None,
    cluster: ClusterName = None,
    all_clusters: AllClusters = False,
    gpu_test: Annotated[
        bool, _Option("--gpu-test", help="Also run a throw-away pod on a GPU of each kind: nvidia-smi, then gone.")
    ] = False,
    timeout: Annotated[float, _Option(min=1.0, metavar="S", help="How long such a pod may take.")] = 180.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Ask a cluster whether it can run a fleet: version, operators, Secrets, volumes, GPUs, drivers, room, rights.

    Changes nothing, but for --gpu-test. Each object is tried with a dry run, so admission and rights are asked too.
    """
    from penstock.cli.kube_target import in_loop, places, reached  # noqa: PLC0415 — start-up time

    chosen = places(file, context=context, namespace=namespace, cluster=cluster, all_clusters=all_clusters)

    async def ask(place: Place) -> tuple[str, tuple[Check, ...]]:
        async with reached(place) as here:
            return here.api.context or here.api.url, await _checks(here, is_testing=gpu_test, timeout_s=timeout)

    records = []
    is_failed = False
    for place in chosen:
        where, checks = in_loop(lambda place=place: ask(place))  # type: ignore[misc]
        records.append({"cluster": place.name or where, "checks": checks})
        is_failed |= _show(place.name or where, checks, output)
    if output is Output.JSON:
        print_json(records if all_clusters else records[0])
    if is_failed:
        raise typer.Exit(1)


async def _checks(here: Reached, *, is_testing: bool, timeout_s: float) -> tuple[Check, ...]:
    from penstock.operate.io.kubernetes.gpu_pod import run_gpu_test  # noqa: PLC0415 — start-up time
    from penstock.operate.io.kubernetes.survey import survey_cluster  # noqa: PLC0415 — start-up time
    from penstock.operate.preflight import check_cluster  # noqa: PLC0415 — start-up time
    from penstock.plan.manifests.gpu_sharing import gpu_resource  # noqa: PLC0415 — start-up time

    version = await here.api.version()
    bundle = here.target.bundle
    survey = await survey_cluster(here.api, bundle, here.site.namespace, version=version)
    checks = list(check_cluster(here.site, bundle, survey))
    kinds: dict[tuple[str, str], ModelNeeds] = {}
    for needs in here.site.needs.values() if is_testing else ():
        resource = gpu_resource(here.site, needs)
        if resource is not None:
            kinds.setdefault((needs.gpu.name, resource), needs)
    for (_, resource), needs in kinds.items():
        checks.append(await run_gpu_test(here.api, here.site, needs, resource, timeout_s=timeout_s))
    return tuple(checks)


def _show(where: str, checks: tuple[Check, ...], output: Output) -> bool:
    """Prints the answers; whether any of them fails."""
    from penstock.operate.preflight import Status  # noqa: PLC0415 — start-up time

    counts = {status: sum(check.status is status for check in checks) for status in Status}
    if output is Output.TABLE:
        rows = [(check.status.value, check.id, check.about, check.message) for check in checks]
        print_table(("", "question", "about", "answer"), rows, title=f"cluster {where}")
        for check in checks:
            if check.hint and check.status is not Status.OK:
                print_text(f"  {check.id} {check.about}: {check.hint}".replace(" :", ":"))
    told = ", ".join(f"{count} {status.value}" for status, count in counts.items() if count)
    say(f"{where}: {told}")
    return counts[Status.FAILED] > 0
