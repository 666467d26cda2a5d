"""What the cost policy learns of one endpoint, and of all endpoints of a model together. Pure.

    Ended (TTFT, tokens, cached) ──▶ ratios of seen to predicted seconds, trust in the index, work done
    EngineSample                 ──▶ what others have there, context in its steps, free KV, restarts

Guarantees: an endpoint that tells nothing (new, or long without requests) is taken for one like the others of its
model; what was learned fades within minutes, so that one that was slow is tried again. One answer that lies moves a
ratio only by its share of the seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import count
from math import inf
from weakref import WeakValueDictionary

from penstock.serve.routing.endpoints import Endpoint, EngineSample
from penstock.serve.routing.policy import Ended
from penstock.serve.routing.prefix import HeldBlocks
from penstock.serve.routing.rendezvous import seed_of
from penstock.serve.routing.timing import ModelTiming

__all__ = ["ADAPTERS_MAX", "LEVEL_WEIGHT", "WORK_FADES_S", "EndpointLearned", "PoolLearned", "Sent"]

WORK_FADES_S = 600.0
"""Time constant of the work that an endpoint has done: about the spread of a conversation (half of the recorded ones
come back within 123 s, nine in ten within 483 s), so that its share counts as long as its conversations go on."""
_RATIO_FADES_S = 60.0
"""Time constant of what answers told of an endpoint's speed: a throttled GPU is known after some answers, and a mended
one within a minute or two."""
_POOL_FADES_S = 600.0
_POOL_PRIOR_S = 0.5
"""Seconds of predicted work that the performance model's word counts for against what was seen of all endpoints."""
_PRIOR_REQUESTS, _STEP_PRIOR_S = 20.0, 30.0
"""The same of one endpoint: what all its fellows showed counts like so many first tokens of its own, and so many
seconds of its own decode. Fewer tell more of what came between than of the endpoint."""
_RATIO_MIN, _RATIO_MAX = 0.02, 100.0
_TRUST_PRIOR_TOKENS = 4096.0
"""Predicted tokens that trust in the index counts for before an endpoint has reported."""
_LOST_TRUST, _LOST_TOKENS = 0.25, 16_384.0
"""Once so many tokens were predicted as cached and less than a quarter of them were, the endpoint has lost them (its
cache was reset, or others fill it): what it was believed to hold is forgotten."""
_HALF_TOKENS = 200_000.0
"""Predicted tokens after which those before count half."""
_SURPRISE_PRIOR_TOKENS = 200_000.0
_SURPRISE_HALF_TOKENS = 2_000_000.0
_SURPRISE_PRIOR, _SURPRISE_MIN = 0.25, 0.01
"""Share of a prompt that its home has beyond what is known here: at first, with the tokens that this counts for, and at
least. A gateway that is alone learns within a minute that there is none."""
_SURPRISE_NOISE = 0.03
"""Share that means nothing: what the index underrates shows as much where there is but one gateway."""
_TURNS = 4.0
"""How often that share counts: for this turn of the conversation, and for three more, which other gateways may get."""
_IN_STEP_BLOCKS = 256
"""Blocks of prompts that were sent and whose events are not here yet."""
ADAPTERS_MAX = 64
"""Adapters that an endpoint is believed to have loaded; vLLM's `max_loras` is 1 to some tens."""
LOOKS_MAX, LOOKS_S = 20, 0.1
"""Answers of one endpoint that its speed is learned from, in so many seconds: on a quiet gateway all, on a busy one 200
a second, as one more costs a twentieth of a request and tells nothing that those did not."""
_ALPHA = 0.05
"""Weight of one request in the means of a model: of the last 20 or so."""
LEVEL_WEIGHT = 0.05
"""The same, of one request's endpoint in the level of work. The level is the same for all candidates, so it decides
nothing: it makes the seconds of work ahead ones that can be read."""
_SHARE_WEIGHT = 0.005
"""The same, in the share of prompts that is found cached: of the last 200, as many are all or nothing."""


def _fade(seconds: float, constant_s: float) -> float:
    """What is left of something after so long: half after the constant, less and less after. Cheaper than `exp`."""
    return constant_s / (constant_s + seconds) if seconds > 0.0 else 1.0


