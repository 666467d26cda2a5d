"""What one engine does under a steady load: latency, throughput and where it saturates, without simulating requests.

Between two tokens of a running request the engine makes one step. A step decodes every running request and prefills
what arrived meanwhile; arrivals are Poisson, so the number of prompts in a step is, too. From the time of a step with
k prompts follow the mean step, the rate at which requests come and go, the gaps between tokens and, for a request that
arrives at a random moment, its first token. Arrivals per step is the one free variable: rate, requests at once and
saturation are read off the same curve. Queues that have no end are past saturation and are not described here;
`penstock simulate` does that.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from itertools import accumulate

from penstock.plan.demand import Demand
from penstock.plan.estimate import Estimate, StepParts
from penstock.plan.first_token import Rounds

__all__ = ["Engine", "OperatingPoint"]

_KV_FILL = 0.95
"""Of the KV cache, what running requests may hold on average: above it preemptions begin."""
_BUDGET_FILL = 0.92
"""Of the tokens of a step, the mean share past which prompts queue without end."""
_FRONT_FILL = 0.8
"""Of its time, what the API server's process may be busy: above it, tokens fall behind in its slow spells."""
_TAIL = 1e-4
"""Probability below which a number of prompts in one step is left out."""
_EXACT_MAX = 4.0
"""Mean prompts per step up to which each number is counted; above, three points stand for the distribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """One engine at one load. Times in seconds."""

    requests_per_s: float
    arrivals: float
    """Requests that arrive during one step."""
    running: float
    """Requests that decode at the same time."""
    ttft_p50_s: float
    ttft_p95_s: float
    itl_p50_s: float
    """A gap between two tokens."""
    itl_p95_s: float
    tpot_p95_s: float
    """A request's mean gap: what `itlMs` promises."""
    e2e_p95_s: float
    output_tokens_per_s: float
    prompt_tokens_per_s: float
    kv_share: float
    """Of the KV cache, held on average."""
    prefill_share: float
    """Of the engine's time, spent on prompts."""


