"""What is known of one request when it is over: the single source of the access log, the metrics and the dashboard.

Never holds prompts, completions or keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["OUTCOMES", "Hedged", "Outcome", "RequestRecord"]

Outcome = Literal["ok", "client_error", "limited", "shed", "timeout", "upstream_error", "cancelled"]
Hedged = Literal["", "first", "second", "none"]
OUTCOMES: tuple[Outcome, ...] = ("ok", "client_error", "limited", "shed", "timeout", "upstream_error", "cancelled")


@dataclass(slots=True)  # not keyword-only: one is made for each request, and keywords cost twice as much
class RequestRecord:
    """One finished request. Mutable while its exchange (the owner) runs; read-only once handed to telemetry.

    Times in `*_ms` are milliseconds, -1 where the moment never came; tokens are -1 where nothing reported them. All
    fields but the first three are to be given by name.
    """

    at: float = 0.0
    """When the request head was complete, Unix seconds."""
    request_id: str = ""
    route: str = ""
    """API path as in `/v1/chat/completions`; `other` for what is not ours."""
    model: str = ""
    """Model that answered; empty when none was chosen."""
    requested_model: str = ""
    """What the client sent in `model`."""
    endpoint: str = ""
    tenant: str = ""
    key: str = ""
    """Name of the key, never the key."""
    traffic_class: str = "interactive"
    is_stream: bool = False
    status: int = 0
    """HTTP status sent to the client; 0 when none was sent."""
    outcome: Outcome = "ok"
    reason: str = ""
    """Low-cardinality word for anything but `ok`, as in `unknown_model`."""
    prompt_tokens: int = -1
    cached_tokens: int = -1
    output_tokens: int = -1
    bytes_in: int = 0
    bytes_out: int = 0
    queue_ms: float = 0.0
    ttft_ms: float = -1.0
    total_ms: float = 0.0
    retries: int = 0
    resumes: int = 0
    continued: int = 0
    """Resumes after which the text went on as another run of the model would have it."""
    hedged: Hedged = ""
    """Which of two endpoints answered, where it was sent to a second one as the first was late: `none` where neither
    did; empty for the usual request."""
    fallbacks: int = 0
    """Models that could not answer before the one that did, or the last."""
    rule: str = ""
    """The rule that held; empty for none."""
    counted_as: str | None = None
    """The model among whose requests in flight it is; None for `model`, which a rule or a fallback may change."""
    estimated_tokens: int = -1
    """Of the prompt, as it was admitted; -1 where that can't be told."""
    reserved_tokens: int = 0
    """What it may use at most, prompt and output, as far as that was known when it was admitted."""
    reserved_micros: int = 0
    cost_micros: int = 0
    """What it cost by the model's price, in millionths of a dollar."""
    key_id: str = ""
    """What a key of the store is changed by."""

    @property
    def tpot_ms(self) -> float:
        """Mean time per output token after the first, milliseconds; -1 where it can't be told."""
        if self.output_tokens < 2 or self.ttft_ms < 0:
            return -1.0
        return (self.total_ms - self.ttft_ms) / (self.output_tokens - 1)