@dataclass(slots=True)  # not keyword-only: one is made for each request, and keywords cost time
class Sent:
    """One request on its way, from `sent` to `ended`."""

    endpoint_id: str
    is_home: bool
    matched: int
    """Blocks that were held."""
    cached: float
    """Tokens that were believed to be cached."""
    fresh: float
    """Tokens that were to be computed."""
    output: float
    prefill_s: float
    ttft_s: float
    """As the timing says it, without the endpoint's ratio."""
    work_s: float
    unit: float
    """What a second of work counted when it was sent."""


class PoolLearned:
    """What the requests of one model are like, and how its endpoints are on the whole."""

    __slots__ = (
        "_endpoints",
        "_numbers",
        "block_tokens",
        "cached_share",
        "e2e_s",
        "home_share",
        "output_s",
        "output_tokens",
        "predicted_s",
        "prefill_mean_s",
        "prior_s",
        "ratio",
        "running",
        "seen_at",
        "seen_s",
        "step_predicted_s",
        "step_ratio",
        "step_seen_s",
        "surprise_of",
        "surprise_tokens",
        "timing",
        "work_level",
    )

    def __init__(self, timing: ModelTiming, *, prior_s: float = _POOL_PRIOR_S) -> None:
        self.timing = timing
        self.prior_s = prior_s
        self.output_tokens = 128.0
        """Mean of an answer: as in recorded chats, until answers were seen."""
        self.e2e_s = 0.0
        """Mean of a whole request; 0 while none was seen."""
        self.prefill_mean_s = timing.prefill_s(1024)
        self.running = 0.0
        """Mean of the requests that one finds at its endpoint."""
        self.ratio = self.step_ratio = 1.0
        """Seconds seen over seconds predicted: of first tokens, of decode."""
        self.seen_s = self.predicted_s = self.seen_at = 0.0
        self.step_seen_s = self.step_predicted_s = 0.0
        self.surprise_tokens = self.surprise_of = 0.0
        self.home_share = _SURPRISE_PRIOR * _TURNS
        steps = timing.steps_s
        self.output_s = (steps[-1] - steps[1]) / (len(steps) - 2) if len(steps) > 2 else 0.0
        """Of an engine's time that one token more takes in a step with others."""
        self.block_tokens = 128.0
        """Of prompts' blocks, on the mean."""
        self.cached_share = 0.0
        """Of a prompt, what was believed to be cached where it was sent."""
        self.work_level = 0.0
        """Of the work of endpoints that were chosen lately."""
        self._endpoints: WeakValueDictionary[int, EndpointLearned] = WeakValueDictionary()
        self._numbers = count()

    def met(self, learned: EndpointLearned) -> None:
        """One more endpoint; it is forgotten when the table drops it."""
        self._endpoints[next(self._numbers)] = learned

    def endpoints(self) -> list[EndpointLearned]:
        """Those that are there, in the order in which they came."""
        return list(self._endpoints.values())

    def work_mean(self) -> float:
        """Of its endpoints."""
        endpoints = self.endpoints()
        return sum(one.work for one in endpoints) / len(endpoints) if endpoints else 0.0

    def placed(self, cached_share: float) -> None:
        """Such a share of a prompt was believed to be cached where it went."""
        self.cached_share += (cached_share - self.cached_share) * _SHARE_WEIGHT

    def arrived(self, prefill_s: float, running: float) -> None:
        """A request of so many seconds of prefill was sent to where so many others are."""
        self.prefill_mean_s += (prefill_s - self.prefill_mean_s) * _ALPHA
        self.running += (max(0.0, running) - self.running) * _ALPHA

    def took(self, seen_s: float, predicted_s: float, now: float) -> None:
        """A first token came after so many seconds."""
        fade = _fade(now - self.seen_at, _POOL_FADES_S)
        self.seen_at = now
        self.seen_s = self.seen_s * fade + seen_s
        self.predicted_s = self.predicted_s * fade + predicted_s
        self.ratio = (self.seen_s + self.prior_s) / (self.predicted_s + self.prior_s)
        self.step_seen_s *= fade
        self.step_predicted_s *= fade

    def decoded(self, seen_s: float, predicted_s: float) -> None:
        """The rest of an answer took so many seconds."""
        self.step_seen_s += seen_s
        self.step_predicted_s += predicted_s
        self.step_ratio = (self.step_seen_s + self.prior_s) / (self.step_predicted_s + self.prior_s)

    def finished(self, outcome: Ended) -> None:
        """A request went through."""
        e2e_s = outcome.now - outcome.sent_at
        self.e2e_s += (e2e_s - self.e2e_s) * (_ALPHA if self.e2e_s else 1.0)
        if outcome.output_tokens >= 0:
            self.output_tokens += (outcome.output_tokens - self.output_tokens) * _ALPHA

    def surprised(self, tokens: float, of: float) -> None:
        """At its home, a prompt found so many cached tokens of those that were thought to be computed: another gateway
        had sent its beginning there."""
        fade = max(0.0, 1.0 - of / _SURPRISE_HALF_TOKENS)
        self.surprise_tokens = self.surprise_tokens * fade + tokens
        self.surprise_of = self.surprise_of * fade + of
        share = (self.surprise_tokens + _SURPRISE_PRIOR * _SURPRISE_PRIOR_TOKENS) / (
            self.surprise_of + _SURPRISE_PRIOR_TOKENS
        )
        self.home_share = min(1.0, max(_SURPRISE_MIN, (share - _SURPRISE_NOISE) * _TURNS))


