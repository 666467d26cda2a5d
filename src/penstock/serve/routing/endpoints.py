"""Endpoints and pools: who can serve a model, and what is known of each.

One `EndpointTable` belongs to one gateway and is changed only from its event loop: by the exchange driver (dispatch and
finish), by discovery (`set_pool`), and by the scraper (`observe`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Endpoint", "EndpointAddress", "EndpointTable", "EngineSample", "Health", "Pool"]

Health = Literal["ready", "unproven", "draining", "down"]
"""`unproven`: never answered yet, still tried; `draining`: finishes, gets nothing new; `down`: last contact failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointAddress:
    """Where an endpoint is, as discovery tells it. `id` is unique in the fleet, as in `chat-0`."""

    id: str
    host: str
    port: int
    is_draining: bool = False

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSample:
    """One reading of an engine's metrics. `at` is monotonic seconds; token counts are totals since the engine began."""

    at: float
    running: int = 0
    waiting: int = 0
    kv_usage: float = 0.0
    """Share of KV blocks in use, 0 to 1."""
    prompt_tokens_total: int = 0
    generation_tokens_total: int = 0
    prefix_queries_total: int = 0
    prefix_hits_total: int = 0
    preemptions_total: int = 0
    kv_tokens: int = 0
    """Tokens that its KV cache holds; 0 where it does not say."""
    adapters: tuple[str, ...] = ()
    """LoRA adapters that it runs or has waiting."""


@dataclass(slots=True, kw_only=True)
class Endpoint:
    """One address that serves a model. Owned by the `EndpointTable`."""

    id: str
    model: str
    host: str
    port: int
    url: str
    authority: str
    """`host:port`, as in a Host header."""
    health: Health = "unproven"
    in_flight: int = 0
    """Sent by us and unfinished."""
    dispatched_total: int = 0
    failures_total: int = 0
    consecutive_failures: int = 0
    retry_at: float = 0.0
    """Monotonic seconds before which a `down` endpoint is not tried."""
    last_error: str = ""
    itl_s: float = 0.0
    """Usual seconds between two tokens of a stream, from those that finished lately; 0 while not known."""
    progress_at: float = 0.0
    """Monotonic seconds at which any of its streams got something, as of the last sweep."""
    is_stalled: bool = False
    """It took requests and made no progress; cleared by progress, not by an answer to a probe."""
    stalled_at: float = 0.0
    window: Any = None
    """What the queue has learned of its room (`flow`)."""
    learned: Any = None
    """What the routing policy has learned of it."""
    guard: Any = None
    """What its failures tell (`routing.health`)."""
    sample: EngineSample | None = None
    previous_sample: EngineSample | None = None

    def tokens_per_s(self) -> float:
        """Generated tokens per second between the last two samples; 0 without two."""
        new, old = self.sample, self.previous_sample
        if new is None or old is None or new.at <= old.at:
            return 0.0
        return max(0, new.generation_tokens_total - old.generation_tokens_total) / (new.at - old.at)


STALL_BACKOFF_S = 30.0
"""Seconds before an endpoint that stalled gets a request again, if nothing showed earlier that it goes on."""
_BACKOFF_S = (0.25, 0.5, 1.0, 2.0, 5.0)
"""Seconds before a failed endpoint is tried again, by consecutive failures: short first, most failures are restarts."""


@dataclass(slots=True, kw_only=True)
class Pool:
    """The interchangeable endpoints of one model."""

    model: str
    endpoints: list[Endpoint] = field(default_factory=list)

    def candidates(self, now: float) -> list[Endpoint]:
        """Endpoints that may get a request now: not draining, and not inside a failure's back-off."""
        return [e for e in self.endpoints if e.health != "draining" and (e.health != "down" or now >= e.retry_at)]

    @property
    def ready_count(self) -> int:
        return sum(e.health in ("ready", "unproven") for e in self.endpoints)


class EndpointTable:
    """All pools by model name. The one owner of endpoint state."""

    def __init__(self) -> None:
        self.pools: dict[str, Pool] = {}
        self._by_id: dict[str, Endpoint] = {}

    def set_pool(self, model: str, addresses: Iterable[EndpointAddress]) -> None:
        """Replaces the pool of `model`; an endpoint that keeps its id and address keeps its state and its requests."""
        pool = self.pools.setdefault(model, Pool(model=model))
        fresh: list[Endpoint] = []
        for address in addresses:
            known = self._by_id.get(address.id)
            if known is None or known.model != model or (known.host, known.port) != (address.host, address.port):
                known = Endpoint(
                    id=address.id,
                    model=model,
                    host=address.host,
                    port=address.port,
                    url=address.url,
                    authority=address.url.removeprefix("http://"),
                )
            if address.is_draining:
                known.health = "draining"
            elif known.health == "draining":
                known.health = "unproven"
            fresh.append(known)
        for gone in pool.endpoints:
            if self._by_id.get(gone.id) is gone:
                del self._by_id[gone.id]
        pool.endpoints = fresh
        self._by_id.update((e.id, e) for e in fresh)

    def remove_pool(self, model: str) -> None:
        """Forgets a model; requests in flight keep what they hold."""
        pool = self.pools.pop(model, None)
        for endpoint in pool.endpoints if pool else ():
            if self._by_id.get(endpoint.id) is endpoint:
                del self._by_id[endpoint.id]

    def get(self, endpoint_id: str) -> Endpoint | None:
        return self._by_id.get(endpoint_id)

    def all(self) -> list[Endpoint]:
        """Every endpoint, by model then place in its pool."""
        return [e for _, pool in sorted(self.pools.items()) for e in pool.endpoints]

    def observe(self, endpoint_id: str, sample: EngineSample) -> None:
        """Takes a reading of an engine's metrics, which is proof of life. Not of an endpoint that stalled: the process
        that answers is not the one that hangs, and only tokens prove life, or that nothing is left to do."""
        endpoint = self._by_id.get(endpoint_id)
        if endpoint is not None:
            old = endpoint.previous_sample = endpoint.sample
            endpoint.sample = sample
            is_idle = not (sample.running or sample.waiting)
            moves = old is not None and sample.generation_tokens_total != old.generation_tokens_total
            if not endpoint.is_stalled or is_idle or moves:
                self.succeeded(endpoint)

    @staticmethod
    def succeeded(endpoint: Endpoint) -> None:
        """The endpoint answered."""
        endpoint.consecutive_failures = 0
        endpoint.is_stalled = False
        if endpoint.health in ("unproven", "down"):
            endpoint.health = "ready"
            endpoint.last_error = ""

    @staticmethod
    def failed(endpoint: Endpoint, reason: str, now: float) -> None:
        """Contact failed: connect error, reset, or no answer. A client's own mistake is never a failure here."""
        endpoint.failures_total += 1
        endpoint.consecutive_failures += 1
        endpoint.last_error = reason
        endpoint.retry_at = now + _BACKOFF_S[min(endpoint.consecutive_failures, len(_BACKOFF_S)) - 1]
        if endpoint.health != "draining":
            endpoint.health = "down"

    @staticmethod
    def stalled(endpoint: Endpoint, now: float) -> None:
        """None of its streams makes progress: it gets nothing for a while, and what waits for it goes elsewhere."""
        if not endpoint.is_stalled:
            EndpointTable.failed(endpoint, "made no progress", now)
            endpoint.is_stalled, endpoint.stalled_at = True, now
        endpoint.retry_at = now + STALL_BACKOFF_S
