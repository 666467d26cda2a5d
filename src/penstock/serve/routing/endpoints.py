"""All endpoints by pool, and what is heard of them.

One `EndpointTable` belongs to one gateway and is changed only from its event loop: by the exchange (`sent`, `heard`,
`left`), by discovery (`set_pool`), by the scraper (`observe`, `health_answered`, `failed`), and by the gateway's sweep
(`watch`). What a signal means is the table in `signals`; when an endpoint goes out and comes back is `ejection`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from penstock.serve.routing.ejection import close, fail, prove, readmit
from penstock.serve.routing.endpoint import Endpoint, EndpointAddress, EngineSample, Health, Pool
from penstock.serve.routing.health import Guard
from penstock.serve.routing.pace import LOOKS_FACTOR, deadline_s
from penstock.serve.routing.signals import SIGNALS, Signal
from penstock.serve.routing.slow import judge

__all__ = ["Endpoint", "EndpointAddress", "EndpointTable", "EngineSample", "Health", "Pool"]

WATCH_GAP_S = 2.0
"""Seconds between two calls of `watch` from which it was the gateway that stood still, and nobody else is to blame."""
JUDGE_S = 1.0
"""Seconds between two comparisons of a pool's speeds."""
_TTFT_WEIGHT = 0.05
"""Weight of the latest time to first token: the last twenty or so count, as prompts differ."""


