"""What the models and the gateway of a fleet say of each other: models by name, prices, ports. Pure.

Everything here is about a file whose parts are right by themselves; paths are relative to `spec`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from penstock.spec.base import FieldPath, Finding
from penstock.spec.fallbacks import Fallbacks, fallback_findings
from penstock.spec.gateway import GatewaySpec, KeySpec, TenantSpec
from penstock.spec.model import ModelSpec
from penstock.spec.names import unknown_name
from penstock.spec.traffic import RuleSpec

__all__ = ["reference_findings"]


def reference_findings(models: Sequence[ModelSpec], gateway: GatewaySpec) -> Iterator[Finding]:
    """Everything that is wrong at once."""
    owner = {name: model.name for model in models for name in model.names}
    for place, rule in enumerate(gateway.rules):
        for at, name in _models_of(rule):
            if name not in owner:
                yield unknown_name(name, owner, ("gateway", "rules", place, *at))
    for place, model in enumerate(models):
        for index, fallback in enumerate(model.fallbacks):
            if fallback.model is not None and fallback.model not in owner:
                yield unknown_name(fallback.model, owner, ("models", place, "fallbacks", index, "model"))
    fallbacks = [Fallbacks(model=m.name, names=m.names, fallbacks=m.fallbacks) for m in models]
    yield from fallback_findings(fallbacks, [provider.name for provider in gateway.providers])
    priced = {model.name for model in models if model.price is not None}
    for place, tenant in enumerate(gateway.tenants):
        yield from _tenant(tenant, owner, priced, ("gateway", "tenants", place))
    yield from _events_port(models, gateway)


def _models_of(rule: RuleSpec) -> Iterator[tuple[FieldPath, str]]:
    yield from ((("match", "models", place), name) for place, name in enumerate(rule.match.models))
    yield from ((("to", place, "model"), target.model) for place, target in enumerate(rule.to))
    if rule.shadow is not None:
        yield ("shadow", "model"), rule.shadow.model


def _tenant(tenant: TenantSpec, owner: Mapping[str, str], priced: set[str], at: FieldPath) -> Iterator[Finding]:
    allowed = _main_names(tenant.models, owner)
    if tenant.limits.cost_per_month is not None:
        yield from _uncounted(allowed, priced, (*at, "limits"))
    for index, key in enumerate(tenant.keys):
        own, key_at = _main_names(key.models, owner), (*at, "keys", index)
        for place, name in enumerate(key.models or ()):
            if name in owner and allowed is not None and owner[name] not in allowed:
                message = f"is {name!r}, which the tenant may not call: a key can only be given less"
                hint = "add it to the tenant's `models`, or take it out here"
                yield Finding(at=(*key_at, "models", place), message=message, hint=hint)
        if key.limits.cost_per_month is not None and not _is_said_above(tenant, key):
            yield from _uncounted(allowed if own is None else own, priced, (*key_at, "limits"))


def _is_said_above(tenant: TenantSpec, key: KeySpec) -> bool:
    """Whether the tenant's own budget is refused for the same reason already."""
    return tenant.limits.cost_per_month is not None and key.models is None


def _main_names(names: Sequence[str] | None, owner: Mapping[str, str]) -> set[str] | None:
    return None if names is None else {owner[name] for name in names if name in owner}


def _uncounted(allowed: set[str] | None, priced: set[str], at: FieldPath) -> Iterator[Finding]:
    """A budget that nothing would ever be counted towards."""
    if priced if allowed is None else priced & allowed or not allowed:
        return
    which = "no model has" if allowed is None else f"none of the models that may be called ({_listed(allowed)}) has"
    message = f"could never be used up: {which} a `price`"
    hint = "give models a `price: {inputPerMillion: …, outputPerMillion: …}`, or limit `tokensPerMonth`"
    yield Finding(at=(*at, "costPerMonth"), message=message, hint=hint)


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))


def _events_port(models: Sequence[ModelSpec], gateway: GatewaySpec) -> Iterator[Finding]:
    """Cache events come on a port of their own, beside that of the API."""
    port = gateway.routing.kv_events_port
    for place, model in enumerate(models if port is not None else ()):
        for index, url in enumerate(model.endpoints or ()):
            if (urlsplit(url).port or 80) == port:
                message = f"is {port}, where models[{place}].endpoints[{index}] answers requests already"
                hint = "name the port of `--kv-events-config`, which is another one; vLLM's own is 5557"
                yield Finding(at=("gateway", "routing", "kvEventsPort"), message=message, hint=hint)
                return
