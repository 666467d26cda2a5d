"""How much of the fleet a tenant or a key may use, and in which class. A limit of 0 allows none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, get_args

from pydantic import Field

from penstock.spec.base import Finding, SpecObject

__all__ = ["CLASS_ORDER", "QuotaSpec", "TrafficClass", "beyond"]

TrafficClass = Literal["interactive", "batch", "experimental"]
CLASS_ORDER: tuple[TrafficClass, ...] = get_args(TrafficClass)
"""The highest first."""
Count = Annotated[int, Field(ge=0, le=1_000_000_000_000)]


class QuotaSpec(SpecObject):
    """Limits of one tenant or one key. What a tenant may, all its keys together may; a key's own limits come on top.
    What is left out has no limit; 0 allows none at all."""

    requests_per_minute: Count | None = None
    """Requests that may begin in a minute."""
    tokens_per_minute: Count | None = None
    """Tokens a minute, prompt and output together."""
    input_tokens_per_minute: Count | None = None
    """Prompt tokens a minute."""
    output_tokens_per_minute: Count | None = None
    """Output tokens a minute."""
    concurrent_requests: Count | None = None
    """Requests at once, waiting ones included."""
    tokens_per_month: Count | None = None
    """Tokens in a calendar month (UTC), prompt and output together."""
    cost_per_month: Annotated[float, Field(ge=0, le=1_000_000_000_000)] | None = None
    """Money in a calendar month (UTC), US dollars by the models' `price`. Only models with a price count."""
    prompt_tokens_max: Count | None = None
    """Tokens of the longest prompt."""
    output_tokens_max: Count | None = None
    """Output tokens of one request."""


def beyond(key: QuotaSpec, tenant: QuotaSpec) -> Iterator[Finding]:
    """Limits of a key that its tenant's make meaningless. Paths are relative to the key's `limits`."""
    for name, field in QuotaSpec.model_fields.items():
        own, most = getattr(key, name), getattr(tenant, name)
        if own is not None and most is not None and own > most:
            message = f"is {own:,}, and all keys of the tenant together may {most:,}: it could never be reached"
            hint = "lower it, take it out, or raise the tenant's"
            yield Finding(at=(field.alias or name,), message=message, hint=hint)
