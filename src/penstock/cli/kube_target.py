"""From a fleet file and options to the clusters that are meant, and clients of them: for `apply` and the rest."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import typer

from penstock.cli.output import say
from penstock.cli.rendering import load_sites
from penstock.errors import UsageError
from penstock.operate.apply.bundle import applied_bundle
from penstock.operate.io.kubernetes.client import Client, open_client
from penstock.operate.io.kubernetes.gathering import Target
from penstock.plan.manifests.render import render
from penstock.plan.manifests.site import Site

__all__ = ["Place", "Reached", "in_loop", "places", "reached"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A fleet, and the cluster that it is meant for."""

    site: Site
    context: str | None
    """None: the current one."""
    namespace: str | None
    """None: the context's."""

    @property
    def name(self) -> str:
        """What the cluster is called in reports; empty where there is only one."""
        return self.site.cluster.name if self.site.cluster is not None else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """A place with a client of its cluster."""

    api: Client
    target: Target
    site: Site


def places(
    file: str, *, context: str | None, namespace: str | None, cluster: str | None, all_clusters: bool
) -> tuple[Place, ...]:
    """The clusters that are meant.

    Raises:
        UsageError: several are possible and none was chosen, or the options contradict each other.
        SpecError: the file is wrong.
    """
    sites = load_sites(file, cluster=cluster, namespace=namespace)
    names = ", ".join(site.cluster.name for site in sites if site.cluster is not None)
    if len(sites) > 1 and not all_clusters:
        message = f"the fleet runs in {len(sites)} clusters: {names}"
        raise UsageError(message, hint="choose one with --cluster NAME, or say --all-clusters")
    if len(sites) > 1 and context is not None:
        raise UsageError(f"--context names one cluster, and the file has {len(sites)}: {names}")
    named = namespace or sites[0].fleet.metadata.namespace
    return tuple(
        Place(site=site, context=context or (_context(site) if site.cluster is not None else None), namespace=named)
        for site in sites
    )


def _context(site: Site) -> str | None:
    return site.cluster.context or site.cluster.name if site.cluster is not None else None


@contextlib.asynccontextmanager
async def reached(place: Place) -> AsyncIterator[Reached]:
    """The place's cluster, with everything that is applied to it.

    Raises:
        UsageError: no such context or no credentials.
        ApiFailure: the cluster does not answer.
    """
    async with open_client(context=place.context) as api:
        site = place.site if place.namespace else replace(place.site, namespace=api.namespace)
        bundle = applied_bundle(site, render(site))
        target = Target(fleet=site.name, namespace=site.namespace, bundle=bundle, passes_controller=site.has_controller)
        yield Reached(api=api, target=target, site=site)


def in_loop(work: Callable[[], Coroutine[Any, Any, T]], *, resumes: str = "") -> T:
    """Runs a command's work; Ctrl-C ends it in good order and says how to go on, with exit code 130."""
    import asyncio  # noqa: PLC0415 — start-up time

    try:
        return asyncio.run(work())
    except KeyboardInterrupt:
        say(f"\nstopped. {resumes}".rstrip())
        raise typer.Exit(130) from None
