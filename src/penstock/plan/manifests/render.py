"""A fleet as everything it is in one cluster. Pure and deterministic: the same file gives the same objects.

settle(fleet, text, …)  sizes the models and settles names; or tells what cannot be rendered, with its place
render(site)            all objects, in the order in which they are applied
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from penstock.facts import Architecture
from penstock.plan.demand import Demand
from penstock.plan.fleet import size_fleet
from penstock.plan.manifests.access import render_access, render_controller_access
from penstock.plan.manifests.calibrations import calibration_findings, calibrations_from
from penstock.plan.manifests.controller import render_controller
from penstock.plan.manifests.engine import render_engines
from penstock.plan.manifests.expose import expose_notes, render_expose
from penstock.plan.manifests.findings import cluster_findings
from penstock.plan.manifests.gateway import gateway_notes, render_gateway
from penstock.plan.manifests.manifest import Bundle, Manifest, Wave
from penstock.plan.manifests.monitoring import monitoring
from penstock.plan.manifests.namespace import render_namespace
from penstock.plan.manifests.needs import needs_of
from penstock.plan.manifests.network import render_network
from penstock.plan.manifests.outside import outside_notes
from penstock.plan.manifests.remarks import engine_findings, engine_notes
from penstock.plan.manifests.scaling import scaling, scaling_notes
from penstock.plan.manifests.secrets import render_secrets, secret_notes
from penstock.plan.manifests.site import Site, site_of
from penstock.plan.manifests.store import store_notes
from penstock.spec import ClusterSpec, Fleet, ModelSpec
from penstock.spec.base import Finding
from penstock.spec.crd import fleet_crd

__all__ = ["Settled", "render", "settle"]

Renderer = Callable[[Site], Iterator[Manifest]]

_RENDERERS: tuple[Renderer, ...] = (
    render_namespace,
    render_access,
    render_secrets,
    render_network,
    render_engines,
    render_gateway,
    render_controller,
    scaling,
    render_expose,
    monitoring,
)
"""Each gives its part of the objects; the waves put them in order."""
_NOTES: tuple[Callable[[Site], Iterator[str]], ...] = (
    secret_notes,
    engine_notes,
    gateway_notes,
    store_notes,
    outside_notes,
    scaling_notes,
    expose_notes,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A fleet for one cluster, or why there is none."""

    site: Site | None
    findings: tuple[Finding, ...] = ()
    """What cannot be rendered, `at` a path of the file; with any of them there is no `site`."""


def settle(
    fleet: Fleet,
    text: str,
    *,
    architecture_of: Callable[[str], Architecture],
    demand_of: Callable[[ModelSpec], Demand | None] | None = None,
    namespace: str | None = None,
    cluster: ClusterSpec | None = None,
    calibrations: Mapping[str, str] | None = None,
) -> Settled:
    """Sizes a fleet for one cluster. `text` is the file as it was read; `calibrations`, the texts of the files that it
    names under `hardware.calibrations`, by path.

    Raises:
        UsageError: `spec.hardware` names a GPU that nobody knows.
    """
    findings = list(cluster_findings(fleet, text))
    findings += calibration_findings(fleet, calibrations or {})
    measured = calibrations_from(fleet, calibrations or {})
    sized = size_fleet(fleet, architecture_of=architecture_of, demand_of=demand_of, calibrations=measured)
    findings += [Finding(at=r.at, message=r.message, hint=r.hint or None) for r in sized.refusals]
    by_name = {model.name: model for model in fleet.spec.models}
    needs = {name: needs_of(by_name[name], plan) for name, plan in sized.plans.items()}
    site = site_of(fleet, text, needs, namespace=namespace, cluster=cluster, calibrations=calibrations)
    findings += [finding for finding in engine_findings(site) if finding not in findings]
    return Settled(site=None if findings else site, findings=tuple(findings))


def render(site: Site, *, with_crds: bool = False) -> Bundle:
    """Everything that the fleet is in one cluster. `with_crds`: also the definition of fleets themselves."""
    manifests = [manifest for renderer in _RENDERERS for manifest in renderer(site)]
    manifests += render_controller_access(site, manifests)
    if with_crds:
        heading = "What a Fleet is. It belongs to the cluster and to all its fleets: it is never pruned with one."
        manifests.append(Manifest(body=fleet_crd(), wave=Wave.CLUSTER, file="crd", heading=heading))
    manifests.sort(key=lambda manifest: manifest.wave)
    notes = tuple(note for noter in _NOTES for note in noter(site))
    return Bundle(manifests=tuple(manifests), notes=notes)
