"""What sets the number of replicas of each model that has `autoscaling`. Pure.

`via: keda` asks Prometheus; `via: hpa` asks it through prometheus-adapter; `via: penstock` asks the controller and, as
KEDA takes the highest, Prometheus too: a forecast can bring replicas early, never take away what is needed now.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from penstock.plan.manifests.hpa import adapter_values, autoscaler
from penstock.plan.manifests.keda import scaled_object
from penstock.plan.manifests.manifest import Manifest
from penstock.plan.manifests.site import Site

__all__ = ["scaling", "scaling_notes"]


def scaling(site: Site) -> Iterator[Manifest]:
    """One object for each model that scales, and the adapter's rule where one needs it."""
    needs_adapter = False
    for needs in site.needs.values():
        spec = needs.spec.autoscaling
        if spec is None:
            continue
        match spec.via:
            case "keda" | "penstock":
                yield scaled_object(site, needs, spec)
            case "hpa":
                needs_adapter = True
                yield autoscaler(site, needs, spec)
            case _:
                assert_never(spec.via)
    if needs_adapter:
        yield adapter_values(site)


def scaling_notes(site: Site) -> Iterator[str]:
    """What must be in the cluster for these objects to work, in words."""
    vias = {needs.spec.autoscaling.via for needs in site.needs.values() if needs.spec.autoscaling is not None}
    if vias & {"keda", "penstock"}:
        yield "Autoscaling needs KEDA in the cluster, 2.20 or newer: https://keda.sh/docs/latest/deploy"
    if "hpa" in vias:
        yield "Autoscaling needs prometheus-adapter with the rule of the ConfigMap beside it (see its heading)."
    if vias and site.fleet.spec.monitoring is None:
        yield (
            "Autoscaling asks http://prometheus-operated.monitoring.svc:9090, as the file has no `monitoring`: say "
            "`monitoring: {prometheusUrl: ...}` for another, and `labels:` by which it finds monitors."
        )