class EndpointTable:
    """All pools by model name. The one owner of endpoint state."""

    def __init__(self) -> None:
        self.changed: Callable[[], None] = _nobody
        """Called when endpoints came or went, or told something of themselves: who waits for one may look again."""
        self.pools: dict[str, Pool] = {}
        self._by_id: dict[str, Endpoint] = {}
        self._watched_at = self._watched_from = float("-inf")

    # ------------------------------------------------------------------ who there is

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
                    authority=address.authority or address.url.removeprefix("http://"),
                    is_external=address.is_external,
                )
            if address.is_draining:
                known.health = "draining"
            elif known.health == "draining":
                known.health, known.guard, known.is_stalled = "unproven", Guard(), False
            fresh.append(known)
        for gone in pool.endpoints:
            if self._by_id.get(gone.id) is gone:
                del self._by_id[gone.id]
        pool.endpoints, pool.is_calm = fresh, False
        self._by_id.update((e.id, e) for e in fresh)
        self.changed()

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

    # ------------------------------------------------------------------ what requests tell

    @staticmethod
    def sent(endpoint: Endpoint, now: float) -> int:
        """A request goes there. Returns the number of the trial that it is, 0 if the endpoint is in use: to be given
        back with what is `heard` of this request."""
        endpoint.in_flight += 1
        endpoint.dispatched_total += 1
        if endpoint.health != "down" or not endpoint.guard.has_place(now):
            return 0
        return endpoint.guard.take_place(now)

    @staticmethod
    def left(endpoint: Endpoint) -> None:
        """The request is no longer there, whatever came of it."""
        endpoint.in_flight -= 1

    def heard(
        self, endpoint: Endpoint, signal: Signal, now: float, *, trial: int | None = None, words: str = ""
    ) -> None:
        """Something was heard of the endpoint.

        `trial`: what `sent` returned for the request it came from; None where no request did, and then it counts like
        a trial if one could begin. `words`: why, in a few words, for people.
        """
        if endpoint.health == "ready" and not trial and (signal == "ok" or signal == "began"):  # noqa: PLR1714 — faster
            self._good(endpoint, signal, now, is_trial=False)
            return
        guard = endpoint.guard
        is_down = endpoint.health == "down"
        if trial is None:
            is_trial = is_down and now >= endpoint.retry_at
        elif is_trial := bool(trial) and trial == guard.trial:
            guard.trial = 0
        effect = SIGNALS[signal].effect
        if effect == "good":
            self._good(endpoint, signal, now, is_trial=is_trial and is_down)
        elif effect == "alive":
            prove(endpoint, signal, now)
        elif effect != "nothing":
            pool = self.pools.get(endpoint.model) or Pool(model=endpoint.model)
            fail(pool, endpoint, signal, now, is_trial=is_trial, words=words)

    @staticmethod
    def _good(endpoint: Endpoint, signal: Signal, now: float, *, is_trial: bool) -> None:
        """An answer began or is whole. One that began before the endpoint went out shows only that it does not hang."""
        guard = endpoint.guard
        if now > endpoint.progress_at:  # noqa: PLR1730 — a call less
            endpoint.progress_at = now
        guard.revivals = 0
        if signal == "ok":
            guard.count(now, good=1)
            endpoint.consecutive_failures = 0
        if endpoint.health == "ready":
            return
        if endpoint.health == "unproven":
            endpoint.health, guard.since = "ready", now
        elif endpoint.health == "down" and (is_trial or guard.fault in ("hung", "")):
            close(endpoint, now)

    @staticmethod
    def measured(endpoint: Endpoint, ttft_s: float) -> None:
        """Seconds from sending a request there to the first token of its answer."""
        guard = endpoint.guard
        guard.ttft_count += 1
        guard.ttft_s = ttft_s if guard.ttft_count == 1 else guard.ttft_s + _TTFT_WEIGHT * (ttft_s - guard.ttft_s)

    # ------------------------------------------------------------------ what the engine tells of itself

    def observe(self, endpoint_id: str, sample: EngineSample) -> None:
        """Takes a reading of an engine's metrics: proof that its process is there, and of its steps. Not that an
        endpoint works that hung: the process that answers is not the one that hangs."""
        endpoint = self._by_id.get(endpoint_id)
        if endpoint is None:
            return
        old, endpoint.sample = endpoint.sample, sample
        endpoint.previous_sample = old
        if old is not None:
            progress = endpoint.guard.progress
            look = progress.look(old, sample, is_heard=endpoint.progress_at > old.at)
            if look == "restarted":
                endpoint.previous_sample = None
            if look in ("moved", "restarted"):
                prove(endpoint, "progress", sample.at)
            elif look == "quiet" and progress.is_hung(endpoint.itl_s):
                words = f"{sample.running} running and no step for {progress.quiet_s:.1f} s"
                self.heard(endpoint, "no_progress", sample.at, words=words)
                return
        prove(endpoint, "lives", sample.at)
        self.changed()

    def health_answered(self, endpoint: Endpoint, status: int, now: float) -> None:
        """`/health` answered. Only 200 and 503 mean something; other servers have other pages there."""
        if status == 200:
            prove(endpoint, "healthy", now)
            self.changed()
        elif status == 503:
            self.heard(endpoint, "unhealthy", now)

    # ------------------------------------------------------------------ what nobody tells

    def watch(self, now: float) -> None:
        """Looks at what is no longer heard, and compares speeds; to be called a few times a second."""
        if not 0 <= now - self._watched_at <= WATCH_GAP_S:
            self._watched_from = now
        self._watched_at = now
        for pool in self.pools.values():
            for endpoint in pool.endpoints:
                if endpoint.in_flight and endpoint.health == "ready" and self._is_unheard(endpoint, now):
                    self.heard(endpoint, "unheard", now)
            if not 0 <= now - pool.judged_at < JUDGE_S:
                pool.judged_at = now
                judge(pool, now)
                if not pool.is_calm:
                    readmit(pool, now)

    def _is_unheard(self, endpoint: Endpoint, now: float) -> bool:
        """Whether neither its metrics, which it had, nor any stream of it are heard any more."""
        sample, guard = endpoint.sample, endpoint.guard
        if sample is None:
            return False
        last_at = max(sample.at, endpoint.progress_at, guard.since, self._watched_from)
        progress = guard.progress
        limit_s = LOOKS_FACTOR * deadline_s(max(endpoint.itl_s, progress.step_s), others_go_on=False)
        return now - last_at > limit_s and progress.is_missing(now - sample.at)

    # ------------------------------------------------------------------ in short

    def succeeded(self, endpoint: Endpoint, now: float | None = None) -> None:
        """The endpoint answered a request, whichever."""
        if now is None:
            now = endpoint.guard.since
        self._good(endpoint, "ok", now, is_trial=True)

    def failed(self, endpoint: Endpoint, reason: str, now: float) -> None:
        """Contact failed: no connection, or none that held."""
        self.heard(endpoint, "connect_failed", now, words=reason)

    def stalled(self, endpoint: Endpoint, now: float) -> None:
        """None of its streams makes progress: it gets nothing for a while, and what waits for it goes elsewhere."""
        self.heard(endpoint, "stalled", now, words="made no progress")


def _nobody() -> None:
    """Nobody waits."""
