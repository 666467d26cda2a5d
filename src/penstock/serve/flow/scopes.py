"""From the fleet file's limits to the scopes that limiters count. Pure; done once for each key and configuration."""

from __future__ import annotations

from penstock.serve.flow.quota import LIMITLESS, Quota, Scope
from penstock.spec.quota import QuotaSpec

__all__ = ["affordable", "micros", "quota_of", "scopes_of"]

MICROS = 1_000_000


def micros(dollars: float) -> int:
    """US dollars as whole micro-dollars, rounded to the nearest."""
    return round(dollars * MICROS)


def quota_of(spec: QuotaSpec) -> Quota:
    """The limits that are counted; those of one request's size are held where the prompt is counted."""
    return Quota(
        requests_per_minute=spec.requests_per_minute,
        tokens_per_minute=spec.tokens_per_minute,
        input_tokens_per_minute=spec.input_tokens_per_minute,
        output_tokens_per_minute=spec.output_tokens_per_minute,
        concurrent_requests=spec.concurrent_requests,
        tokens_per_month=spec.tokens_per_month,
        cost_per_month_micros=None if spec.cost_per_month is None else micros(spec.cost_per_month),
    )


def scopes_of(
    tenant: str, tenant_limits: QuotaSpec, key_id: str = "", key_limits: QuotaSpec | None = None, key_name: str = ""
) -> tuple[Scope, ...]:
    """The scopes of a key's requests, its tenant's first; without any limit there are none. Keep the result: limiters
    know a scope that did not change by its `quota` being the same object."""
    found = []
    quota = quota_of(tenant_limits)
    if quota != LIMITLESS:
        found.append(Scope(id=f"t:{tenant}", words=f"tenant '{tenant}'", quota=quota))
    if key_limits is not None and key_id and (own := quota_of(key_limits)) != LIMITLESS:
        found.append(Scope(id=f"k:{key_id}", words=f"key '{key_name or key_id}'", quota=own))
    return tuple(found)


def affordable(scopes: tuple[Scope, ...], prompt_tokens: int, output_tokens: int) -> int:
    """Of `output_tokens` that a request without a limit of its own may need, what the limits a minute could ever grant:
    else a client that named no limit would be told that its request can never pass. At least 1."""
    most = output_tokens
    for scope in scopes:
        quota = scope.quota
        if quota.output_tokens_per_minute is not None:
            most = min(most, quota.output_tokens_per_minute)
        if quota.tokens_per_minute is not None:
            most = min(most, quota.tokens_per_minute - prompt_tokens)
    return max(1, most)
