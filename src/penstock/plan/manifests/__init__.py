"""The fleet as Kubernetes objects. Pure and deterministic: a fleet and its plans in, manifests out."""

from penstock.plan.manifests.emit import emit, emit_all
from penstock.plan.manifests.manifest import Because, Bundle, Manifest, Wave, plain
from penstock.plan.manifests.needs import ModelNeeds, needs_of
from penstock.plan.manifests.site import Site, site_of

__all__ = [
    "Because",
    "Bundle",
    "Manifest",
    "ModelNeeds",
    "Site",
    "Wave",
    "emit",
    "emit_all",
    "needs_of",
    "plain",
    "site_of",
]
