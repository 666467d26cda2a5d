"""Fleets settled for one cluster, from a few lines, for the tests of manifests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from penstock.facts import find_model
from penstock.plan.fleet import size_fleet
from penstock.plan.manifests import Manifest, Site, needs_of, site_of
from penstock.plan.manifests.engine import render_engines
from penstock.spec.loader import load_fleet

__all__ = ["manifests_of", "objects_of", "one", "site_from", "site_of_text", "with_source"]

HEAD = "apiVersion: penstock.dev/v1alpha1\nkind: Fleet\nmetadata: {name: f, namespace: llm}\nspec:\n"


def site_of_text(text: str) -> Site:
    """A whole fleet file."""
    fleet = load_fleet(text, "fleet.yaml")
    sized = size_fleet(fleet, architecture_of=find_model)
    assert not sized.refusals, sized.refusals
    needs = {m.name: needs_of(m, sized.plans[m.name]) for m in fleet.spec.models if m.name in sized.plans}
    return site_of(fleet, text, needs)


def site_from(*models: str, more: str = "") -> Site:
    """A fleet `f` in namespace `llm` of these models, each a flow mapping; `more` are lines of `spec`, unindented."""
    rest = "".join(f"  {line}\n" for line in more.splitlines())
    return site_of_text(f"{HEAD}{rest}  models:\n" + "".join(f"    - {model}\n" for model in models))


def with_source(site: Site, source: str) -> Site:
    """The same with every model's files somewhere else: a folder that this machine does not have to have."""
    needs = {
        name: replace(need, spec=need.spec.model_copy(update={"source": source})) for name, need in site.needs.items()
    }
    return replace(site, needs=needs)


def manifests_of(*models: str, more: str = "") -> list[Manifest]:
    """What the engines of such a fleet are."""
    return list(render_engines(site_from(*models, more=more)))


def objects_of(*models: str, more: str = "") -> list[dict[str, Any]]:
    """The same as the API server takes them."""
    return [manifest.object for manifest in manifests_of(*models, more=more)]


def one(objects: list[dict[str, Any]], kind: str, name: str | None = None) -> dict[str, Any]:
    """The one object of a kind, or the one with a name."""
    (found,) = (o for o in objects if o["kind"] == kind and name in (None, o["metadata"]["name"]))
    return found
