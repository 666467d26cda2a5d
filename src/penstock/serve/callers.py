"""The store's keys put beside those of the fleet file, compiled for the hot path. Pure.

Guarantees: the look-up stays one dictionary by digest; the file wins where both have a key; a key of the store never
reaches further than its tenant's entry in the file, if it has one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from penstock.serve.config import Caller, GatewayConfig
from penstock.serve.keys import KeyRecord, Standing, standing
from penstock.spec import TenantSpec

__all__ = ["tenants_shown", "with_store_keys"]


def with_store_keys(
    config: GatewayConfig, records: Iterable[KeyRecord], *, has_keys: bool, now: float
) -> GatewayConfig:
    """`config`, as compiled from the file alone, with the `records` that are valid at `now`.

    Once the store has held a key (`has_keys`), a call without one is served only where the file says so outright:
    revoking the last key opens nothing.
    """
    callers = dict(config.callers)
    for record in records:
        if standing(record, now) is Standing.VALID:
            callers.setdefault(record.digest, _caller(config, record))
    is_anonymous = config.is_anonymous_served and (config.is_anonymous_meant or not has_keys)
    return replace(config, callers=callers, is_anonymous_served=is_anonymous)


def _caller(config: GatewayConfig, record: KeyRecord) -> Caller:
    allowed = config.tenant_models.get(record.tenant)
    if record.models is not None:
        own = frozenset(config.names[name].name for name in record.models if name in config.names)
        allowed = own if allowed is None else own & allowed
    return Caller(tenant=record.tenant, key=record.name, models=allowed)


def tenants_shown(tenants: Iterable[TenantSpec], records: Iterable[KeyRecord], now: float) -> list[dict[str, Any]]:
    """Who may call, as people and programs see it: the file's `tenants` in its order, then those of the store alone."""
    in_file = {tenant.name: tenant for tenant in tenants}
    counts: dict[str, int] = {}
    for record in records:
        if standing(record, now) is Standing.VALID:
            counts[record.tenant] = counts.get(record.tenant, 0) + 1
    return [
        {
            "tenant": name,
            "keys_in_file": len(in_file[name].keys) if name in in_file else 0,
            "keys_in_store": counts.get(name, 0),
            "models": in_file[name].models if name in in_file else None,
        }
        for name in (*in_file, *sorted(counts.keys() - in_file.keys()))
    ]
