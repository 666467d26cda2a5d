"""From a fleet file on disk to what it is in each cluster: what `render`, `apply`, `diff` and `delete` begin with.

Guarantees: everything that cannot be rendered is told at once, each with its place in the file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from penstock.cli.calibrations import calibration_texts
from penstock.cli.files import architecture_of, read_text
from penstock.errors import SpecError, UsageError
from penstock.plan.demand import Demand
from penstock.plan.manifests.findings import is_namespace
from penstock.plan.manifests.render import settle
from penstock.plan.manifests.site import Site
from penstock.spec import ClusterSpec, Fleet, ModelSpec
from penstock.spec.base import Finding
from penstock.spec.document import parse_document
from penstock.spec.loader import load_fleet

__all__ = ["load_sites"]


def load_sites(file: str, *, cluster: str | None = None, namespace: str | None = None) -> tuple[Site, ...]:
    """The fleet in each of its clusters, or in the one named `cluster`; `-` is stdin.

    Raises:
        UsageError: the file cannot be read, there is no such cluster, or no namespace may be called so.
        SpecError: the file is wrong, or says something that cannot be rendered.
    """
    if namespace is not None and not is_namespace(namespace):
        raise UsageError(
            f"--namespace {namespace}: no namespace may be called so",
            hint="at most 63 lower-case letters, digits and `-`",
        )
    text = read_text(file)
    shown = "<stdin>" if file == "-" else file
    fleet = load_fleet(text, shown)
    folder = Path() if file == "-" else Path(file).parent
    sites: list[Site] = []
    for spec in _clusters(fleet, cluster, shown):
        settled = settle(
            fleet,
            text,
            architecture_of=architecture_of,
            demand_of=_demand_of(fleet, folder),
            namespace=namespace,
            cluster=spec,
            calibrations=calibration_texts(fleet, folder),
        )
        if settled.site is None:
            raise _refused(settled.findings, text, shown)
        sites.append(settled.site)
    return tuple(sites)


def _clusters(fleet: Fleet, wanted: str | None, shown: str) -> tuple[ClusterSpec | None, ...]:
    known = fleet.spec.clusters
    if wanted is None:
        return tuple(known) or (None,)
    found = tuple(entry for entry in known if entry.name == wanted)
    if not found:
        names = ", ".join(entry.name for entry in known)
        hint = f"it names {names}" if names else "it names none under spec.clusters: leave --cluster out"
        raise UsageError(f"{shown} has no cluster {wanted!r}", hint=hint)
    return found


def _demand_of(fleet: Fleet, folder: Path) -> Callable[[ModelSpec], Demand | None] | None:
    """Reads traces, where a model has one: most have none, and reading them takes modules that start slowly."""
    if not any(model.demand is not None and model.demand.trace for model in fleet.spec.models):
        return None
    from penstock.cli.plan_asks import PlanOptions, traced_demand  # noqa: PLC0415 — start-up time

    return lambda model: traced_demand(model, PlanOptions(), folder)


def _refused(findings: tuple[Finding, ...], text: str, shown: str) -> SpecError:
    document = parse_document(text, shown)
    problems = [document.problem(found.at, found.message, found.hint) for found in findings]
    return SpecError(sorted(problems, key=lambda problem: (problem.line, problem.column)))