class Engine:
    """One engine (one data-parallel rank) under the requests of a demand, whatever their rate."""

    def __init__(self, estimate: Estimate, demand: Demand) -> None:
        self.estimate = estimate
        self.demand = demand
        fresh = 1.0 - demand.cached_share
        self._prefill = max(1.0, demand.prompt_tokens * fresh)
        self._lengths = (  # a request in five stands for the long ones, so that the 95th percentile sees them
            (0.8, self._prefill, demand.prompt_tokens),
            (0.2, max(1.0, demand.prompt_p95 * fresh), demand.prompt_p95),
        )
        self._pair_factor = fresh * (demand.cached_share + fresh / 2)
        self._pairs = demand.prompt_square * self._pair_factor
        self._decodes = max(0.0, demand.output_tokens - 1.0)
        if estimate.model.task == "embed":
            self._decodes = 0.0
        self._context = demand.prompt_tokens + self._decodes / 2
        self._budget = float(estimate.layout.batched_tokens)
        self._step_parts = lru_cache(maxsize=4096)(self._step_of)

    # Where it ends -------------------------------------------------------------------------------------------------

    @property
    def kv_requests_max(self) -> float:
        """Requests of mean length that the KV cache holds."""
        return self._kv_requests_max

    @cached_property
    def _kv_requests_max(self) -> float:
        return _KV_FILL * self.estimate.requests_of(self._context)

    @property
    def running_max(self) -> float:
        """Requests that can decode at once."""
        return min(float(self.estimate.layout.max_num_seqs), self.kv_requests_max)

    @property
    def arrivals_max(self) -> float:
        """Arrivals per step at saturation: all places taken, the step's tokens used up, or the API server busy."""
        return self._arrivals_max

    @cached_property
    def _arrivals_max(self) -> float:
        most = self._engine_arrivals_max
        front = self._front_rate
        return most if self._rate(most) <= front else self._arrivals_below(front, most)

    @property
    def _engine_arrivals_max(self) -> float:
        by_budget = _BUDGET_FILL * self._budget / (self._prefill + self._decodes)
        return min(by_budget, self.running_max / self._decodes) if self._decodes else by_budget

    @cached_property
    def _front_rate(self) -> float:
        """Requests per second that the API server can take in and answer."""
        demand = self.demand
        return _FRONT_FILL / self.estimate.front_busy_s(demand.prompt_tokens, self._decodes + 1.0)

    @property
    def bound(self) -> str:
        """What saturates first, in words."""
        if self._arrivals_max < self._engine_arrivals_max:
            return f"its API server is busy with {self.saturation() * (self._decodes + 1.0):,.0f} tokens/s"
        if not self._decodes or _BUDGET_FILL * self._budget / (self._prefill + self._decodes) < (
            self.running_max / self._decodes
        ):
            return f"prompts fill the {self._budget:,.0f} tokens of a step"
        if self.kv_requests_max < self.estimate.layout.max_num_seqs:
            return f"the KV cache is full with {self.kv_requests_max:,.0f} requests of mean length"
        return f"its limit of {self.estimate.layout.max_num_seqs:,} requests at once is reached"

    def saturation(self) -> float:
        """Requests per second beyond which the queue grows without end."""
        return self._rate(self.arrivals_max)

    # Points of the curve -------------------------------------------------------------------------------------------

    def at_arrivals(self, arrivals: float) -> OperatingPoint:
        """The engine with this many requests arriving per step on average."""
        steps = self._steps(arrivals)
        mean = sum(p * t for p, _, t in steps)
        decode_only = self._alone_s(self._running(arrivals), 0.0)
        tpot_p95 = self._tpot_p95_s(arrivals, steps, mean)
        longest = mean * self.demand.output_p95 / max(1.0, self.demand.output_tokens)
        gaps = [(p, t) for p, _, t in steps]
        ttft_p50, ttft_p95 = _quantiles(self._first_tokens(arrivals, steps, mean), 0.5, 0.95)
        itl_p50, itl_p95 = _quantiles(gaps, 0.5, 0.95) if self._decodes else (0.0, 0.0)
        rate, running = arrivals / mean, self._running(arrivals)
        output = self._decodes + 1.0 if self.estimate.model.task == "generate" else 0.0
        return OperatingPoint(
            requests_per_s=rate,
            arrivals=arrivals,
            running=running,
            ttft_p50_s=ttft_p50,
            ttft_p95_s=ttft_p95,
            itl_p50_s=itl_p50,
            itl_p95_s=itl_p95,
            tpot_p95_s=tpot_p95,
            e2e_p95_s=ttft_p95 + self._decodes * max(longest, tpot_p95),
            output_tokens_per_s=rate * output,
            prompt_tokens_per_s=rate * self.demand.prompt_tokens,
            kv_share=min(1.0, _KV_FILL * running / self.kv_requests_max),
            prefill_share=1.0 - decode_only / mean if self._decodes else 1.0,
        )

    def tpot_p95_s(self, arrivals: float) -> float:
        """The 95th percentile of a request's mean gap, alone: much cheaper than the whole point."""
        steps = self._steps(arrivals)
        return self._tpot_p95_s(arrivals, steps, sum(p * t for p, _, t in steps))

    def _tpot_p95_s(self, arrivals: float, steps: Sequence[tuple[float, float, float]], mean: float) -> float:
        """What is slow for a whole request: more company than usual while it lives, and chance in its own steps.

        The number running wanders around its mean as a birth-death process: the slower a step gets with more requests,
        the wider and the longer. Its average over one request's life is taken as gamma distributed.
        """
        if not self._decodes:
            return 0.0
        running, feedback = self._running(arrivals), max(1.0, mean / self._alone_s(1.0, 0.0))
        averaged = 2 * feedback**2 * (1 / feedback - 1 + math.exp(-1 / feedback))
        crowded = _gamma_p95(running, running * feedback * averaged)
        top = min(self.arrivals_max, crowded / self._decodes)
        company = max(0.0, self._mean_s(top) - mean)
        spread = math.sqrt(max(0.0, sum(p * t * t for p, _, t in steps) - mean * mean))
        spread /= 1.0 - self._prompt_load(
            running, arrivals
        )  # who waits for a prompt lives longer, and meets more of them
        return mean + math.hypot(company, _Z95 * spread / math.sqrt(max(1.0, self._decodes)))

    def _prompt_load(self, running: float, arrivals: float) -> float:
        """Share of the engine's time that its prompts take; never all of it."""
        least = 0.0 if self._decodes else 1.0
        one, two = self._alone_s(running, least), self._alone_s(running, least + 1.0)
        return min(0.9, arrivals * (two - one) / (one + arrivals * (two - one)))

    def _mean_s(self, arrivals: float) -> float:
        return sum(p * t for p, _, t in self._steps(arrivals))

    def at_running(self, running: float) -> OperatingPoint:
        """The engine with this many requests decoding at once."""
        return self.at_arrivals(running / self._decodes if self._decodes else running)

    def at_rate(self, requests_per_s: float) -> OperatingPoint | None:
        """The engine at this rate; None beyond saturation."""
        if requests_per_s > self.saturation():
            return None
        return self.at_arrivals(self._arrivals_at(requests_per_s))

    def _arrivals_at(self, rate: float) -> float:
        """Arrivals per step that bring this rate."""
        return self._arrivals_below(rate, self.arrivals_max)

    def _arrivals_below(self, rate: float, most: float) -> float:
        """The same with at most so many: the end of a bracket that closes by false position."""
        low, high = 0.0, most
        below, above = -rate, self._rate(high) - rate
        for _ in range(_ROUNDS):
            if above <= 0.0:
                break
            middle = min(high, max(low, high - above * (high - low) / (above - below)))
            found = self._rate(middle) - rate
            if abs(found) <= _CLOSE * rate:
                return middle
            if found < 0.0:
                low, below, above = middle, found, above / 2
            else:
                high, above, below = middle, found, below / 2
        return high

    def _rate(self, arrivals: float) -> float:
        return arrivals / self._mean_s(arrivals)

    # Steps -----------------------------------------------------------------------------------------------------------

    def _running(self, arrivals: float) -> float:
        return arrivals * self._decodes

    def _steps(self, arrivals: float) -> list[tuple[float, float, float]]:
        """(probability, prompts, seconds) of a step; prompts are a step's share when they are too many for one.

        A launch hides behind what the GPU has left of the step before: much after decodes, little after a prompt whose
        own launch was long.
        """
        running, estimate = self._running(arrivals), self.estimate
        least = 0.0 if self._decodes else 1.0  # without decodes nothing runs between prompts: a step begins with one
        excess = round(1.0 / (1.0 - self._prompt_load(running, arrivals) ** 2), 2)
        quiet, one = self._step_parts(running, least), self._step_parts(running, 1.0)
        after_quiet = estimate.left(quiet) if self._decodes else 0.0
        after_prompt = estimate.left(one, after_quiet)
        steps = []
        chances = _prompts(arrivals, excess)
        none = chances[0][0] if chances[0][1] == 0.0 else 0.0
        for p, k in chances:
            step = self._step_parts(running, max(least, k))
            seconds = none * estimate.seconds(step, after_quiet) + (1.0 - none) * estimate.seconds(step, after_prompt)
            steps.append((p, k, seconds))
        return steps

    def _alone_s(self, running: float, prompts: float) -> float:
        """A step where others like it follow."""
        return self.estimate.seconds(self._step_parts(running, prompts))

    def _step_of(self, running: float, prompts: float) -> StepParts:
        """One step with this many prompts of mean length, as many steps as the budget makes of them."""
        return self._work(running, prompts, prompts * self._prefill, prompts * self._pairs)

    def _work(self, running: float, prompts: float, tokens: float, pairs: float) -> StepParts:
        room = max(self._budget - running, self._budget / 8)
        whole = max(1, math.ceil(tokens / room - 0.02))
        one = self.estimate.step(
            prompts=prompts / whole,
            prefill_tokens=tokens / whole,
            decodes=running,
            context=running * self._context,
            pairs=pairs / whole,
        )
        return one if whole == 1 else one.times(whole)

    def _first_tokens(
        self, arrivals: float, steps: Sequence[tuple[float, float, float]], mean: float
    ) -> list[tuple[float, float]]:
        """(probability, seconds) of the time to first token of a request that arrives at a random moment."""
        running = self._running(arrivals)
        rounds = self._rounds(running, steps, arrivals, mean)
        sent = running * self.estimate.sent_token_s  # tokens of others that the API server sends first
        busy = min(_FRONT_FILL, arrivals / mean * _FRONT_FILL / self._front_rate)
        sent += sent * busy / (1.0 - busy) / 2
        result: list[tuple[float, float]] = []
        for share, prefill, prompt in self._lengths:
            more = self.estimate.front_s(prompt) + sent
            alone = self._own_step(0.0, 0.0, prefill, prompt)
            own = lru_cache(maxsize=64)(partial(self._own_step, running, prefill=prefill, prompt=prompt))
            result += [(share * p, more + s) for p, s in rounds.found(alone, own)]
        return result

    def _own_step(self, running: float, others: float, prefill: float, prompt: float) -> StepParts:
        """The step in which a request of this length is prefilled, with others of mean length."""
        pairs = others * self._pairs + prompt * prompt * self._pair_factor
        return self._work(running, others + 1.0, others * self._prefill + prefill, pairs)

    def _rounds(
        self, running: float, steps: Sequence[tuple[float, float, float]], arrivals: float, mean: float
    ) -> Rounds:
        least = 0.0 if self._decodes else 1.0
        return Rounds(
            steps=[(p, self._step_parts(running, max(least, k))) for p, k, _ in steps],
            after=self._step_parts(max(1.0, running), 0.0) if self._decodes else _NO_STEP,
            following=self._step_parts(running, 1.0),
            rate=arrivals / mean,
            idle=math.exp(-running) if self._decodes else _idle_share(arrivals),
            pauses_anywhere=not self._decodes,
            lead=self.estimate.lead_s,
            spells=self.estimate.spells,
        )


