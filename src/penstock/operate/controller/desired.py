"""What a Fleet object of the cluster asks for: the same objects that its file renders to. Pure.

Guarantees: the fleet text in the cluster and every object are those of `penstock render` for the same spec; each object
of the namespace is owned by the Fleet, so that it goes when the Fleet goes, except volumes, which hold data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from penstock.errors import UsageError
from penstock.facts import Architecture
from penstock.operate.apply.bundle import is_controllers
from penstock.operate.apply.objects import Object, Ref, at, ref_of
from penstock.operate.scaling import Policy, policies_of
from penstock.plan.manifests import Bundle, Manifest, Wave, emit
from penstock.plan.manifests.render import render, settle
from penstock.spec import Fleet
from penstock.spec.base import Refusal
from penstock.spec.document import dotted

__all__ = ["Desired", "desired_of"]

_NOT_OURS = "kubectl.kubernetes.io/last-applied-configuration"
_DATA = ("PersistentVolumeClaim",)
"""Kinds that stay when the Fleet goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """What is to be made of a Fleet, or why nothing can be."""

    fleet: Fleet | None = None
    bundle: Bundle | None = None
    """Everything but what the controller itself needs: whoever applied the Fleet made that."""
    spared: tuple[Ref, ...] = ()
    """The Fleet itself and what the controller needs: not made here, and never taken for a leftover."""
    names: dict[str, str] | None = None
    """Models by the names of their objects."""
    policies: Mapping[str, Policy] = field(default_factory=dict)
    """Models whose load is forecast for KEDA."""
    problems: tuple[str, ...] = ()


def desired_of(obj: Object, *, architecture_of: Callable[[str], Architecture]) -> Desired:
    """Renders a Fleet object as read from the API server."""
    try:
        fleet = Fleet.model_validate(_file_of(obj))
    except ValidationError as error:
        return Desired(problems=tuple(_words(error)))
    text = emit(Manifest(body=_file_of(obj), wave=Wave.CLUSTER, file="fleet"))
    try:
        settled = settle(fleet, text, architecture_of=architecture_of, namespace=obj["metadata"]["namespace"])
    except UsageError as error:
        return Desired(problems=(error.message,))
    if settled.site is None:
        return Desired(problems=tuple(f"{dotted(found.at)}: {found.message}" for found in settled.findings))
    rendered = render(settled.site)
    kept = tuple(_owned(manifest, obj) for manifest in rendered.manifests if not is_controllers(manifest))
    own = (manifest.object for manifest in rendered.manifests if is_controllers(manifest))
    spared = (ref_of(obj), *(ref_of(each) for each in own))
    names = {name: model for model, name in settled.site.names.items()}
    bundle = replace(rendered, manifests=kept)
    return Desired(fleet=fleet, bundle=bundle, spared=spared, names=names, policies=policies_of(settled.site))


def _file_of(obj: Object) -> Object:
    """The fleet file that the object is: without what the API server and its tools add."""
    metadata = {"name": obj["metadata"]["name"]}
    annotations = {k: v for k, v in at(obj, "metadata", "annotations", default={}).items() if k != _NOT_OURS}
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata, "spec": obj["spec"]}


def _owned(manifest: Manifest, fleet: Object) -> Manifest:
    if manifest.namespace is None or manifest.kind in _DATA:
        return manifest
    owner = {
        "apiVersion": fleet["apiVersion"],
        "kind": fleet["kind"],
        "name": fleet["metadata"]["name"],
        "uid": fleet["metadata"]["uid"],
    }
    metadata = {**manifest.body["metadata"], "ownerReferences": [owner]}
    return replace(manifest, body={**manifest.body, "metadata": metadata})


def _words(error: ValidationError) -> list[str]:
    """One line for each thing that is wrong, with its place."""
    lines: list[str] = []
    for entry in error.errors():
        found = entry.get("ctx", {}).get("error")
        place = tuple(part for part in entry["loc"] if isinstance(part, str | int))
        if isinstance(found, Refusal):
            lines += [f"{dotted((*place, *finding.at))}: {finding.message}" for finding in found.findings]
        else:
            lines.append(f"{dotted(place)}: {entry['msg']}")
    return lines
