"""FILE or NAME: a fleet by its file, or, where the file is not at hand, by its name in the cluster."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from penstock.cli.files import load_fleet_file
from penstock.errors import SpecError, UsageError
from penstock.operate.io.kubernetes.client import Client, open_client
from penstock.operate.io.kubernetes.observing import fleet_text
from penstock.plan.manifests.names import dns_name, model_names
from penstock.spec import Fleet
from penstock.spec.loader import load_fleet

__all__ = ["NamedFleet", "Wanted", "found_fleet", "wanted_fleet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A fleet that somebody names. `fleet` is None where only its name is known."""

    name: str
    fleet: Fleet | None
    context: str | None
    namespace: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedFleet:
    """A fleet in a cluster."""

    api: Client
    name: str
    namespace: str
    names: Mapping[str, str]
    """The models' names by the names of their objects."""


def wanted_fleet(what: str, *, context: str | None, namespace: str | None, cluster: str | None) -> Wanted:
    """A file where there is one of that name, or where it looks like one; else the name of a fleet.

    Raises:
        UsageError: there is no such file or cluster.
    """
    looks_like_file = what == "-" or "/" in what or what.endswith((".yaml", ".yml")) or Path(what).is_file()
    if not looks_like_file:
        if cluster is not None:
            raise UsageError("--cluster needs the fleet's file", hint="name the file, or say --context")
        return Wanted(name=what, fleet=None, context=context, namespace=namespace)
    fleet = load_fleet_file(what)
    known = {entry.name: entry for entry in fleet.spec.clusters}
    if cluster is None and len(known) == 1:
        cluster = next(iter(known))
    if cluster is None and known and context is None:
        names = ", ".join(known)
        raise UsageError(f"the fleet runs in {len(known)} clusters: {names}", hint="choose one with --cluster NAME")
    if cluster is not None and cluster not in known:
        hint = f"it names {', '.join(known)}" if known else "it names none: leave --cluster out"
        raise UsageError(f"{what} has no cluster {cluster!r}", hint=hint)
    if cluster is not None:
        context = context or known[cluster].context or cluster
    return Wanted(
        name=fleet.metadata.name, fleet=fleet, context=context, namespace=namespace or fleet.metadata.namespace
    )


@contextlib.asynccontextmanager
async def found_fleet(wanted: Wanted) -> AsyncIterator[NamedFleet]:
    """The fleet's cluster; the names of its models from its file, or from the copy that the cluster holds.

    Raises:
        UsageError: no such context or no credentials.
        ApiFailure: the cluster does not answer.
    """
    async with open_client(context=wanted.context) as api:
        namespace = wanted.namespace or api.namespace
        fleet = wanted.fleet
        if fleet is None:
            text = await fleet_text(api, namespace, dns_name(wanted.name, "fleet"))
            with contextlib.suppress(SpecError):
                fleet = load_fleet(text, "the cluster's copy") if text else None
        models = [model.name for model in fleet.spec.models] if fleet is not None else []
        names = {short: model for model, short in model_names(wanted.name, models).items()}
        yield NamedFleet(api=api, name=wanted.name, namespace=namespace, names=names)
