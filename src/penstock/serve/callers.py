"""The store's keys put beside those of the fleet file, compiled for the hot path. Pure.

Guarantees: the look-up stays one dictionary by digest; the file wins where both have a key; a key of the store never
reaches further than its tenant's entry in the file, if it has one; a change costs what it changes. Who shows a key that
has ended is told so, and whoever does not hold it learns nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from penstock.serve.config import Caller, GatewayConfig
from penstock.serve.flow.scopes import scopes_of
from penstock.serve.keys import KeyForm, KeyRecord, Standing, form_of, limits_shown, standing
from penstock.serve.state import rfc3339
from penstock.serve.wire.errors import Failure
from penstock.spec import QuotaSpec, TenantSpec

__all__ = ["LiveCallers", "refused_key", "tenants_shown", "with_store_keys"]

_NO_LIMITS = QuotaSpec()


class LiveCallers:
    """Who may call, followed as keys of the store change. Belongs to the event loop of one gateway.

    `config` is the one compiled from the file with the store's callers in it; its `callers` are this object's own, and
    change in place. A new fleet file wants a new object.
    """

    def __init__(
        self,
        config: GatewayConfig,
        tenants: Iterable[TenantSpec] = (),
        records: Iterable[KeyRecord] = (),
        *,
        has_keys: bool = False,
        now: float = 0.0,
    ) -> None:
        self._file = config
        self._tenants = {tenant.name: tenant for tenant in tenants}
        self._terms: dict[str, Caller] = {}
        self._callers = dict(config.callers)
        self.ended: dict[bytes, KeyRecord] = {}
        """Keys of the store that are valid no more, by SHA-256: what `refused_key` wants."""
        self.config = replace(config, callers=self._callers)
        self.apply(records, has_keys=has_keys, now=now)

    def apply(self, changed: Iterable[KeyRecord], *, has_keys: bool, now: float) -> GatewayConfig:
        """Takes the records that have changed, or ended, and returns the configuration for new requests.

        Once the store has held a key (`has_keys`), a call without one is served only where the file says so outright:
        revoking the last key opens nothing.
        """
        for record in changed:
            digest = record.digest
            if standing(record, now) is Standing.VALID:
                self.ended.pop(digest, None)
                if digest not in self._file.callers:
                    self._callers[digest] = self._caller(record)
            else:
                self.ended[digest] = record
                if digest not in self._file.callers:
                    self._callers.pop(digest, None)
        is_served = self._file.is_anonymous_served and (self._file.is_anonymous_meant or not has_keys)
        if is_served != self.config.is_anonymous_served:
            self.config = replace(self.config, is_anonymous_served=is_served)
        return self.config

    def _caller(self, record: KeyRecord) -> Caller:
        terms = self._terms.get(record.tenant)
        if terms is None:
            terms = self._terms[record.tenant] = self._terms_of(record.tenant)
        allowed = terms.models
        if record.models is not None:
            names = self._file.names
            own = frozenset(names[name].name for name in record.models if name in names)
            allowed = own if allowed is None else own & allowed
        scopes, prompt_max, output_max = terms.scopes, terms.prompt_tokens_max, terms.output_tokens_max
        if (limits := record.limits) is not None:
            own_scopes = scopes_of(record.tenant, _NO_LIMITS, record.id, limits, record.name)
            scopes = (*scopes, *own_scopes)
            prompt_max = _least(limits.prompt_tokens_max, prompt_max)
            output_max = _least(limits.output_tokens_max, output_max)
        return Caller(  # not `replace`, which costs five times as much: a start makes as many as there are keys
            tenant=record.tenant,
            key=record.name,
            models=allowed,
            key_id=record.id,
            scopes=scopes,
            traffic_class=record.traffic_class or terms.traffic_class,
            weight=terms.weight,
            prompt_tokens_max=prompt_max,
            output_tokens_max=output_max,
        )

    def _terms_of(self, name: str) -> Caller:
        """What all keys of a tenant have: also one object for its scope, by which limiters know it unchanged."""
        models = self._file.tenant_models.get(name)
        tenant = self._tenants.get(name)
        if tenant is None:
            return Caller(tenant=name, key="", models=models)
        return Caller(
            tenant=name,
            key="",
            models=models,
            scopes=scopes_of(name, tenant.limits),
            traffic_class=tenant.traffic_class or "interactive",
            weight=tenant.weight,
            prompt_tokens_max=tenant.limits.prompt_tokens_max,
            output_tokens_max=tenant.limits.output_tokens_max,
        )


def _least(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def with_store_keys(
    config: GatewayConfig,
    records: Iterable[KeyRecord],
    *,
    has_keys: bool,
    now: float,
    tenants: Iterable[TenantSpec] = (),
) -> GatewayConfig:
    """`config`, as compiled from the file alone, with the `records` that are valid at `now`; once, without following
    changes. See `LiveCallers.apply` for `has_keys`."""
    return LiveCallers(config, tenants, records, has_keys=has_keys, now=now).config


def refused_key(key: bytes, ended: Mapping[bytes, KeyRecord], now: float) -> Failure:
    """401 for a key that nobody has: mistyped, expired, revoked or unknown, each in its own sentence.

    Only who shows the whole key learns that it was one: the others hold a text whose checksum is wrong, which tells
    nothing, or one that is not known.
    """
    record = ended.get(hashlib.sha256(key).digest()) if ended else None
    if record is not None and record.revoked is not None:
        message = f"This API key was revoked on {_day(record.revoked)}. Ask who gave it to you for another."
    elif record is not None and record.expires is not None and record.expires <= now:
        message = f"This API key expired on {_day(record.expires)}. Ask who gave it to you for another."
    elif form_of(key.decode("latin-1")) is KeyForm.MISTYPED:
        message = "This API key is mistyped: a character is wrong or missing. Copy it again, whole."
    else:
        message = "Incorrect API key. Check the key and that it belongs to this gateway."
    return Failure(status=401, code="invalid_api_key", message=message)


def _day(at: int) -> str:
    return rfc3339(at)[:10]


def tenants_shown(
    tenants: Iterable[TenantSpec],
    records: Iterable[KeyRecord],
    now: float,
    uses: Mapping[str, tuple[int, int]] | None = None,
) -> list[dict[str, Any]]:
    """Who may call, as people and programs see it: the file's `tenants` in its order, then those of the store alone.

    `uses` is this month's use by scope; None: not known.
    """
    in_file = {tenant.name: tenant for tenant in tenants}
    counts: dict[str, int] = {}
    for record in records:
        if standing(record, now) is Standing.VALID:
            counts[record.tenant] = counts.get(record.tenant, 0) + 1
    return [
        _tenant_shown(name, in_file.get(name), counts.get(name, 0), uses)
        for name in (*in_file, *sorted(counts.keys() - in_file.keys()))
    ]


def _tenant_shown(
    name: str, tenant: TenantSpec | None, stored: int, uses: Mapping[str, tuple[int, int]] | None
) -> dict[str, Any]:
    tokens, micros = (None, None) if uses is None else uses.get(f"t:{name}", (0, 0))
    return {
        "tenant": name,
        "keys_in_file": len(tenant.keys) if tenant is not None else 0,
        "keys_in_store": stored,
        "models": tenant.models if tenant is not None else None,
        "class": (tenant.traffic_class if tenant is not None else None) or "interactive",
        "weight": tenant.weight if tenant is not None else 1.0,
        "limits": limits_shown(tenant.limits) if tenant is not None else {},
        "month_tokens": tokens,
        "month_cost_usd": None if micros is None else micros / 1e6,
    }
