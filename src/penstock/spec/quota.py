"""How much of the fleet a tenant or a key may use. A limit that is not given does not limit; 0 means none allowed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from penstock.spec.base import SpecObject

__all__ = ["QuotaSpec", "TrafficClass"]

TrafficClass = Literal["interactive", "batch", "experimental"]
Count = Annotated[int, Field(ge=0, le=1_000_000_000_000)]


class QuotaSpec(SpecObject):
    """Limits of one tenant or one key. What a tenant may, all its keys together may; a key's own limits come on top."""

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
    cost_per_month: Annotated[float, Field(ge=0, le=1e12)] | None = None
    """Money in a calendar month (UTC), US dollars by the models' `price`. Only models with a price count."""
    prompt_tokens_max: Count | None = None
    """Tokens of the longest prompt."""
    output_tokens_max: Count | None = None
    """Output tokens of one request."""
