"""What is applied for a fleet: all that it is made of, or, with a controller in the cluster, what the controller needs.

Pure. With `kubernetes.controller` the rest is made by the controller, from the Fleet object.
"""

from __future__ import annotations

from penstock.operate.apply.objects import labels
from penstock.plan.manifests import Bundle, Manifest, Wave
from penstock.plan.manifests.names import fleet_labels
from penstock.plan.manifests.site import Site
from penstock.spec.crd import fleet_crd, fleet_resource

__all__ = ["applied_bundle", "is_controllers", "literal_keys"]


def applied_bundle(site: Site, rendered: Bundle) -> Bundle:
    """What `penstock apply` sends for a rendered fleet."""
    if not site.has_controller:
        return rendered
    own = [manifest for manifest in rendered.manifests if is_controllers(manifest)]
    crd = Manifest(body=fleet_crd(), wave=Wave.CLUSTER, file="crd")
    body = fleet_resource(site.fleet, site.namespace)
    metadata = {**body["metadata"], "labels": fleet_labels(site.name, body["metadata"].get("labels"))}
    fleet = Manifest(body={**body, "metadata": metadata}, wave=Wave.OPEN, file="fleet")
    manifests = sorted((crd, *own, fleet), key=lambda manifest: manifest.wave)
    return Bundle(manifests=tuple(manifests), notes=rendered.notes)


def literal_keys(site: Site) -> tuple[str, ...]:
    """Keys that the file holds itself: hidden wherever a part of it is shown."""
    tenants = site.fleet.spec.gateway.tenants
    return tuple(key.value.get_secret_value() for tenant in tenants for key in tenant.keys if key.value is not None)


def is_controllers(manifest: Manifest) -> bool:
    if manifest.kind == "Namespace":
        return True
    component = labels(manifest.object).get("app.kubernetes.io/component")
    return component == "controller" or manifest.file == "controller"
