"""One endpoint and the pool it is in: addresses, readings, state, and which of them may get a request.

`Pool.candidates` is asked for each request: while nothing is out it is one comparison.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from penstock.serve.routing.health import TRIAL_WAIT_S, Guard

__all__ = ["Endpoint", "EndpointAddress", "EngineSample", "Health", "Pool"]

Health = Literal["ready", "unproven", "draining", "down"]
"""`unproven`: never answered yet, still tried; `draining`: finishes, gets nothing new; `down`: out, by its guard."""
_LEAST_BAD = 0.1
"""Share of errors by which one may be worse than the least bad and still be used in need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointAddress:
    """Where an endpoint is, as discovery tells it. `id` is unique in the fleet, as in `chat-0`."""

    id: str
    host: str
    port: int
    is_draining: bool = False
    is_external: bool = False
    """A service outside the fleet, which has no metrics."""
    authority: str = ""
    """As in a Host header, where that is not `host:port`."""

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
    tells_waiting: bool = True
    """It says how many wait, if none do."""
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
    steps_total: int = 0
    """Steps that yielded output; 0 where the engine does not say."""


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
    is_external: bool = False
    """A service outside the fleet, which has no metrics and is not asked for its health."""
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
    guard: Guard = field(default_factory=Guard)
    """What its failures tell."""
    sample: EngineSample | None = None
    previous_sample: EngineSample | None = None

    def tokens_per_s(self) -> float:
        """Generated tokens per second between the last two samples; 0 without two."""
        new, old = self.sample, self.previous_sample
        if new is None or old is None or new.at <= old.at:
            return 0.0
        return max(0, new.generation_tokens_total - old.generation_tokens_total) / (new.at - old.at)

    def share(self, now: float) -> float:
        """Part of its fair share of requests that it should get, 0 to 1: less while it comes back or is slow beside its
        pool, 0 while it is out or draining."""
        if self.health in ("down", "draining"):
            return 0.0
        guard = self.guard
        return guard.share(now) if guard.is_ramping or guard.is_slow else 1.0


@dataclass(slots=True, kw_only=True)
class Pool:
    """The interchangeable endpoints of one model."""

    model: str
    endpoints: list[Endpoint] = field(default_factory=list)
    is_calm: bool = False
    """Nothing is out or draining: all are candidates. Set when that was seen, cleared by whatever changes it."""
    judged_at: float = 0.0
    """Monotonic seconds at which its endpoints' speeds were last compared."""

    def candidates(self, now: float) -> list[Endpoint]:
        """Endpoints that may get a request now; not to be changed by the caller.

        Those that are in, and those whose trial may begin. With none of them, in need: the least bad of those that
        answer some; else those that seem to hang, each for one trial. Empty: nothing can answer.
        """
        if self.is_calm:
            return self.endpoints
        fit = [e for e in self.endpoints if e.health in ("ready", "unproven") or is_half_open(e, now)]
        if len(fit) == len(self.endpoints):
            self.is_calm = all(e.health != "down" for e in fit)
        return fit or self._in_need(now)

    def is_out(self, now: float) -> bool:
        """Whether all its endpoints are out, and none may be tried yet: not of one that is empty, or that drains."""
        if self.is_calm or not self.endpoints or any(e.health != "down" for e in self.endpoints):
            return False
        return not self.candidates(now)

    def trial_due(self, now: float) -> Endpoint | None:
        """An endpoint that could be tried for a while and that nobody chose: the next request should try it."""
        if self.is_calm:
            return None
        return next((e for e in self.endpoints if is_half_open(e, now - TRIAL_WAIT_S) and e.guard.has_place(now)), None)

    @property
    def ready_count(self) -> int:
        return sum(e.health in ("ready", "unproven") for e in self.endpoints)

    def _in_need(self, now: float) -> list[Endpoint]:
        bad = [e for e in self.endpoints if e.health == "down" and e.guard.fault == "bad"]
        if bad:
            least = min(e.guard.error_share(now) for e in bad)
            return [e for e in bad if e.guard.error_share(now) <= least + _LEAST_BAD]
        return [e for e in self.endpoints if e.health == "down" and e.guard.fault == "hung" and e.guard.has_place(now)]


def is_half_open(endpoint: Endpoint, now: float) -> bool:
    """Whether it is out, its back-off is over, and no other request tries it."""
    return endpoint.health == "down" and now >= endpoint.retry_at and endpoint.guard.has_place(now)
