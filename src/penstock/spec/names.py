"""Names across the fleet: each model name, tenant name and literal key means one thing. Pure.

Works on what the file says, valid elsewhere or not, so that a clash is reported together with every other problem.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from penstock.spec.base import FieldPath, Finding
from penstock.spec.nearest import nearest

__all__ = ["ModelNames", "TenantNames", "clashes", "unknown_models", "unknown_name"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelNames:
    """The names of one model, each with its place in the model."""

    names: Sequence[tuple[FieldPath, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantNames:
    """What a tenant says that must fit the rest of the fleet."""

    name: str | None
    models: Sequence[tuple[FieldPath, str]] = ()
    keys: Sequence[tuple[FieldPath, str]] = ()
    """Literal keys. Never shown."""


def clashes(models: Sequence[ModelNames], tenants: Sequence[TenantNames]) -> Iterator[Finding]:
    """Names or keys that two owners claim. Paths are relative to `spec`."""
    owner: dict[str, int] = {}
    for place, model in enumerate(models):
        for at, name in model.names:
            if owner.setdefault(name, place) != place:
                first = f"models[{owner[name]}]"
                message = f"{name!r} already names {first}: a request for it could mean either"
                yield Finding(at=("models", place, *at), message=message, hint="give each model names of its own")
    tenant_of: dict[str, int] = {}
    key_of: dict[str, str] = {}
    for place, tenant in enumerate(tenants):
        if tenant.name is not None and tenant_of.setdefault(tenant.name, place) != place:
            message = f"{tenant.name!r} already names tenants[{tenant_of[tenant.name]}]"
            hint = "put all keys of a tenant in one entry"
            yield Finding(at=("gateway", "tenants", place, "name"), message=message, hint=hint)
        for at, key in tenant.keys:
            here = f"tenants[{place}].{at[0]}[{at[1]}]"
            if key_of.setdefault(key, here) != here:
                message = f"is the same key as {key_of[key]}: the tenant follows from the key, so keys must differ"
                yield Finding(at=("gateway", "tenants", place, *at), message=message)


def unknown_models(models: Sequence[ModelNames], tenants: Sequence[TenantNames]) -> Iterator[Finding]:
    """Models that a tenant or a key may call and that no model answers to. Paths are relative to `spec`."""
    known = {name for model in models for _, name in model.names}
    for place, tenant in enumerate(tenants):
        for at, name in tenant.models:
            if name not in known:
                yield unknown_name(name, known, ("gateway", "tenants", place, *at))


def unknown_name(name: str, known: Collection[str], at: FieldPath) -> Finding:
    """A model that no model answers to, with what was probably meant."""
    close = nearest(name, known)
    hint = f"did you mean {close[0]!r}?" if close else f"models here: {', '.join(sorted(known))}"
    return Finding(at=at, message=f"no model answers to {name!r}", hint=hint)