_Z95 = 1.645
"""95th percentile of the normal distribution."""
_NO_STEP = StepParts(gpu_s=0.0, host_s=0.0)
_ROUNDS = 30
_CLOSE = 1e-4
"""Share of a rate to which it is hit."""


@lru_cache(maxsize=4096)
def _prompts(mean: float, excess: float) -> tuple[tuple[float, float], ...]:
    """(probability, number) of prompts in one step: negative binomial, since a step that follows a long one has more.

    `excess` is variance over mean; 1 is Poisson.
    """
    if mean > _EXACT_MAX:
        spread = min(math.sqrt(3 * mean * excess), mean)
        return ((1 / 6, mean - spread), (2 / 3, mean), (1 / 6, mean + spread))
    points: list[tuple[float, float]] = []
    size = mean / (excess - 1.0) if excess > 1.0 else math.inf
    chance, k = math.exp(-mean) if size == math.inf else excess**-size, 0
    while chance > _TAIL or k <= mean:
        points.append((chance, float(k)))
        chance *= (mean if size == math.inf else (size + k) * (1.0 - 1.0 / excess)) / (k + 1)
        k += 1
    total = sum(p for p, _ in points)
    return tuple((p / total, k) for p, k in points)


def _gamma_p95(mean: float, variance: float) -> float:
    """The 95th percentile of a gamma distribution, by Wilson and Hilferty."""
    if mean <= 0.0 or variance <= 0.0:
        return mean
    shape = mean * mean / variance
    return max(mean, mean * max(0.0, 1 - 1 / (9 * shape) + _Z95 / (3 * math.sqrt(shape))) ** 3)


def _idle_share(arrivals: float) -> float:
    """How often a prompt finds an engine without decodes idle, when so many arrive during one step."""
    nothing_came = math.exp(-arrivals)
    return nothing_came / (arrivals + nothing_came)


def _quantiles(points: Sequence[tuple[float, float]], low: float, high: float) -> tuple[float, float]:
    """Two of weighted values: (weight, value)."""
    ordered = sorted([(value, p) for p, value in points])
    sums = list(accumulate([p for _, p in ordered]))
    first, second = (bisect_left(sums, share * sums[-1] - 1e-12) for share in (low, high))
    return ordered[first][0], ordered[second][0]