class EndpointLearned:
    """What is known of one endpoint. Owned by the cost policy; kept in `Endpoint.learned`."""

    __slots__ = (
        "__weakref__",
        "adapters",
        "busy_until",
        "cache_tokens",
        "cached_tokens",
        "context_s",
        "held",
        "kv_tokens",
        "looked_from",
        "looks",
        "matched_tokens",
        "others",
        "others_s",
        "pool",
        "predicted_s",
        "prompt_share",
        "ratio",
        "room_tokens",
        "sample",
        "seed",
        "seen_at",
        "seen_s",
        "step_predicted_s",
        "step_ratio",
        "step_seen_s",
        "trust",
        "work",
    )

    def __init__(self, endpoint_id: str, pool: PoolLearned, held: HeldBlocks, work: float) -> None:
        self.seed = seed_of(endpoint_id)
        self.pool = pool
        self.held = held
        self.work = work
        """Seconds of work that it was given, in units that fade as the policy's clock goes on."""
        self.sample: EngineSample | None = None
        """The one that was looked at last."""
        self.busy_until = 0.0
        """When the prompts that we sent are computed."""
        self.ratio = pool.ratio
        """Seconds seen over seconds predicted, of first tokens; `step_ratio` of decode."""
        self.step_ratio = pool.step_ratio
        self.seen_s = self.predicted_s = self.step_seen_s = self.step_predicted_s = self.seen_at = 0.0
        self.trust = 1.0
        self.matched_tokens = self.cached_tokens = 0.0
        self.others = 0
        """Requests that others have there."""
        self.others_s = 0.0
        """Seconds of prompts that others have waiting there."""
        self.context_s = 0.0
        """Of each step, by the context that its requests have."""
        self.cache_tokens = -1
        """That its cache holds, by its own events; -1 where it publishes none."""
        self.kv_tokens = 0
        self.room_tokens = inf
        """KV that is free: by the last reading, less what we sent since. Infinite where it is not known."""
        self.prompt_share = 1.0
        """Of the cache's tokens, those of prompts; answers take the rest."""
        self.adapters: OrderedDict[str, None] = OrderedDict()
        self.looked_from = -inf
        self.looks = 0
        """Answers since then; past `LOOKS_S` it begins anew."""

    def is_news(self, now: float) -> bool:
        """Whether one more answer is to be learned from."""
        if not 0.0 <= now - self.looked_from < LOOKS_S:
            self.looked_from, self.looks = now, 0
        self.looks += 1
        return self.looks <= LOOKS_MAX

    def look(self, endpoint: Endpoint, sample: EngineSample, share: int, now: float) -> None:
        """Takes in a new reading of the engine."""
        old, self.sample = self.sample, sample
        if old is not None and (
            sample.prompt_tokens_total < old.prompt_tokens_total
            or sample.generation_tokens_total < old.generation_tokens_total
        ):
            self.began_anew()
        pool, busy = self.pool, sample.running + sample.waiting
        self.others = max(0, busy - endpoint.in_flight)
        self.others_s = self.ratio * pool.prefill_mean_s * sample.waiting * self.others / busy if busy else 0.0
        if not busy and self.busy_until > now and endpoint.in_flight == 0:
            self.busy_until = now
        if sample.kv_tokens:
            used = sample.kv_tokens * sample.kv_usage
            self.kv_tokens, self.room_tokens = sample.kv_tokens, sample.kv_tokens - used
            self.context_s = used * pool.timing.context_s
        self.resize(sample.kv_tokens, share)
        for adapter in sample.adapters[:ADAPTERS_MAX]:
            self.loaded(adapter)
        self._fade(now)
        self._set_ratios()

    def resize(self, kv_tokens: int, share: int) -> None:
        """Bounds what is believed to be held by the engine's memory, and by the index's share."""
        capacity = share
        if kv_tokens:
            capacity = min(share, int(kv_tokens * self.prompt_share / max(1.0, self.pool.block_tokens)))
        if self.cache_tokens >= 0:
            capacity = min(capacity, int(self.cache_tokens / max(1.0, self.pool.block_tokens)) + _IN_STEP_BLOCKS)
        if capacity != self.held.capacity:
            self.held.resize(capacity)

    def began_anew(self) -> None:
        """The engine restarted: its cache is empty and its speed may be another."""
        self.held.forget()
        self.adapters.clear()
        self.busy_until = 0.0
        self.seen_s = self.predicted_s = self.step_seen_s = self.step_predicted_s = 0.0
        self.trust, self.matched_tokens, self.cached_tokens = 1.0, 0.0, 0.0

    def loaded(self, adapter: str) -> None:
        """It has this adapter; the one unused for longest is taken for gone when there are many."""
        self.adapters[adapter] = None
        self.adapters.move_to_end(adapter)
        if len(self.adapters) > ADAPTERS_MAX:
            self.adapters.popitem(last=False)

    def took(self, seen_s: float, predicted_s: float, now: float) -> None:
        """A first token came after so many seconds where so many were predicted for a plain endpoint."""
        self._fade(now)
        self.seen_s += seen_s
        self.predicted_s += predicted_s
        self._set_ratios()

    def decoded(self, seen_s: float, predicted_s: float) -> None:
        """The rest of an answer took so many seconds."""
        self.pool.decoded(seen_s, predicted_s)
        self.step_seen_s += seen_s
        self.step_predicted_s += predicted_s

    def _fade(self, now: float) -> None:
        fade = _fade(now - self.seen_at, _RATIO_FADES_S)
        self.seen_at = now
        self.seen_s *= fade
        self.predicted_s *= fade
        self.step_seen_s *= fade
        self.step_predicted_s *= fade

    def _set_ratios(self) -> None:
        pool = self.pool
        prior_s = _PRIOR_REQUESTS * pool.prefill_mean_s
        ratio = (self.seen_s + prior_s * pool.ratio) / (self.predicted_s + prior_s)
        self.ratio = ratio if _RATIO_MIN < ratio < _RATIO_MAX else _RATIO_MIN if ratio < 1.0 else _RATIO_MAX
        step_ratio = (self.step_seen_s + _STEP_PRIOR_S * pool.step_ratio) / (self.step_predicted_s + _STEP_PRIOR_S)
        within = _RATIO_MIN < step_ratio < _RATIO_MAX
        self.step_ratio = step_ratio if within else _RATIO_MIN if step_ratio < 1.0 else _RATIO_MAX

    def reported(self, cached: float, matched: float) -> None:
        """So many tokens were cached where so many were believed to be."""
        if matched <= 0.0:
            return
        fade = max(0.0, 1.0 - matched / _HALF_TOKENS)
        self.matched_tokens = self.matched_tokens * fade + matched
        self.cached_tokens = self.cached_tokens * fade + min(cached, matched)
        self.trust = (self.cached_tokens + _TRUST_PRIOR_TOKENS) / (self.matched_tokens + _TRUST_PRIOR_TOKENS)
        if self.trust < _LOST_TRUST and self.matched_tokens >= _LOST_TOKENS:
            self.held.forget()
            self.trust, self.matched_tokens, self.cached_tokens = 1.0, 0.0, 0.0
